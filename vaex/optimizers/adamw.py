"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

from typing import Annotated, Literal

import optax
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import Schedule


@dataclass(frozen=True, config=STRICT)
class Config(Schedule):
    """Adam's direction plus weight_decay·parameter, both times −learning_rate."""

    name: Literal["adamw"]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]


def direction(config: Config) -> optax.GradientTransformation:
    """The update without its learning rate, which is an argument of the program."""
    return optax.chain(
        optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon),
        optax.add_decayed_weights(config.weight_decay),
    )
