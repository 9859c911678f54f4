"""Adam (Kingma & Ba 2015)."""

from typing import Annotated, Literal

import optax
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import Schedule


@dataclass(frozen=True, config=STRICT)
class Config(Schedule):
    """Bias-corrected moments; the update is −learning_rate·m̂ / (√v̂ + epsilon)."""

    name: Literal["adam"]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(ge=0)]


def direction(config: Config) -> optax.GradientTransformation:
    """The update without its learning rate, which is an argument of the program."""
    return optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
