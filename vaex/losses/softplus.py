"""loss=softplus: a positive σ that is linear, not exponential, in a large output.

    σ = floor + log(1 + e^a)        KL = ½[μ² + σ² − 1] − log σ

Source: common practice (the default of `tfp.layers.IndependentNormal`, for one); `floor` keeps σ away from 0.

a → −∞: σ → floor + e^a. With `floor: 0.0` the KL grows as −a and its gradient tends to −1, also where σ underflows
to 0, because log σ = a + log(log(1 + e^a)/e^a) is computed directly; with a floor the KL tends to a constant and
the gradient to 0.
a → +∞: σ grows as a, KL as ½a², its gradient as a: overflow from 2.6e19 in float32 and bfloat16, 362 in float16.
"""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, kl_to_prior, none_clamped


@dataclass(frozen=True, config=STRICT)
class Config:
    """σ = floor + softplus(raw)."""

    name: Literal["softplus"]
    floor: Annotated[float, Field(ge=0)]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, (floor + softplus(raw))²), in the dtype of the inputs."""
    sigma = config.floor + jax.nn.softplus(raw)
    log_sigma = log_softplus(raw)
    if config.floor > 0:  # not log(sigma): a small floor may itself underflow in float16
        log_sigma = jnp.logaddexp(log_sigma, jnp.asarray(math.log(config.floor), raw.dtype))
    return Posterior(mu, sigma, kl_to_prior(mu, sigma - 1.0, log_sigma), none_clamped(mu))


def log_softplus(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(log(1 + e^a)), finite for every a: below −8 it is a − ½e^a + O(e^{2a}), where e^{2a} < 2e-7."""
    low = a < -8.0
    # Each branch sees only inputs it can take: an infinity in the branch not chosen would make the gradient NaN.
    below = jnp.where(low, a, -8.0)
    above = jnp.where(low, -8.0, a)
    return jnp.where(low, below - 0.5 * jnp.exp(below), jnp.log(jax.nn.softplus(above)))
