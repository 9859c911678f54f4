"""Where a search's packs come from: a free lane asks for a trial, and what it came to is told to the study.

What is on disk is enough to go on from after any end. The study's journal has a trial before sweep.json has its jobs,
sweep.json has them before any of them trains, and a trial is told when the summaries of all its jobs are there: so each
trial is in the journal, either told, or with jobs to go on with, or with parameters to make its jobs of.

Jobs are numbered by their trial: trial n has jobs n·K to n·K + K − 1, for K seeds.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from vaex.config import Config
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.disk.sweep import Noted
from vaex.errors import ConfigError, InputError
from vaex.files import first_line
from vaex.search import objectives, table
from vaex.search import plan as plans
from vaex.search.study import JOURNAL, Place, Trial
from vaex.terminal.stop import Stop
from vaex.training import run
from vaex.training.packs import Room, steps_of

log = logging.getLogger("vaex")

PAUSE = 0.1
"""Seconds between two looks at whether somebody has asked for an end."""


class Trials:
    """A source of packs. `noted` are the jobs that sweep.json has already."""

    def __init__(self, place: Place, noted: Sequence[Noted] = ()):
        self._place, self._noted = place, [*noted]
        self._seeds = len(place.plan.seeds)
        self._free = threading.Condition()
        self._waiting: deque[Sequence[Job]] = deque()
        self._for_lanes: list[Job] = []
        self._left: dict[int, set[int]] = {}
        self._ended: set[int] = set()
        self._broken = False
        self._best = place.study.best()
        self._table = table.growing(place.directory, place.plan, place.study)
        self.ended: Callable[[Job, str], None] = lambda job, status: None
        trials = place.study.trials()
        self._asked = len(trials)
        self._states = [trial.state for trial in trials]
        together = -(-place.lanes // self._seeds) + (self._seeds > 1)
        self._width = place.at_once * (together if place.at_once == 1 else place.lanes)

    def go_on(self, packs: Iterable[Sequence[Job]]) -> None:
        """Take up what an earlier command has left: packs of jobs that have not ended, trials whose end is not told."""
        have = {job.number for job in self._noted}
        if any(job.trial is None or job.trial >= self._asked for job in self._noted):
            raise InputError(
                f"{self._place.directory / JOURNAL}: has {self._asked} trials, fewer than {sweep.NAME} has jobs of: it "
                "was removed or cut off; put it back, or search anew elsewhere (its runs are whole all the same)"
            )
        self._waiting.extend(jobs for jobs in packs if any(map(self._is_running, jobs)) or any(map(_is_gone, jobs)))
        waiting = {int(job.directory.name) for jobs in self._waiting for job in jobs if not job.ghost}
        unmade: list[Trial] = []
        for number in range(self._asked):
            if self._states[number] == "running":
                if self._numbers(number) <= have:
                    self._await(number, self._numbers(number) & waiting)
                else:
                    unmade.append(self._place.study.completed(number))
        self._add(unmade)
        self._tell_due()

    @property
    def jobs(self) -> int:
        """How many jobs the whole search has."""
        return self._place.plan.trials * self._seeds

    @property
    def before(self) -> int:
        """How many of them will not be trained any more."""
        waiting = sum(not job.ghost for jobs in self._waiting for job in jobs)
        return self._asked * self._seeds - waiting

    @property
    def left(self) -> bool:
        """Whether there is anything to train, or to tell."""
        return bool(self._waiting) or self._asked < self._place.plan.trials or "running" in self._states

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack, of a new trial where none waits; in an ordered search it may have to wait."""
        with self._free, self._breaking():
            while not (stop.asked or self._broken):
                self._tell_due()
                if self._waiting:
                    return self._waiting.popleft()
                if self._asked >= self._place.plan.trials and not self._for_lanes:
                    return None
                room = max(0, self._place.at_once - len(self._for_lanes) // self._seeds)
                count = min(room, self._place.plan.trials - self._asked)
                if self._may_ask(count):
                    self._add([self._ask() for _ in range(count)])
                else:
                    self._free.wait(PAUSE)
            return None

    def refill(self, room: Room) -> Job | None:
        """A job of a new trial, whose other seeds take the next lanes; those that do not fit are a pack, later.

        An ordered search has none: what it is told before it asks would be another.
        """
        with self._free, self._breaking():
            while not (self._broken or self._place.plan.settings.ordered):
                job = next(filter(room.fits, self._for_lanes), None)
                if job:
                    self._for_lanes.remove(job)
                    return job
                self._tell_due()
                waiting = (self._place.plan.trials - self._asked) * self._seeds
                full = len(self._for_lanes) > self._place.at_once
                if full or not waiting or room.free < self._seeds or not room.worth(waiting):
                    return None
                self._for_lanes += self._made([self._ask()])
            return None

    def told(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """How the jobs of a pack have ended; a trial has, when all of its jobs have."""
        with self._free, self._breaking():
            for job, status in zip(jobs, statuses, strict=True):
                self.ended(job, status)
                left = self._left.get(self._of(job), set())
                if status != "interrupted" and not job.ghost and left:
                    left.discard(int(job.directory.name))
                    if not left:
                        self._ended.add(self._of(job))
            if not self._broken:  # else they are told when the search goes on
                self._tell_due()
            self._free.notify_all()

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """What goes wrong where trials are made or told ends all lanes: they would wait for that trial for ever."""
        try:
            yield
        except BaseException:
            self._broken = True
            self._free.notify_all()
            raise

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of the whole search, as if all its trials were as long."""
        return steps_of(jobs) // len(jobs) * self.jobs

    def write_table(self) -> None:
        """Write trials.csv as it is now."""
        with self._free:
            try:
                table.write(self._place.directory, self._place.plan, self._place.study)
            except OSError as error:  # the study has it all, and the command's end writes it again
                log.warning("%s: not written for now (%s)", self._place.directory / sweep.TRIALS, first_line(error))

    def headline(self) -> str:
        """How far the search is, for the sweep's bar."""
        return table.headline(self._place.plan, self._states, self._best)  # as last told: asked for after each epoch

    def _is_running(self, job: Job) -> bool:
        """Whether a job's trial has not been told; one that nobody knows the directory of only rides along."""
        return not (job.ghost and not job.directory.name.isdigit()) and self._states[self._of(job)] == "running"

    def _of(self, job: Job) -> int:
        """The number of a job's trial."""
        return int(job.directory.name) // self._seeds

    def _numbers(self, trial: int) -> set[int]:
        """The numbers of a trial's jobs."""
        return set(range(trial * self._seeds, (trial + 1) * self._seeds))

    def _await(self, number: int, jobs: set[int]) -> None:
        """Expect the ends of these jobs of a trial."""
        self._left[number] = set(jobs)
        if not jobs:
            self._ended.add(number)

    def _may_ask(self, count: int) -> bool:
        """Whether the study has been told what it has to know: in an ordered search all but so many trials."""
        due = self._asked + count - self._width
        return not self._place.plan.settings.ordered or "running" not in self._states[: max(due, 0)]

    def _ask(self) -> Trial:
        trial = self._place.study.ask()
        self._asked += 1
        self._states.append("running")
        return trial

    def _add(self, trials: Sequence[Trial]) -> None:
        """Let the jobs of some trials, and those that no lane has taken, wait for a device."""
        made, self._for_lanes = self._for_lanes + self._made(trials), []
        if made:
            self._waiting.extend(run.group(made))

    def _made(self, trials: Sequence[Trial]) -> list[Job]:
        """The jobs of some trials: noted first, then opened."""
        made: list[tuple[Noted, Config]] = []
        for trial in trials:
            try:
                jobs = plans.jobs_of(self._place.plan, trial.number, trial.parameters, self._place.plugins)
            except ConfigError as error:
                log.warning("trial %d: %s", trial.number, error)
                self._tell(trial.number, "failed", (), (), str(error))
                continue
            self._left[trial.number] = {job.number for job, _ in jobs}
            made += jobs
        if not made:
            return []
        self._noted += [job for job, _ in made]
        sweep.write(self._place.directory, self._noted, self._place.plan.record())
        return self._place.open(made)

    def _tell_due(self) -> None:
        """Tell the study which trials have ended: at once, or in an ordered search when their turn has come."""
        ordered, all_asked = self._place.plan.settings.ordered, self._asked >= self._place.plan.trials
        for number in sorted(self._ended):
            if ordered and "running" in self._states[:number]:
                break
            if ordered and not all_asked and number > self._next_ask() - self._width:
                break
            found = self._result(number)
            self._tell(number, found.state, found.values, found.spread, found.reason, found.epoch)
            self._ended.discard(number)

    def _next_ask(self) -> int:
        """The number of the last trial that is asked for next."""
        return min(self._asked + self._place.at_once, self._place.plan.trials) - 1

    def _tell(
        self, number: int, state: str, values: Sequence[float], spread: Sequence[float], reason: str, epoch: int = 0
    ) -> None:
        self._place.study.tell(number, state, values, spread, reason, epoch)
        self._states[number] = self._place.study.trials()[number].state
        self._best = self._place.study.best()
        self._table.update()

    def _result(self, number: int) -> objectives.Result:
        """What a trial came to whose jobs have all ended."""
        folders = {job: self._place.directory / str(job) for job in sorted(self._numbers(number))}
        return objectives.of_trial(folders, self._place.plan.settings.objective)


def _is_gone(job: Job) -> bool:
    """Whether somebody has removed what a job had come to: it is trained again, whatever its trial was told as."""
    return not job.ghost and not job.directory.exists()
