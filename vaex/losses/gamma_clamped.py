"""loss=gamma_clamped: γ = log σ², cut off at `lo` and `hi`.

    γ = min(max(a, lo), hi)        σ = e^{γ/2}        KL = ½[μ² + expm1(γ) − γ]

Source: common practice (latent diffusion's DiagonalGaussianDistribution clamps to [−30, 20], the default here).

a < lo or a > hi: σ and KL are constant and their gradient with respect to a is 0: the latent cannot come back by
its own gradient. How often that happens is in the metric `clamped_fraction`, through `Posterior.clamped`.
At hi = 20 the KL is 2.4e8 nats: finite in float32 and bfloat16, but float16 overflows from γ = 11.1, inside the bounds.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, from_log_sigma


@dataclass(frozen=True, config=STRICT)
class Config:
    """The raw head is γ = log σ², used inside [lo, hi]."""

    name: Literal["gamma_clamped"]
    lo: float
    hi: float

    @model_validator(mode="after")
    def _ordered(self) -> "Config":
        if self.lo >= self.hi:
            raise ValueError(f"lo must be below hi: lo={self.lo:g}, hi={self.hi:g}")
        return self


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, e^γ) with γ = raw clipped to [lo, hi], in the dtype of the inputs."""
    clamped = (raw < config.lo) | (raw > config.hi)
    return from_log_sigma(mu, 0.5 * jnp.clip(raw, config.lo, config.hi), clamped)
