"""How a pack gets at its images: all in the device's memory, or streamed to it. One epoch, one evaluation for both."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from vaex.config import Config
from vaex.data.dataset import Dataset
from vaex.device import placement
from vaex.device.compiled import Compiled
from vaex.device.datasets import on_device
from vaex.device.placement import Placement
from vaex.disk.directory import type_of_device
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

type_of_train = Callable[[Hyper, TrainState, Any], tuple[TrainState, dict[str, Any]]]
type_of_evaluate = Callable[[str, Hyper, PyTree, Any], dict[str, np.ndarray]]


class Feed(ABC):
    """`train` is one epoch: numbers, state, number of the epoch from 0 -> state, statistics of its steps.

    `evaluate` means over a split: its name, numbers, parameters, time -> means. Each is there when it is compiled.
    """

    @property
    @abstractmethod
    def train(self) -> type_of_train:
        """An epoch."""

    @property
    @abstractmethod
    def evaluate(self) -> type_of_evaluate:
        """The means over a split."""

    @property
    @abstractmethod
    def compiled_train(self) -> Any:
        """The program of an epoch, which XLA can be asked about."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what this pack alone has."""


class Resident(Feed):
    """All images in the device's memory, once for all runs."""

    def __init__(
        self, dataset: Dataset, program: Program, hyper: Hyper, device: type_of_device, options: Mapping[str, Any]
    ):
        self._dataset, self._device = dataset, device
        self._images, self._held_out = on_device(dataset, device)
        self.functions = Compiled(program, hyper, self._images, self._held_out, device, options)
        valid, test = len(dataset.valid.images), len(dataset.test.images)
        self._rows = {"valid": np.array([0, valid], np.int32), "test": np.array([valid, valid + test], np.int32)}

    @property
    def train(self) -> type_of_train:
        """`Feed.train`."""
        order, train = self.functions.order, self.functions.train

        def epoch(hyper: Hyper, state: TrainState, number: Any) -> tuple[TrainState, dict[str, Any]]:
            rows = placement.order(self._dataset, hyper.seed, number, order, self._device)
            return train(hyper, state, rows, self._images)

        return epoch

    @property
    def evaluate(self) -> type_of_evaluate:
        """`Feed.evaluate`."""
        evaluate = self.functions.evaluate

        def means(split: str, hyper: Hyper, parameters: PyTree, time: Any) -> dict[str, np.ndarray]:
            return jax.device_get(evaluate(hyper, parameters, self._held_out, self._rows[split], time))

        return means

    @property
    def compiled_train(self) -> Any:
        """The program of an epoch, which XLA can be asked about."""
        return self.functions.train

    def close(self) -> None:
        """The images are for all runs, and stay."""


def place(config: Config, device: type_of_device, stacked: bool) -> Placement:
    """Where the images of a pack are: those of a vmapped one are in the device's memory."""
    if stacked:
        return Placement(False, "shared by the runs of a vmapped program")
    return placement.of(config, device)


def feed(
    placed: Placement,
    dataset: Dataset,
    program: Program,
    hyper: Hyper,
    device: type_of_device,
    options: Mapping[str, Any],
) -> Feed:
    """The images of a pack, and what is compiled for them."""
    if placed.streamed:
        from vaex.device.streaming import Streamed  # late: most runs do without

        return Streamed(dataset, program, hyper, device, options)
    return Resident(dataset, program, hyper, device, options)
