"""A run in a process that is not the first: it computes what the first one computes, and writes and says nothing."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from typing_extensions import override

from vaex.config import Config, identifying
from vaex.device import hosts
from vaex.disk.progress import Found
from vaex.disk.provenance import differences
from vaex.errors import VaexError, printable
from vaex.files import first_line
from vaex.terminal.stop import Stop
from vaex.training.member import Member
from vaex.vae.step import TrainState

log = logging.getLogger("vaex")


def agree(config: Config, data: str) -> None:
    """Raise `InputError` where the processes of a run were not all given the same; `data` is the dataset's digest."""
    own = identifying(config) | {"data": data, "jax": jax.__version__, "epochs": config.training.epochs}
    said = [json.loads(text) for text in hosts.texts(json.dumps(own))]
    for rank, other in enumerate(said):
        if other != said[0]:
            apart = (
                "; ".join(differences(said[0], other)).replace(" then, ", " in process 0, ").replace(" now", " there")
            )
            hosts.refuse(f"process {rank} was started with another command or data than process 0: {apart}")


class Follower(Member):
    """A `Member` without a directory."""

    @contextmanager
    @override
    def guarded(self) -> Iterator[None]:
        """Host work of this run."""
        try:
            yield
        except Exception as error:
            self.fail(error)

    @override
    def open(self) -> None:
        """Take nothing."""

    @override
    def begin(self, members: dict[str, Any] | None, program: dict[str, Any] | None, placement: str) -> None:
        """Begin nothing."""

    @override
    def state(self, found: Found | None, fresh: TrainState) -> TrainState:
        """A fresh state, in whose place comes that of the first process."""
        return fresh

    @override
    def say_start(self, program: Mapping[str, Any] | None, placed: str) -> None:
        """Say nothing."""

    @override
    def epoch(
        self,
        steps: dict[str, np.ndarray],
        means: Mapping[str, np.ndarray],
        trained: float,
        seconds: float,
        state: Callable[[], TrainState],
    ) -> None:
        """Count an epoch."""
        self.progress.rows.append({})
        self.frozen = bool(steps["diverged"].any())

    def caught_up(self, state: TrainState, epochs: int) -> None:
        """Be where the first process is."""
        self.progress.rows = [{} for _ in range(epochs)]
        self.frozen = bool(state.frozen)

    @override
    def settle(self) -> None:
        """Wait for nothing."""

    @override
    def close(self, state: TrainState, test: Mapping[str, np.ndarray] | None, stop: Stop) -> None:
        """Know how it ended."""
        done = len(self.progress.rows) == self.config.training.epochs
        self.summary = {"status": "diverged" if self.frozen else "finished" if done else "interrupted"}

    @override
    def fail(self, error: Exception) -> None:
        """Say on one line what happened."""
        known = isinstance(error, VaexError)
        log.error("%s", str(error) if known else printable(f"{type(error).__name__}: {first_line(error)}"))
        self.summary = {"status": "failed"}

    @override
    def release(self) -> None:
        """Hold nothing."""
