"""What Hydra's launchers call: a job is trained at once, or opened, and run with the others of its batch."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vaex import config as configuration
from vaex.config import Config, naming
from vaex.config.compose import Command, plain
from vaex.config.overrides import written
from vaex.device import backend
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.disk.sweep import group_of
from vaex.engines.engine import Engine, Work
from vaex.search import lineage, objectives
from vaex.search.plan import Plan
from vaex.stopping.judge import judging
from vaex.terminal.displays import SweepDisplay
from vaex.tracking import tracker
from vaex.training import run
from vaex.training.run import Outcome

Returned = float | tuple[float, ...]


class EndOfCommand(BaseException):
    """Ends a whole sweep at once; not an `Exception`, which Hydra would take for the failure of one job."""


class Task:
    """The task of one command, whose run or sweep is in `directory`; remembers how its jobs ended."""

    def __init__(self, directory: Path, command: Command, engine: Engine):
        self.directory, self.command, self.engine = directory, command, engine
        self._here = Path.cwd()  # what paths of the command line are relative to, also with hydra.job.chdir
        self.outcomes: list[Outcome] = []
        self.plan: Plan | None = None
        self.known: dict[int, Config] = {} if command.sweeper_decides else dict(enumerate(command.jobs))
        self._count = len(command.jobs)
        self._common = naming.common(command.overrides)
        self._unnamed = set(command.overrides[0]) if command.sweeper_decides else self._common
        self._noted: list[sweep.Noted] | None = [] if command.sweeper_decides and not command.search else None
        if command.search:
            self._unnamed = self._common = set(command.search.fixed)

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another launcher's processes: each parses its own job, for which it loads the plugins.

        None of them knows the others' jobs, so none writes sweep.json.
        """
        return self.__dict__ | {"command": replace(self.command, jobs=(), composed={}), "known": {}, "_noted": None}

    def __call__(self, job: DictConfig) -> Returned:
        """Train one job now, as a launcher that knows nothing of us asks, perhaps in another process."""
        backend.start()
        with contextlib.chdir(self._here):
            opened = self.open(job)
            self._write_noted()
            self.outcomes.append(run.run([[opened]]))
        self.end_batch()
        return self.returned(opened, self.outcomes[-1].statuses[opened.directory])

    def returned(self, job: Job, status: str) -> Returned:
        """What a sweeper learns of a job: `sweep.objective` of it, nan where it has none, as one that diverged.

        Several objectives are a tuple, in their order.
        """
        wanted = job.config.sweep.objective
        keys = [wanted] if isinstance(wanted, str) else wanted
        there = status in objectives.ENDED
        found = [objectives.of_run(self._here / job.directory, key) if there else None for key in keys]
        values = tuple(math.nan if value is None else value for value in found)
        return values[0] if isinstance(wanted, str) else values

    def open(self, job: DictConfig) -> Job:
        """What is to be done, while Hydra's configuration is that of the job."""
        with contextlib.chdir(self._here):
            return self._open(job)

    def _open(self, job: DictConfig) -> Job:
        hydra = HydraConfig.get()
        directory = Path(hydra.runtime.output_dir)
        many = "MULTIRUN" in str(hydra.mode)
        overrides = " ".join(item for item in written(hydra.overrides.task) if item not in self._common)
        known = self.known.get(hydra.job.num if many else 0)
        config = tracker.resolved(self._parse(job) if known is None else known)
        if self._noted is not None:
            self._noted.append(
                sweep.noted(hydra.job.num, Path(hydra.sweep.subdir), written(hydra.overrides.task), config)
            )
        count = max(self._count, hydra.job.num + 1) if many else 1  # of a sweeper that decides: so far
        return Job(
            config=config,
            directory=shown(directory),
            label=f"job {hydra.job.num}: {overrides}" if many else overrides or "the book's VAE",
            group=group_of(self.directory) if many else None,
            name=naming.of_job(written(hydra.overrides.task), self._unnamed) if many else None,
            figures=not many or count <= config.sweep.figures_up_to,
            number=hydra.job.num if many else None,
        )

    def _parse(self, job: DictConfig) -> Config:
        """A job that nobody knew beforehand, or another process knew: what is expected is the command's to say."""
        config = configuration.parse(plain(job))
        return config if any(each.expect for each in self.command.jobs) else replace(config, expect=())

    def run(self, jobs: Sequence[Job]) -> list[Returned]:
        """Train a batch of a sweep, several jobs at once; returns the number that a sweeper learns of each."""
        self._write_noted()
        if lineage.exists(self.directory):
            from vaex.sweeping import rounds  # late: with it comes pandas

            outcome = rounds.train(self.directory, jobs)
        else:
            outcome = train_sweep(self.directory, run.group(jobs), 0, self.engine)
        self.outcomes.append(outcome)
        return [self.returned(job, outcome.statuses[job.directory]) for job in jobs]

    def end_batch(self) -> None:
        """Stop here if a signal, or a run with on_nonfinite=raise, has ended everything."""
        if self.outcomes[-1].signal or self.outcomes[-1].ended_by_policy:
            raise EndOfCommand

    def _write_noted(self) -> None:
        """Write sweep.json of the jobs so far where nobody knew them beforehand."""
        if self._noted is not None:
            sweep.write(self.directory, self._noted)


def train_sweep(directory: Path, packs: Sequence[Sequence[Job]], ended_before: int, engine: Engine) -> Outcome:
    """Train packs of a sweep by an engine, its table growing as they end."""
    from vaex.disk import results  # late: a lone run need not wait for pandas

    jobs = [job for members in packs for job in members if not job.ghost]
    display = SweepDisplay(jobs, ended_before)
    table = results.growing_sweep_csv(directory)
    judge = judging(directory, jobs[0].config)
    try:
        return engine.train(Work(directory, packs, display, table.update, judge))
    finally:
        display.close()


def shown(directory: Path) -> Path:
    """Relative to here where it can be: short to read and to paste."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory
