"""The learning rate over time: constant or cosine, with an optional linear warm-up. Times are in epochs."""

from typing import Annotated, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT


@dataclass(frozen=True, config=STRICT)
class Schedule:
    """What every optimizer's Config has besides its own keys."""

    learning_rate: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[float, Field(ge=0)]


def numbers(config: Schedule, epochs: int) -> dict[str, float]:
    """The schedule as numbers, so that runs which differ only in them share one compiled program."""
    return {
        "peak": config.learning_rate,
        "warmup": config.warmup_epochs,
        "end": float(epochs) if config.schedule == "cosine" else jnp.inf,
    }


def at(numbers: dict[str, Float[Array, ""]], time: Float[Array, ""]) -> Float[Array, ""]:
    """Learning rate at `time` epochs: a linear rise from 0 over the warm-up, then the peak or its half cosine
    peak·(1 + cos π·t)/2, where t runs from 0 at the end of the warm-up to 1 at the end of training.
    """
    warmup, end = numbers["warmup"], numbers["end"]
    t = jnp.clip((time - warmup) / jnp.maximum(end - warmup, 1e-6), 0.0, 1.0)
    return numbers["peak"] * rise(time, warmup) * 0.5 * (1.0 + jnp.cos(jnp.pi * t))


def rise(time: Float[Array, ""], length: Float[Array, ""]) -> Float[Array, ""]:
    """min(time / length, 1), and 1 where length is 0; of KL weights too."""
    return jnp.where(time < length, time / jnp.where(length > 0, length, 1.0), 1.0)
