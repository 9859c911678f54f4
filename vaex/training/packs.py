"""Where the packs of a command come from, and how much work one is."""

from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import Protocol, runtime_checkable

import jax

from vaex.config import Config
from vaex.device.datasets import load
from vaex.disk.directory import Job
from vaex.terminal.stop import Stop
from vaex.vae import objective, pack, step
from vaex.vae.objective import Program


@runtime_checkable
class Source(Protocol):
    """Where the packs of a command come from. Called from the threads that train them."""

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack for a lane that is free; None: nothing more for it. May wait, no longer than `stop` allows."""

    def told(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """How the jobs of a pack have ended."""

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all runs, as far as they are known, for which the program of a pack is compiled."""
        ...


class Listed:
    """Packs that are all known beforehand: the longest first, so that none is left over at the end."""

    def __init__(self, packs: Sequence[Sequence[Job]]):
        self._left = deque(sorted(packs, key=_cost, reverse=True))
        self._steps = Counter[Hashable]()
        for jobs in packs:
            self._steps[programs(jobs)] += steps_of(jobs)

    def take(self, stop: Stop) -> Sequence[Job] | None:
        """The next pack."""
        try:
            return self._left.popleft()
        except IndexError:
            return None

    def told(self, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
        """Nothing follows from it."""

    def steps(self, jobs: Sequence[Job]) -> int:
        """Optimizer steps of all packs of this program."""
        return self._steps[programs(jobs)]


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
