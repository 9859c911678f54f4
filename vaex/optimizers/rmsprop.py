"""RMSprop (Tieleman & Hinton 2012) as Keras defines it: ε outside the square root."""

from typing import Annotated, Literal

import optax
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import Schedule


@dataclass(frozen=True, config=STRICT)
class Config(Schedule):
    """ν ← decay·ν + (1 − decay)·g²; the update is −learning_rate·g / (√ν + epsilon)."""

    name: Literal["rmsprop"]
    decay: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(ge=0)]


def direction(config: Config) -> optax.GradientTransformation:
    """The update without its learning rate, which is an argument of the program."""
    return optax.scale_by_rms(decay=config.decay, eps=config.epsilon, eps_in_sqrt=False)
