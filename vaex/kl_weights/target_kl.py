"""kl_weight=target_kl: a KL is asked for, and a PI controller finds the weight (Shao et al. 2020, "ControlVAE",
Algorithm 1).

    e_t = target − KL_t,    P_t = proportional / (1 + exp(e_t)),    I_t = I_{t−1} − integral·e_t
    β_t = P_t + I_t + lowest, cut to [lowest, highest]
    minimised at step t:  reconstruction + β_{t−1}·KL,  β_0 = lowest

`target` and KL in nats per example, summed over latents: the true KL, without free bits. While the KL is above the
target the weight rises, below it falls. Against wind-up I is held in [0, highest − lowest]; the paper stops it while
β is cut, which a weight at its limit never leaves. The weight of a step is that of the KL before it: the paper takes
the same batch's.
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from vaex.config import STRICT

LEARNED = ("p", "i")
"""The proportional and the integral part of β."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """`target` in nats per example; `proportional` is K_p, `integral` K_i per nat and step; `free_bits` per latent."""

    name: Literal["target_kl"]
    target: Annotated[float, Field(ge=0)]
    proportional: Annotated[float, Field(ge=0)]
    integral: Annotated[float, Field(gt=0)]
    lowest: Annotated[float, Field(ge=0)]
    highest: Annotated[float, Field(gt=0)]
    free_bits: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> "Config":
        if self.lowest >= self.highest:
            raise ValueError(f"lowest must be below highest: lowest={self.lowest:g}, highest={self.highest:g}")
        return self


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    names = ("target", "proportional", "integral", "lowest", "highest")
    return {name: getattr(config, name) for name in names}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(β·KL, β), in nats per example."""
    lowest, highest = numbers["lowest"], numbers["highest"]
    weight = jnp.clip(numbers["p"] + numbers["i"] + lowest, lowest, highest)
    return weight * kl, weight


def adapt(
    numbers: dict[str, Float[Array, ""]], reconstruction: Float[Array, ""], kl: Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """What is `LEARNED` after a step with this reconstruction and KL, in nats per example."""
    error = numbers["target"] - kl
    integral = numbers["i"] - numbers["integral"] * error
    return {
        "p": numbers["proportional"] * jax.nn.sigmoid(-error),
        "i": jnp.clip(integral, 0.0, numbers["highest"] - numbers["lowest"]),
    }
