"""likelihood=laplace: absolute instead of squared errors; the decoder outputs the median, which is the mean.

    log p(x|z) = Σ_pixels −|x − m|/b − log 2b

in nats, fully normalised; a density, so it may be positive. Every pixel pulls with ±1/b, however far.

Contract: finite values.
"""

import math
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.values import check_finite
from vaex.vae.pixels import sum_pixels


@dataclass(frozen=True, config=STRICT)
class Config:
    """`scale` is b, in the data's units; the standard deviation is b·√2."""

    name: Literal["laplace"]
    scale: Annotated[float, Field(gt=0)]


def check(config: Config, images: np.ndarray, name: str) -> None:
    """Raise `DataError` with the fix unless every value is finite."""
    check_finite(images, name, config.name)


def treats_as_grey(config: Config, low: float, high: float) -> bool:
    """Whether data of two values only are modelled as shades in between: those of a density always are."""
    return True


def initial_parameters(config: Config) -> dict[str, Array]:
    """Nothing is learned besides the decoder."""
    return {}


def observe(config: Config, key: Key[Array, ""], x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """The image itself is modelled."""
    return x


def log_prob(
    config: Config,
    parameters: dict[str, Array],
    outputs: Float[Array, "*batch H W C"],
    x: Float[Array, "*batch H W C"],
) -> Float[Array, "*batch"]:
    """Σ −|x − m|/b − log 2b per example, nats."""
    distances = sum_pixels(jnp.abs(x - outputs))
    return -distances / config.scale - math.prod(x.shape[-3:]) * math.log(2 * config.scale)


def mean(
    config: Config, parameters: dict[str, Array], outputs: Float[Array, "*batch H W C"]
) -> Float[Array, "*batch H W C"]:
    """The decoder's output, unbounded."""
    return outputs
