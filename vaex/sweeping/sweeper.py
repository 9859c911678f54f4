"""`hydra/sweeper=optuna`: each trial's jobs are opened as Hydra opens a job, when a lane is free for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from vaex.config import Config
from vaex.config.grid import Composer
from vaex.disk.directory import Job
from vaex.disk.sweep import Noted
from vaex.errors import InputError
from vaex.sweeping import searching
from vaex.sweeping.launcher import PackedLauncher


class OptunaSweeper(Sweeper):
    """What Hydra calls. The search itself is `vaex/search/`'s, its settings have been read when the command began."""

    def __init__(self, **_: Any):
        self._opened: dict[Path, tuple[DictConfig, JobReturn]] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper, the launcher with it, which must be ours."""
        chosen: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not isinstance(chosen, PackedLauncher):
            raise InputError("hydra/sweeper=optuna trains in this process: it needs hydra/launcher=packed, the default")
        self._launcher, self._callbacks = chosen, hydra_context.callbacks
        self._composer = Composer(hydra_context.config_loader, config)

    def sweep(self, arguments: list[str]) -> None:
        """Search. What is searched was read from the command line before anything was made."""
        self._launcher.start()
        searching.begin(self._launcher.task, self._open, self._ended)
        self._launcher.task.end_batch()

    def _open(self, jobs: Sequence[tuple[Noted, Config]]) -> list[Job]:
        """Open a trial's jobs, while others train: nothing of the process is changed for longer than that."""
        task, made = self._launcher.task, []
        for noted, config in jobs:
            overrides = list(noted.overrides)
            task.known[noted.number] = config
            task.command.composed[tuple(overrides)] = self._composer.job(overrides)
            opened = self._launcher.open(overrides, noted.number)
            job = opened[1].return_value  # raises what went wrong
            self._opened[job.directory] = opened
            made.append(job)
        return made

    def _ended(self, job: Job, status: str) -> None:
        """Tell Hydra's callbacks how a job has ended."""
        config, result = self._opened.pop(job.directory, (None, None))
        if config is not None and result is not None:
            result.return_value, result.status = self._launcher.task.returned(job, status), JobStatus.COMPLETED
            self._callbacks.on_job_end(config=config, job_return=result)
