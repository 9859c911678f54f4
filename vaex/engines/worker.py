"""What a worker does, in a process of its own: it trains the packs that it is given, from wherever they are.

A run that is there already goes on, one that has ended rides along or is left alone: a pack whose worker was lost, or
whose Slurm task was queued again, is sent as it was first.
"""

import contextlib
import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from vaex import config as configuration
from vaex.device import backend, compilation, mesh
from vaex.device.datasets import load
from vaex.disk import provenance, sweep
from vaex.disk.directory import Job, read_manifest, type_of_device
from vaex.engines import parcel
from vaex.engines.parcel import Parcel, Report
from vaex.errors import VaexError
from vaex.terminal.displays import SweepDisplay
from vaex.terminal.stop import Stop
from vaex.training import run
from vaex.training.packs import Listed

log = logging.getLogger("vaex")


def train(text: str, content: bytes | None = None, early: Sequence[int] = ()) -> Report:
    """Train a parcel's packs; where the sweep's directory is not seen, in a temporary one that comes back as bytes.

    `content` is a tar of what there is of the runs so far, for a worker that does not see it. `early` has the signals
    that came before there was a run to hear them.
    """
    plain = json.loads(text)
    backend.start({"environment": {"threads": plain["threads"]}})
    here = Path(plain["here"])
    with _remembering() as told, contextlib.chdir(here if here.is_dir() else Path.cwd()):
        try:
            return dataclasses.replace(_placed(parcel.read(text), content, early), told=tuple(told))
        except VaexError as error:  # no data here, no plugin: the pack cannot begin on this machine
            log.error("%s", error)
            places = [job["directory"] for members in plain["packs"] for job in members if not job["ghost"]]
            return Report(dict.fromkeys(places, "failed"), told=tuple(told))


def _placed(given: Parcel, content: bytes | None, early: Sequence[int]) -> Report:
    sys.argv = list(given.command)  # what a manifest records
    if (given.sweep / given.token).exists():
        return _train(given, early)
    if content is None:
        return Report({}, unseen=True)
    with tempfile.TemporaryDirectory(prefix="vaex-") as folder:
        return _elsewhere(given, Path(folder), content, early)


def _elsewhere(given: Parcel, folder: Path, content: bytes, early: Sequence[int]) -> Report:
    """Train in a folder that only this machine has; the report has what came of it."""
    parcel.unpack(content, folder)
    packs = tuple(
        tuple(dataclasses.replace(job, directory=folder / job.directory.relative_to(given.sweep)) for job in members)
        for members in given.packs
    )
    done = _train(dataclasses.replace(given, sweep=folder, packs=packs), early)
    statuses = {str(given.sweep / Path(place).relative_to(folder)): end for place, end in done.statuses.items()}
    files = parcel.packed(folder, [Path(place).relative_to(folder) for place in done.statuses])
    return dataclasses.replace(done, statuses=statuses, unseen=True, files=files)


def _train(given: Parcel, early: Sequence[int]) -> Report:
    packs = [as_they_are(members) for members in given.packs]
    left = [number for number, members in enumerate(packs) if not all(job.ghost for job in members)]
    ended = [now for first, now in _pairs(given.packs, packs) if now.ghost and not first.ghost]
    statuses = {str(job.directory): str(sweep.status_of(job.directory)) for job in ended}
    if not left:
        return Report(statuses)
    for config in (packs[number][0].config for number in left):
        mesh.check(config)  # raises what is wrong with devices and data before a directory is taken
        load(config.dataset)
    source = Given([packs[number] for number in left], [given.steps[number] for number in left], early)
    display = SweepDisplay([job for number in left for job in packs[number] if not job.ghost], len(ended))
    try:
        outcome = run.run(source, display, devices=devices(given, len(left)))
    finally:
        display.close()
    statuses |= {str(place): end for place, end in outcome.statuses.items()}
    return Report(statuses, outcome.signal, outcome.ended_by_policy)


def devices(given: Parcel, left: int) -> list[type_of_device]:
    """The first that is here, as often as packs of a parcel train on it at once, of which so many are left."""
    return jax.devices()[:1] * (min(given.lanes, left) if run.side_by_side(given.packs[0][0].config) else 1)


def _pairs(given: Sequence[Sequence[Job]], now: Sequence[Sequence[Job]]) -> Iterator[tuple[Job, Job]]:
    """Each job as it was sent, and as it is."""
    for members, found in zip(given, now, strict=True):
        yield from zip(members, found, strict=True)


class Given(Listed):
    """Packs whose programs are compiled for the steps of the whole sweep, which a worker does not know."""

    def __init__(self, packs: Sequence[Sequence[Job]], steps: Sequence[int], early: Sequence[int]):
        super().__init__(packs)
        self._early = early
        self._known = {members[0].directory: count for members, count in zip(packs, steps, strict=True)}

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack, unless somebody asked for an end before anything began."""
        if self._early:
            stop.signal = self._early[0]
            return None
        return super().take(stop)

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all packs of this program, as the command counted them."""
        return self._known[jobs[0].directory]


def as_they_are(members: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs of a pack as they go on from what their directories hold."""
    return tuple(map(_as_it_is, members))


def _as_it_is(job: Job) -> Job:
    if job.ghost or not (job.directory / "config.yaml").exists():
        return job
    manifest = read_manifest(job.directory)
    if configuration.identity(job.config) not in provenance.identities(manifest):
        return job  # somebody else's run, which is refused when the job takes its directory
    ended = sweep.has_ended(job.directory)
    return dataclasses.replace(job, resumed=True, ghost=ended, program=compilation.of(manifest))


class _Told(logging.Filter):
    """Remembers warnings; not a handler, which each display replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            self.lines.append((record.levelno, record.getMessage()))
        return True


@contextlib.contextmanager
def _remembering() -> Iterator[list[tuple[int, str]]]:
    """What the program warns of meanwhile."""
    told = _Told()
    log.addFilter(told)
    try:
        yield told.lines
    finally:
        log.removeFilter(told)
