"""kl_weight=capacity: the KL is held at a capacity that grows (Burgess et al. 2018, "Understanding disentangling in
β-VAE", Eq. 8).

    penalty = weight·|KL − C(t)|,    C(t) = capacity·min(t / epochs, 1)

t in epochs, 0 at the first step; capacity in nats per example, summed over latents; `epochs: 0` is the full
capacity at once. Below the capacity the penalty pushes the KL up.
"""

from typing import Annotated, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import rise


@dataclass(frozen=True, config=STRICT)
class Config:
    """`capacity` in nats per example; `free_bits` in nats per latent."""

    name: Literal["capacity"]
    weight: Annotated[float, Field(ge=0)]
    capacity: Annotated[float, Field(ge=0)]
    epochs: Annotated[float, Field(ge=0)]
    free_bits: Annotated[float, Field(ge=0)]


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    return {"weight": config.weight, "capacity": config.capacity, "epochs": config.epochs}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(weight·|KL − C(t)|, weight), in nats per example."""
    capacity = numbers["capacity"] * rise(time, numbers["epochs"])
    return numbers["weight"] * jnp.abs(kl - capacity), numbers["weight"]
