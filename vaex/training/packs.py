"""Where the packs of a command come from, who takes a lane after another, and how much work a pack is."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax

from vaex.config import Config
from vaex.device.datasets import load
from vaex.disk.directory import Job, type_of_device
from vaex.stopping.judge import Judge
from vaex.terminal.displays import Display
from vaex.terminal.stop import Stop
from vaex.training.member import Member
from vaex.vae import objective, pack, step
from vaex.vae.objective import Program

log = logging.getLogger("vaex")


@dataclass(frozen=True)
class Room:
    """A lane of a vmapped pack that is free while others go on. Of all `lanes`, `free` ones are; `jobs` are in them.

    Who goes on has at most `left` of `epochs` before it. `alike`: whether a fresh pack would have the same program, so
    that its jobs have the same bits here; `fits`: whether a job can have this lane at all.
    """

    jobs: Sequence[Job]
    free: int
    left: int
    epochs: int
    alike: Callable[[Sequence[Job]], bool]
    fits: Callable[[Job], bool]

    def worth(self, waiting: int) -> bool:
        """Whether giving the free lanes to some of so many jobs is cheaper than a new pack."""
        return cheaper(len(self.jobs), self.free, waiting, self.left, self.epochs)


def cheaper(lanes: int, free: int, waiting: int, left: int, epochs: int) -> bool:
    """Whether jobs that take free lanes of a pack cost fewer of its epochs each than jobs of a new pack.

    An epoch of a pack costs the same however many of its lanes stand still. A new pack of the jobs that wait, `lanes`
    of them at most, takes `epochs`. This one goes on for `left` anyway; whoever takes a lane makes that `epochs`. So
    one lane alone, shortly before the end of the others, is dearer than a pack of as many as wait; once one has been
    taken, `left` is `epochs`, and each further one costs nothing more. (On one device lanes that are always filled are
    never the dearer way. On several, another may take the jobs that wait as a pack.)
    """
    return (epochs - left) * min(lanes, waiting) < epochs * min(free, waiting)


@runtime_checkable
class Source(Protocol):
    """Where the packs of a command come from. Called from the threads that train them."""

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack for a lane that is free; None: nothing more for it. May wait, no longer than `stop` allows."""

    def refill(self, room: Room) -> Job | None:
        """The job that takes a lane of a pack after one that has ended; None: it stands still. Never waits."""

    def told(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """How jobs have ended: those of a pack, or those that ended while others of it go on."""

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all runs, as far as they are known, for which the program of a pack is compiled."""
        ...


class Listed:
    """Packs that are all known beforehand: the longest first, so that none is left over at the end."""

    def __init__(self, packs: Sequence[Sequence[Job]]):
        self._left, self._lock = sorted(packs, key=_cost, reverse=True), threading.Lock()
        self._steps = Counter[Hashable]()
        for jobs in packs:
            self._steps[programs(jobs)] += steps_of(jobs)

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack."""
        with self._lock:
            return self._left.pop(0) if self._left else None

    def refill(self, room: Room) -> Job | None:
        """A job of the last pack that would have the same program, in which a ghost takes its place.

        So whoever is left there computes what it would have computed, and its program need not be compiled anew.
        """
        with self._lock:
            givers = [index for index, jobs in enumerate(self._left) if _gives(jobs) and room.alike(jobs)]
            if not room.worth(sum(not job.ghost for index in givers for job in self._left[index])):
                return None
            for index in reversed(givers):
                for place, job in enumerate(self._left[index]):
                    if not job.ghost and room.fits(job):
                        self._give(index, place)
                        return job
        return None

    def _give(self, index: int, place: int) -> None:
        jobs = list(self._left[index])
        jobs[place] = replace(jobs[place], ghost=True)
        if all(job.ghost for job in jobs):
            del self._left[index]
        else:
            self._left[index] = jobs

    def told(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """Nothing follows from it."""

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all packs of this program."""
        return self._steps[programs(jobs)]


class Lane:
    """What one thread takes from a source, and tells it: how each job has ended, once, as soon as it has."""

    def __init__(self, source: Source, statuses: dict[Path, str], ended: Callable[[], None]):
        """`statuses` learns of all jobs, by their directories; `ended` is called whenever some have ended."""
        self._source, self._statuses, self._ended = source, statuses, ended
        self._open: dict[Path, Job] = {}

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack; None: nothing more for this lane."""
        try:
            jobs = self._source.take(stop)
        except Exception as error:  # a source of somebody's settings: this lane has no more to do
            log.exception("no further job: %s: %s", type(error).__name__, error)
            return None
        self._begun(jobs or ())
        return jobs

    def refill(self, room: Room) -> Job | None:
        """The job that takes a free lane of the pack; None: it stands still."""
        try:
            job = self._source.refill(room)
        except Exception as error:  # as above; the pack goes on
            log.exception("no further job: %s: %s", type(error).__name__, error)
            return None
        self._begun([job] if job else [])
        return job

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all runs for which the program of a pack is compiled."""
        return self._source.steps(jobs)

    def tell(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """How jobs have ended; those of which that has been told, and ghosts, are passed over."""
        ends = zip(jobs, statuses, strict=True)
        new = [(job, status) for job, status in ends if not job.ghost and self._open.pop(job.directory, None)]
        if not new:
            return
        self._statuses.update((job.directory, status) for job, status in new)
        for tell in (self._ended, partial(self._source.told, *zip(*new, strict=True))):
            try:
                tell()
            except Exception as error:  # what was trained is on disk, and is told when the search goes on
                log.exception("%s: %s: %s", new[0][0].directory, type(error).__name__, error)

    def fail(self) -> None:
        """All that have not ended have failed."""
        self.tell([*self._open.values()], ["failed"] * len(self._open))

    def _begun(self, jobs: Sequence[Job]) -> None:
        self._open |= {job.directory: job for job in jobs if not job.ghost}
        self._statuses.update(dict.fromkeys(self._open, "interrupted"))


@dataclass(frozen=True)
class Host:
    """What surrounds a pack while it trains.

    `lane` is told how each job has ended, and has further ones for lanes of the pack that are free. `judge` says after
    each epoch which runs stop early.
    """

    display: Display
    stop: Stop
    device: type_of_device
    lane: Lane
    judge: Judge | None

    def tell(self, members: Sequence[Member]) -> None:
        """Tell the lane how some runs have ended."""
        ends = [member.summary["status"] if member.summary else "interrupted" for member in members]
        self.lane.tell([member.job for member in members], ends)


def _gives(jobs: Sequence[Job]) -> bool:
    """Whether a pack may give jobs away: none of it has begun, and each trains to its end."""
    return not any(job.resumed or job.until is not None for job in jobs)


def program_of(config: Config) -> Program:
    """The program of a configuration, for the images of its dataset."""
    return objective.program(config, load(config.dataset).shape)


def _cost(jobs: Sequence[Job]) -> float:
    """How long a pack takes, relative to others: multiplications of its training."""
    config = jobs[0].config
    numbers = step.shapes(program_of(config)).parameters
    size = sum(leaf.size for leaf in jax.tree.leaves(numbers))
    return float(steps_of(jobs) * config.training.batch_size * size)


def steps_of(jobs: Sequence[Job]) -> int:
    """Optimizer steps of all runs of a pack."""
    training = jobs[0].config.training
    rows = len(load(jobs[0].config.dataset).train.images)
    return len(jobs) * training.epochs * -(-rows // training.batch_size)


def programs(jobs: Sequence[Job]) -> Hashable:
    """What packs have in common whose programs are compiled but once, or about."""
    config = jobs[0].config
    return pack.shared(program_of(config), config)
