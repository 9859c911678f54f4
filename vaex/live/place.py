"""What a directory holds that can be looked at: a run, a sweep, or a folder of several."""

import os
from collections.abc import Iterator
from pathlib import Path

from vaex.disk import sweep as record
from vaex.errors import InputError
from vaex.live import run, sweep
from vaex.live.locks import Locks
from vaex.live.run import Live
from vaex.live.sweep import LiveSweep

MOST = 10_000
"""Directories below a folder that are looked into."""


def look(directory: Path) -> list[Live | LiveSweep]:
    """What is in a directory, as it stands now, by name; raises `InputError` where there is no run and no sweep."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no such run or sweep directory")
    locks = Locks()
    found = [_read(each, locks) for each in _places(directory)]
    if not found:
        raise InputError(f"{directory}: holds neither a run (config.yaml) nor a sweep ({record.NAME})")
    return found


def _places(directory: Path) -> Iterator[Path]:
    """The runs and sweeps in a directory, itself first; what lies in one of them is its own."""
    for seen, (folder, below, _) in enumerate(os.walk(directory), start=1):
        below[:] = sorted((name for name in below if not name.startswith(".")), key=_natural)
        place = Path(folder)
        if (place / record.NAME).exists() or run.is_run(place):
            below.clear()
            yield place
        if seen == MOST:
            return


def _natural(name: str) -> tuple[int, str]:
    """Sorts jobs of a sweep by their numbers."""
    return (int(name), name) if name.isdecimal() and len(name) < 10 else (-1, name)


def _read(place: Path, locks: Locks) -> Live | LiveSweep:
    if not (place / record.NAME).exists():
        return run.read(place, locks)
    try:
        return sweep.read(place, locks)
    except InputError as error:
        return Live(place, "damaged", why=str(error))


def is_over(found: Live | LiveSweep) -> bool:
    """Whether nothing more will come of it by itself, now or later."""
    if isinstance(found, LiveSweep):
        return not found.alive and found.over
    return found.status in (*run.ENDED, "damaged")


def is_alive(found: Live | LiveSweep) -> bool:
    """Whether somebody trains there."""
    return found.alive if isinstance(found, LiveSweep) else found.status == "running"
