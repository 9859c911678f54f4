"""A cure tried: whole epochs by the run's own compiled program, until the place is well behind, and the ELBO there."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vaex.config import Config
from vaex.device import compilation, compiled, feeding, mesh
from vaex.device.datasets import load
from vaex.diagnosis.cures import Cure
from vaex.disk import metrics
from vaex.disk.directory import type_of_device
from vaex.errors import VaexError
from vaex.files import first_line
from vaex.vae import objective, step
from vaex.vae.numbers import Numbers
from vaex.vae.step import TrainState

FROM_START = "the start"


class Trial(NamedTuple):
    """How a configuration did: the step it reached, the one at which it was not finite (None: none), valid/elbo.

    `passed`: nothing stopped it, and it is better than untrained weights. `problem` is why it could not be run.
    """

    origin: str
    step: int
    diverged: int | None
    elbo: float | None
    passed: bool
    problem: str | None = None


class Values(NamedTuple):
    """valid/elbo and valid/loss."""

    elbo: float
    loss: float


def _better(values: Values, untrained: Values) -> bool:
    """By the bound, or by what is minimised: with a small β a lower loss may have a lower ELBO."""
    if not (math.isfinite(values.elbo) and math.isfinite(values.loss)):
        return False
    return not values.elbo <= untrained.elbo or not values.loss >= untrained.loss  # what is NaN is worse than anything


class Trials:
    """Trials of one run's cures."""

    def __init__(self, read: Callable[[tuple[str, ...]], Config], until: int, device: type_of_device):
        self._read, self._until, self._device = read, until, device
        self.untrained = _Training(read(()), None, device).values()

    def of(self, cure: Cure, beginning: TrainState | None, origin: str) -> Trial:
        """From a state of the run, or from the start."""
        try:
            return self._train(self._read(cure.overrides), beginning, origin if beginning else FROM_START)
        except VaexError as error:
            return Trial(origin, 0, None, None, False, str(error))
        except Exception as error:  # a loss that these data, or this model, cannot have, ends its own trial
            return Trial(origin, 0, None, None, False, f"{type(error).__name__}: {first_line(error)}")

    def _train(self, config: Config, beginning: TrainState | None, origin: str) -> Trial:
        training = _Training(config, beginning, self._device)
        until = min(self._until, config.training.epochs * training.an_epoch)
        while training.step < until and not training.frozen:
            training.epoch()
        values = training.values()
        passed = not training.frozen and _better(values, self.untrained)
        elbo = values.elbo if math.isfinite(values.elbo) else None
        return Trial(origin, training.step, training.diverged, elbo, passed)


class _Training:
    """A run's device work, alone and without a directory."""

    def __init__(self, config: Config, beginning: TrainState | None, device: type_of_device):
        dataset = load(config.dataset)
        program = objective.program(config, dataset.shape)
        self._numbers = Numbers(
            [config], [program], 1, program.model.latent_dim, functools.partial(mesh.put, device=device)
        )
        hyper = self._numbers.at(np.int32(1))
        options = compilation.choose(config, 1, {program.model.latent_dim}, 0, device, spare=False).options
        self._feed = feeding.Resident(dataset, program, hyper, device, options)
        self._pixels = int(np.prod(dataset.shape))
        self._state: TrainState = jax.device_put(beginning or compiled.init(program, hyper.seed), device)
        self.an_epoch = -(-len(dataset.train.images) // program.batch_size)

    @property
    def step(self) -> int:
        return int(self._state.step)

    @property
    def frozen(self) -> bool:
        return bool(self._state.frozen)

    @property
    def diverged(self) -> int | None:
        """The first step that was not finite; of a run that was only given up, the last."""
        return int(self._state.first_nonfinite) or self.step if self.frozen else None

    def epoch(self) -> None:
        number = np.int32(self.step // self.an_epoch)
        hyper = self._numbers.at(number + 1)
        self._state, _ = self._feed.train(hyper, self._state, number)

    def values(self) -> Values:
        """Of the validation set, as metrics.jsonl has them."""
        last = max(self.step - 1, 0)
        time = np.float32(last / self.an_epoch)
        numbers = step.weighed(self._numbers.at(np.int32(last // self.an_epoch + 1)), self._state)
        means = self._feed.evaluate("valid", numbers, self._state.parameters, time)
        row = metrics.evaluation_row("valid", means, self._pixels)
        return Values(row["valid/elbo"], row["valid/loss"])
