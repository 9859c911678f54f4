"""loss=softplus: a positive σ that is linear, not exponential, in a large output.

    σ = floor + log(1 + e^(βa))/β        KL = ½[μ² + σ² − 1] − log σ

Source: common practice (the default of `tfp.layers.IndependentNormal`, for one); `floor` keeps σ away from 0. β is
`sharpness`: with ln 2, which Hazami et al. 2022 ("Efficient-VDVAE: Less is more", gradient smoothing) take, σ is
log₂(1 + 2^a), which begins at 1, and where σ is small log σ has a gradient of ln 2 in place of 1.

a → −∞, β = 1: σ → floor + e^a. With `floor: 0.0` the KL grows as −a and its gradient tends to −1, also where σ
underflows to 0, because log σ = a + log(log(1 + e^a)/e^a) is computed directly; with a floor the KL tends to a
constant and the gradient to 0.
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
    """σ = floor + softplus(sharpness·raw) / sharpness."""

    name: Literal["softplus"]
    floor: Annotated[float, Field(ge=0)]
    sharpness: Annotated[float, Field(gt=0)]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, (floor + softplus(sharpness·raw)/sharpness)²), in the dtype of the inputs."""
    beta = config.sharpness
    if beta == 1:
        sigma, log_sigma = jax.nn.softplus(raw), log_softplus(raw)
    else:
        sigma, log_sigma = jax.nn.softplus(beta * raw) / beta, log_softplus(beta * raw) - math.log(beta)
    sigma = config.floor + sigma
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
