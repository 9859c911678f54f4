"""loss=exp_linear: exponential where σ is small, linear where it is large.

    σ = e^a, log σ = a                   for a ≤ 0
    σ = 1 + a, log σ = log(1 + a)        for a > 0        KL = ½[μ² + σ² − 1] − log σ

Source: Dehaene & Brossard 2021, "Re-parameterizing VAEs for stability", arXiv 2106.13739. σ and its first derivative
are continuous at 0; the KL's gradient is at most linear in a at both ends, which is the point of the form.

a → −∞: σ → 0 as e^a, KL grows as −a, its gradient tends to −1: safe, also where σ underflows to 0.
a → +∞: KL grows as ½a², its gradient as a; the KL overflows from 2.6e19 in float32 and bfloat16, 361 in float16.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, kl_to_prior, none_clamped


@dataclass(frozen=True, config=STRICT)
class Config:
    """σ = e^raw below 0, 1 + raw above."""

    name: Literal["exp_linear"]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, σ(raw)²), in the dtype of the inputs."""
    # Each branch sees only inputs it can take: an infinity in the branch not chosen would make the gradient NaN.
    small = raw <= 0
    below = jnp.where(small, raw, 0.0)
    above = jnp.where(small, 0.0, raw)
    sigma = jnp.where(small, jnp.exp(below), 1.0 + above)
    sigma_minus_1 = jnp.where(small, jnp.expm1(below), above)
    log_sigma = jnp.where(small, below, jnp.log1p(above))
    return Posterior(mu, sigma, kl_to_prior(mu, sigma_minus_1, log_sigma), none_clamped(mu))
