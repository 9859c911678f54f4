"""Stochastic gradient descent with optional momentum."""

from typing import Annotated, Literal

import optax
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import Schedule


@dataclass(frozen=True, config=STRICT)
class Config(Schedule):
    """m ← g + momentum·m; the update is −learning_rate·m (Nesterov: −learning_rate·(g + momentum·m))."""

    name: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool


def direction(config: Config) -> optax.GradientTransformation:
    """The update without its learning rate, which is an argument of the program."""
    return optax.trace(decay=config.momentum, nesterov=config.nesterov)
