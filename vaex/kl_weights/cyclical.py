"""kl_weight=cyclical: warm-up again and again (Fu et al. 2019, "Cyclical annealing schedule", Eqs. 6–7).

    β(t) = beta·min(τ / ramp, 1),    τ = (t mod period) / period

t in epochs, 0 at the first step; the weight starts each `period` at 0, rises over the fraction `ramp` of it and
stays at `beta` for the rest; `ramp: 0` is the full weight always.
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
    """`period` in epochs; `ramp` is the rising fraction of it; `free_bits` in nats per latent."""

    name: Literal["cyclical"]
    beta: Annotated[float, Field(ge=0)]
    period: Annotated[float, Field(gt=0)]
    ramp: Annotated[float, Field(ge=0, le=1)]
    free_bits: Annotated[float, Field(ge=0)]


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    return {"beta": config.beta, "period": config.period, "ramp": config.ramp}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(β(t)·KL, β(t)), in nats per example."""
    tau = jnp.mod(time, numbers["period"]) / numbers["period"]
    weight = numbers["beta"] * rise(tau, numbers["ramp"])
    return weight * kl, weight
