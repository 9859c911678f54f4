"""`vaex status DIR… [--watch [SECONDS]] [--json]`: how far runs and sweeps are, from their files, while others train.

Progress, speed, best so far, what ended how, when it is done. DIR may be a folder of several: a line each. Nothing is
written or locked. --watch looks again until everything has ended, or nobody has trained there for a minute.
"""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.live import Live as Redrawn
from rich.text import Text

from vaex import files
from vaex.commands import flags
from vaex.live import place, shown
from vaex.live.run import Live
from vaex.live.sweep import LiveSweep
from vaex.terminal import status
from vaex.terminal.screen import Screen

EVERY = 2.0
"""Seconds between two looks of --watch."""

PATIENCE = 60.0
"""Seconds without anybody who trains after which --watch ends: between two packs of a sweep it is a moment."""

Found = dict[Path, list[Live | LiveSweep]]

SECONDS = flags.number(float, "a number of seconds from 0.1 to 86400", lambda value: 0.1 <= value <= 86400)


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.Parser("status", __doc__)
    found.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    found.add_argument(
        "--watch", nargs="?", type=SECONDS, const=EVERY, metavar="SECONDS", help="look again, every 2 s if not said"
    )
    found.add_argument("--json", action="store_true", help="as JSON: one object a look")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 whatever state the runs are in, 2 where there is none."""
    chosen = parser().read(_apart(arguments))
    screen = Screen()
    if chosen.watch is None:
        _print(screen, _look(chosen.directories), chosen.json)
        return 0
    _watch(screen, chosen.directories, chosen.watch, chosen.json)
    return 0


def _apart(arguments: Sequence[str]) -> list[str]:
    """`--watch DIR`: the directory is no number of seconds, which stand behind the flag or nowhere."""
    words = list(arguments)
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        flag = re.match(r"-(?!\.?\d)", following)  # -1 is a number, though none of seconds
        if word == "--watch" and (flag or files.exists(Path(following)) or not following):
            words[index] = f"--watch={EVERY}"
    return words


def _look(directories: Sequence[Path]) -> Found:
    return {directory: place.look(directory) for directory in dict.fromkeys(directories)}


def _watch(screen: Screen, directories: Sequence[Path], every: float, as_json: bool) -> None:
    """Look again and again: redrawn on a terminal, printed where something has changed elsewhere."""
    seen, alive = "", time.monotonic()
    with Redrawn(console=screen, auto_refresh=False) as redrawn:
        while True:
            found = _look(directories)
            every_one = [each for some in found.values() for each in some]
            if screen.is_terminal and not as_json:
                redrawn.update(Group(*_lines(found)), refresh=True)
            elif (told := _as_json(found) if as_json else "\n".join(map(str, _lines(found)))) != seen:
                screen.print(told, markup=False)
                seen = told
            alive = time.monotonic() if any(map(place.is_alive, every_one)) else alive
            if all(map(place.is_over, every_one)) or time.monotonic() - alive > PATIENCE:
                return
            time.sleep(every)


def _print(screen: Screen, found: Found, as_json: bool) -> None:
    for each in [_as_json(found)] if as_json else _lines(found):
        screen.print(each, markup=False)


def _lines(found: Found) -> list[Text]:
    (directory, some), *others = found.items()
    if not others and len(some) == 1 and some[0].directory == directory:
        return status.lines(some[0])
    return [status.line(each, Path()) for some in found.values() for each in some]


def _as_json(found: Found) -> str:
    return json.dumps([shown.plain(each) for some in found.values() for each in some], allow_nan=False)
