"""loss=sigma: the encoder outputs σ itself, which may be negative or zero.

    σ = a              KL = −½[1 + log(σ² + epsilon) − σ² − μ²]                  (Géron, Eq. 17-3)

The formula is taken literally, in the posterior's precision, because its behaviour is what the book's advice to
prefer γ is about. `epsilon: 0.0` with `bias_init: 0.0` is the book's form, which starts near σ = 0, where log σ²
is steep; `bias_init: 1.0` starts at σ = 1, as e^0 does in the other variants, and makes the comparison fair.

|σ| → 0: KL grows as −log|σ| and its gradient as 1/σ, without bound unless epsilon > 0. From |σ| = 1.1e-19 down
(1.7e-4 in float16) σ² underflows: the KL is infinite and so is its gradient, which is NaN at 0. In float16 the
gradient is infinite already from 2.8e-3, and an epsilon below 6e-8 is 0.
|σ| → ∞: KL grows as ½σ², its gradient as σ; from 1.8e19 (256 in float16) σ² overflows and the KL is ∞ − ∞ = NaN.
Near |σ| = 1 the KL is a difference of numbers near 1, wrong by up to 4e-8 in float32, 3e-4 in float16 and 2e-3 in
bfloat16; epsilon > 0 shifts it by −½·epsilon/σ², below zero near σ = 1. Neither is hidden.
"""

from typing import Annotated, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, none_clamped


@dataclass(frozen=True, config=STRICT)
class Config:
    """The raw head is σ; `epsilon` is added to σ² inside the logarithm, `bias_init` is the raw head's first bias."""

    name: Literal["sigma"]
    epsilon: Annotated[float, Field(ge=0)]
    bias_init: float


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, a²) with a = raw, in the dtype of the inputs."""
    variance = raw * raw
    kl = -0.5 * (1.0 + jnp.log(variance + config.epsilon) - variance - mu * mu)
    return Posterior(mu, raw, kl, none_clamped(mu))
