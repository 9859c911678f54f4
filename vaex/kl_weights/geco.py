"""kl_weight=geco: a reconstruction is asked for, and the weight becomes what it takes (Rezende & Viola 2018, "Taming
VAEs", Algorithm 1).

    C_t = reconstruction_t − target,    C̄_t = decay·C̄_{t−1} + (1 − decay)·C_t,  C̄_1 = C_1
    λ_t = λ_{t−1}·exp(rate·C̄_t),  λ_0 = 1
    minimised at step t:  reconstruction + β·KL,  β = 1 / λ_{t−1}

`target` and C in nats per example. The paper minimises KL + λ·C: the same, up to a constant, divided by λ, so that
the gradient keeps the reconstruction's scale however large λ becomes. Above the target the weight falls, below it
rises. λ stays in [1e-4, 1e4], so that a target out of reach ends at a limit and not at an overflow. A run begins far
above any target, so λ first grows beyond what the target takes, and comes back by rate·C̄ a step: give it epochs.
"""

import math
from typing import Annotated, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT

LEARNED = ("average", "log_lambda", "updates")
"""C̄ in nats per example, log λ, and how many steps have been taken in."""

LIMIT = math.log(1e4)
"""Of |log λ|."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """`target` in nats per example, `rate` per nat and step; `free_bits` in nats per latent."""

    name: Literal["geco"]
    target: float
    decay: Annotated[float, Field(ge=0, lt=1)]
    rate: Annotated[float, Field(gt=0)]
    free_bits: Annotated[float, Field(ge=0)]


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    return {"target": config.target, "decay": config.decay, "rate": config.rate}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(β·KL, β) with β = 1/λ, in nats per example."""
    weight = jnp.exp(-numbers["log_lambda"])
    return weight * kl, weight


def adapt(
    numbers: dict[str, Float[Array, ""]], reconstruction: Float[Array, ""], kl: Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """What is `LEARNED` after a step with this reconstruction and KL, in nats per example."""
    constraint = reconstruction - numbers["target"]
    moved = numbers["decay"] * numbers["average"] + (1 - numbers["decay"]) * constraint
    average = jnp.where(numbers["updates"] == 0, constraint, moved)
    log_lambda = jnp.clip(numbers["log_lambda"] + numbers["rate"] * average, -LIMIT, LIMIT)
    return {"average": average, "log_lambda": log_lambda, "updates": numbers["updates"] + 1}
