"""`hydra/launcher=packed`, the launcher of `vaex -m`: all jobs of a batch in this process, several at once.

open: Hydra composes each job, makes its directory with `.hydra/` and calls `on_job_start`.
run: the jobs train side by side (`vaex.training.run`).
close: Hydra's callbacks learn how each ended.
"""

import contextlib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from vaex.config.overrides import written
from vaex.sweeping.opening import open_job
from vaex.sweeping.task import Task


class PackedLauncher(Launcher):
    """Opens, runs and closes the jobs of a batch. The sweeper may send several batches."""

    task: ClassVar[Task]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a launcher; the task itself came by `register`."""
        self._context, self._config = hydra_context, config
        loader, known = hydra_context.config_loader, self.task.command.composed
        compose = loader.load_sweep_config

        def composed(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            """What `config.compose` had Hydra compose already, with the mode and directory that are known since."""
            job = known.get(tuple(sweep_overrides))
            if job is None:
                return compose(master_config, sweep_overrides)
            with read_write(job.hydra), open_dict(job.hydra):
                job.hydra.mode = master_config.hydra.mode
                job.hydra.sweep.dir = master_config.hydra.sweep.dir
                job.hydra.overrides.hydra = written(master_config.hydra.overrides.hydra)
            return job

        loader.load_sweep_config = composed  # the sweeper asks it too, to check its jobs once more

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch; each job's return value is `sweep.objective`'s."""
        self.start()
        opened = [self.open(list(overrides), initial_job_idx + n) for n, overrides in enumerate(job_overrides)]
        for _, result in opened:
            if result.status is JobStatus.FAILED:
                result.return_value  # noqa: B018  # raises what went wrong
        values = self.task.run([result.return_value for _, result in opened])
        for (config, result), value in zip(opened, values, strict=True):
            result.return_value = value
            self._context.callbacks.on_job_end(config=config, job_return=result)
        self.task.end_batch()
        return [result for _, result in opened]

    def start(self) -> None:
        """What Hydra's launchers do before their jobs."""
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)

    def open(self, overrides: list[str], number: int) -> tuple[DictConfig, JobReturn]:
        """Open a job with a task that only says what is to be done."""
        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.job.id = config.hydra.job.num = number
        result = open_job(config, self._context.callbacks, self.task.open)
        self.task.command.composed.pop(tuple(overrides), None)
        return config, result


class RayLauncher(PackedLauncher):
    """`hydra/launcher=ray`: the same, but for what runs the packs, which `engines/settings.py` has read."""

    def __init__(self, **_: Any) -> None:
        super().__init__()


class SlurmLauncher(RayLauncher):
    """`hydra/launcher=slurm`: likewise."""


OURS = (PackedLauncher, RayLauncher, SlurmLauncher)


def register(task: Task) -> None:
    """Let Hydra find the launchers: it takes plugins only from modules below `hydra_plugins`, a package of others'."""
    PackedLauncher.task = task
    with contextlib.suppress(ModuleNotFoundError):  # there is none where no plugin is installed
        importlib.import_module("hydra_plugins")
    parent = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    parent.vaex = sys.modules["hydra_plugins.vaex"] = sys.modules[__name__]  # pyright: ignore[reportAttributeAccessIssue]
    for launcher in OURS:
        launcher.__module__ = "hydra_plugins.vaex"
        Plugins.instance().register(launcher)


def register_sweeper(sweeper: type[Sweeper]) -> None:
    """Let Hydra find a sweeper of ours, which lies where the launcher does."""
    sweeper.__module__ = "hydra_plugins.vaex"
    setattr(sys.modules[__name__], sweeper.__name__, sweeper)
    Plugins.instance().register(sweeper)
