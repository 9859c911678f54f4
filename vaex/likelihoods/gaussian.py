"""likelihood=gaussian: each pixel is normal around the decoder's output, with one σ for all pixels.

    log p(x|z) = Σ_pixels −½((x − m)/σ)² − log σ − ½ log 2π

in nats, fully normalised; a density, so it may be positive. With `learned: true` σ = floor + e^s, where the scalar s
is trained with the network and starts at σ = `sigma`: the σ-VAE of Rybkin et al. 2021, "Simple and effective VAE
training with calibrated decoders" (its optimum is the root mean squared error). `floor` bounds the density where
the reconstruction becomes perfect; with `learned: false` it is not used.

Contract: finite values.
"""

import math
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.values import check_finite
from vaex.vae.pixels import sum_pixels


@dataclass(frozen=True, config=STRICT)
class Config:
    """`sigma` in the data's units: fixed, or where learning starts."""

    name: Literal["gaussian"]
    sigma: Annotated[float, Field(gt=0)]
    learned: bool
    floor: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _above_floor(self) -> "Config":
        if self.learned and self.sigma <= self.floor:
            raise ValueError(f"sigma must be above floor: sigma={self.sigma:g}, floor={self.floor:g}")
        return self


def check(config: Config, images: np.ndarray, name: str) -> None:
    """Raise `DataError` with the fix unless every value is finite."""
    check_finite(images, name, config.name)


def treats_as_grey(config: Config, low: float, high: float) -> bool:
    """Whether data of two values only are modelled as shades in between: those of a density always are."""
    return True


def initial_parameters(config: Config) -> dict[str, Array]:
    """s = log(σ − floor), if it is learned."""
    if not config.learned:
        return {}
    return {"log_sigma_above_floor": jnp.float32(math.log(config.sigma - config.floor))}


def observe(config: Config, key: Key[Array, ""], x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """The image itself is modelled."""
    return x


def log_prob(
    config: Config,
    parameters: dict[str, Array],
    outputs: Float[Array, "*batch H W C"],
    x: Float[Array, "*batch H W C"],
) -> Float[Array, "*batch"]:
    """Σ −½((x − m)/σ)² − log σ − ½ log 2π per example, nats."""
    sigma = deviation(config, parameters)
    squares = sum_pixels(jnp.square((x - outputs) * (1.0 / sigma)))  # divided first: σ² may underflow
    return -0.5 * squares - math.prod(x.shape[-3:]) * (jnp.log(sigma) + 0.5 * math.log(2 * math.pi))


def mean(
    config: Config, parameters: dict[str, Array], outputs: Float[Array, "*batch H W C"]
) -> Float[Array, "*batch H W C"]:
    """The decoder's output, unbounded."""
    return outputs


def deviation(config: Config, parameters: dict[str, Array]) -> Float[Array, ""]:
    """σ: as configured, or floor + e^s."""
    if not config.learned:
        return jnp.float32(config.sigma)
    return config.floor + jnp.exp(parameters["log_sigma_above_floor"])
