"""loss=bounded: a σ that cannot exceed `upper` (ω).

    σ = ½ω·e^a                           for a ≤ 0
    σ = ½ω·(2 − e^{−a})                  for a > 0        KL = ½[μ² + σ² − 1] − log σ

Source: Dehaene & Brossard 2021, "Re-parameterizing VAEs for stability", arXiv 2106.13739, the upper-bounded form,
taken from two independent public implementations that agree on it (one calls it Eq. 12), not from the paper's text.
σ and its first derivative are continuous at 0, where σ = ½ω: `upper: 2.0` starts at σ = 1 with slope 1, as
exp_linear does, and is above any σ a standard normal prior asks for; those implementations default to 1.

a → −∞: σ → 0 as e^a, KL grows as −a, its gradient tends to −1: safe, also where σ underflows to 0.
a → +∞: σ → ω, the KL tends to a constant, its gradient to 0 as e^{−a}: nothing overflows in any number format.
"""

import math
from typing import Annotated, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, kl_to_prior, none_clamped


@dataclass(frozen=True, config=STRICT)
class Config:
    """σ in (0, upper)."""

    name: Literal["bounded"]
    upper: Annotated[float, Field(gt=0)]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, σ(raw)²), in the dtype of the inputs."""
    middle = 0.5 * config.upper
    # Each branch sees only inputs it can take: an infinity in the branch not chosen would make the gradient NaN.
    small = raw <= 0
    below = jnp.where(small, raw, 0.0)
    above = jnp.where(small, 0.0, raw)
    rise = -jnp.expm1(-above)  # 1 − e^{−a}
    sigma = middle * jnp.where(small, jnp.exp(below), 1.0 + rise)
    sigma_minus_1 = (middle - 1.0) + middle * jnp.where(small, jnp.expm1(below), rise)
    log_sigma = math.log(middle) + jnp.where(small, below, jnp.log1p(rise))
    return Posterior(mu, sigma, kl_to_prior(mu, sigma_minus_1, log_sigma), none_clamped(mu))
