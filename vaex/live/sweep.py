"""How far a sweep is: its jobs by status, the best, the time left; of a search also its trials."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex.disk import sweep
from vaex.disk.sweep import Noted
from vaex.errors import InputError
from vaex.live import run, slurm_queue
from vaex.live.locks import Locks
from vaex.live.run import Live
from vaex.searched import populations, trials
from vaex.searched.populations import Population
from vaex.searched.trials import Search
from vaex.study import quantities
from vaex.study.stability import number

STATUSES = ("running", "waiting", *run.ENDED, "interrupted", "damaged")


@dataclass(frozen=True)
class LiveJob:
    """One job of a sweep: what it is called among the others, and how it stands."""

    number: int
    label: str
    live: Live
    trial: int | None = None
    """Of a search: whose job it is."""


@dataclass(frozen=True)
class LiveSweep:
    """A sweep as it stands. `ranked`: the jobs' ELBOs are one quantity, so one of them is the best."""

    directory: Path
    jobs: list[LiveJob]
    alive: bool
    ranked: bool
    search: Search | None
    problems: tuple[str, ...]
    population: Population | None = None
    queued: tuple[str, ...] = ()
    """Tasks that Slurm has in its queue, waiting or running: they go on with it by themselves."""

    @property
    def counts(self) -> Counter[str]:
        """Jobs by status."""
        return Counter(job.live.status for job in self.jobs)

    @property
    def running(self) -> list[LiveJob]:
        """The jobs that train."""
        return [job for job in self.jobs if job.live.status == "running"]

    @property
    def ended(self) -> int:
        """How many jobs nobody need go on with."""
        return sum(self.counts[status] for status in run.ENDED)

    @property
    def over(self) -> bool:
        """Whether no job is left to be trained, by whomever; of a search also that each of its trials has ended."""
        return self.ended + self.counts["damaged"] == len(self.jobs) and self._all_told()

    @property
    def best(self) -> LiveJob | None:
        """The job of the highest valid/elbo of any epoch, where they compare."""
        found = [job for job in self.jobs if job.live.best is not None]
        return max(found, key=lambda job: job.live.best or -math.inf) if self.ranked and found else None

    @property
    def left(self) -> float | None:
        """Seconds until all is done: the epochs to come, by how many are made a second; at most, where jobs may stop.

        None where nothing trains, no epoch is done yet, or a search has yet to say what its other trials are.
        """
        running, unasked = [job.live for job in self.running], self._unasked()
        speeds = [1 / live.seconds for live in running if live.seconds]
        if not speeds or unasked is None:
            return None
        todo = [_epochs_left(job.live) for job in self.jobs if job.live.status not in run.ENDED]
        mean = sum(live.epochs or 0 for live in running) / len(running)
        epochs = sum(todo) + unasked * mean
        return max(epochs / sum(speeds), *(live.left or 0.0 for live in running), 0.0)

    def _unasked(self) -> int | None:
        """The jobs of the trials that a search has not asked for yet; None where it does not say how many it wants."""
        if self.search is None:
            return 0
        wanted, asked = self.search.wanted, self._asked()
        return None if wanted is None else max(0, wanted - len(asked)) * self.search.seeds

    def _asked(self) -> set[int]:
        """The trials of a search so far: the table lacks the last ones, the jobs those that were refused."""
        told = {trial.number for trial in self.search.trials} if self.search else set()
        return told | {job.trial for job in self.jobs if job.trial is not None}

    @property
    def trials(self) -> Counter[str]:
        """Trials of a search by state: the table lacks those asked for since the last one ended."""
        if self.search is None:
            return Counter()
        states = {trial.number: trial.state for trial in self.search.trials}
        states = dict.fromkeys(self._asked(), "running") | states
        cut_off = {"running": "interrupted"} if not self.alive else {}
        return Counter(cut_off.get(state, state) for state in states.values())

    def _all_told(self) -> bool:
        if self.search is None:
            return True
        wanted = len(self._asked()) if self.search.wanted is None else self.search.wanted
        return self.search.ended >= wanted


def _epochs_left(live: Live) -> int:
    return max(0, (live.epochs or 0) - live.epoch)


def read(directory: Path, locks: Locks) -> LiveSweep:
    """A sweep's state; raises `InputError` where its sweep.json cannot be read."""
    noted = sweep.read(directory)[1]
    problems: list[str] = []
    found = among = None
    try:
        found = trials.read(directory) if trials.there(directory) else None
        among = populations.read(directory) if populations.there(directory) else None
    except InputError as error:
        problems.append(str(error))
    common = set.intersection(*(set(job.overrides) for job in noted)) if len(noted) > 1 else set()
    fixed = found.settings.get("fixed") if found else None
    common |= set(map(str, fixed)) if isinstance(fixed, list) else set()
    changing = populations.there(directory)  # what its members began with is not what they have
    jobs = [
        LiveJob(
            job.number,
            f"job {job.number}" if changing else job.label_without(common),
            _job(directory, job, locks),
            job.trial,
        )
        for job in noted
    ]
    try:
        queued = slurm_queue.of_sweep(directory)
    except InputError as error:
        queued = ()
        problems.append(str(error))
    alive = bool(queued or locks.held(directory)) or any(job.live.status == "running" for job in jobs)
    if alive and changing:
        jobs = list(map(_between_rounds, jobs))
    ranked = quantities.one((quantities.of_configuration(job.config) for job in noted), "bound")
    problems += [f"{job.label}: {job.live.why}" for job in jobs if job.live.status == "damaged"]
    return LiveSweep(directory, jobs, alive, ranked, found, tuple(problems), among, queued)


def _between_rounds(job: LiveJob) -> LiveJob:
    """A member of a population that trains: what looks interrupted waits for the next round."""
    waits = job.live.status == "interrupted"
    return dataclasses.replace(job, live=dataclasses.replace(job.live, status="waiting")) if waits else job


def _job(directory: Path, job: Noted, locks: Locks) -> Live:
    training: Any = job.config.get("training")
    epochs = number(training.get("epochs")) if isinstance(training, dict) else None
    return run.read(directory / job.directory, locks, None if epochs is None else int(epochs))


def rate(jobs: Sequence[LiveJob]) -> float | None:
    """Examples a second of all jobs that train together."""
    rates = [job.live.rate for job in jobs if job.live.rate is not None]
    return sum(rates) if rates else None
