"""What trains the packs of a sweep. A launcher chooses one; jobs are opened, grouped and closed alike for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vaex.disk.directory import Job
from vaex.engines import settings
from vaex.stopping.judge import Judge
from vaex.terminal.displays import Display

if TYPE_CHECKING:
    from vaex.training.run import Outcome


@dataclass(frozen=True)
class Work:
    """The packs of the sweep in `directory`. `ended` is called after each; `judge` says who stops early."""

    directory: Path
    packs: Sequence[Sequence[Job]]
    display: Display
    ended: Callable[[], None]
    judge: Judge | None


@runtime_checkable
class Engine(Protocol):
    """Trains packs to their end, or to a signal; one that does not wait only sends them."""

    waits: bool

    def check(self) -> None:
        """Raise `ConfigError` where packs cannot be trained so with the devices that are here."""

    def train(self, work: Work) -> "Outcome":
        """Train the packs."""
        ...


class Here:
    """`hydra/launcher=packed`: in this process, several at once."""

    waits = True

    def check(self) -> None:
        """They are this process's own."""

    def train(self, work: Work) -> "Outcome":
        """Train the packs."""
        from vaex.training import run  # late: with it comes jax, after the thread count is set

        return run.run(work.packs, work.display, work.ended, run.lanes(work.packs[0][0].config), work.judge)


def of(launcher: Mapping[str, Any]) -> Engine:
    """The engine of a launcher's section of Hydra's configuration; `ConfigError` where it cannot be had."""
    asked = settings.read(launcher)
    if isinstance(asked, settings.Ray):
        from vaex.engines.ray_tasks import RayTasks  # late: a sweep of another launcher does without

        return RayTasks(asked)
    if isinstance(asked, settings.Slurm):
        from vaex.engines.slurm_tasks import SlurmTasks  # late, as above

        return SlurmTasks(asked)
    return Here()
