"""The approximate posterior q(z|x) = N(μ, σ²) that every loss variant makes: its KL, and sampling from it.

The KL is written as a sum of terms that are never negative, each accurate where it vanishes (only `loss=sigma` has
the book's form, on purpose):

    KL(N(μ, σ²) ‖ N(0, 1)) = −½[1 + log σ² − σ² − μ²] = ½μ² + ½(σ − 1)² + (σ − 1 − log σ)

so a σ near 1 costs no digits in any number format, and no clipping is needed to keep the KL above zero.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Posterior(NamedTuple):
    """q(z|x) = N(μ, σ²) with independent latents.

    `kl` is KL(q ‖ N(0, 1)) of each latent in nats; `clamped` marks the latents whose raw value was cut off. Under
    `loss=sigma` the deviation is |sigma|: the network's output may be negative, and z has the same distribution.
    """

    mu: Float[Array, "*batch latent"]
    sigma: Float[Array, "*batch latent"]
    kl: Float[Array, "*batch latent"]
    clamped: Bool[Array, "*batch latent"]


def sample(posterior: Posterior, eps: Float[Array, "*batch latent"]) -> Float[Array, "*batch latent"]:
    """z = μ + σ ⊙ ε with ε ~ N(0, I): the reparameterization (Kingma & Welling 2014, § 2.4)."""
    return posterior.mu + posterior.sigma * eps


def from_log_sigma(
    mu: Float[Array, "*batch latent"],
    log_sigma: Float[Array, "*batch latent"],
    clamped: Bool[Array, "*batch latent"] | None = None,
) -> Posterior:
    """The posterior with deviation e^log_sigma; nothing is clamped unless said."""
    kl = kl_to_prior(mu, jnp.expm1(log_sigma), log_sigma)
    return Posterior(mu, jnp.exp(log_sigma), kl, none_clamped(mu) if clamped is None else clamped)


def kl_to_prior(
    mu: Float[Array, "*batch latent"],
    sigma_minus_1: Float[Array, "*batch latent"],
    log_sigma: Float[Array, "*batch latent"],
) -> Float[Array, "*batch latent"]:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½μ² + ½(σ − 1)² + (σ − 1 − log σ) per latent, in nats.

    Takes σ − 1 and log σ, and not σ, because each variant knows both to full accuracy where σ alone has lost it:
    σ − 1 near σ = 1, log σ where σ underflows.
    """
    # Left to right, (½·d)·d: the square itself would overflow before the KL does.
    return 0.5 * mu * mu + 0.5 * sigma_minus_1 * sigma_minus_1 + expm1_minus(log_sigma)


@jax.custom_jvp
def expm1_minus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """e^x − 1 − x, non-negative and with full relative accuracy at every x; its derivative is expm1(x)."""
    # Where |x| < ½ the difference would cancel: x²/2·(1 + x/3·(1 + x/4·(1 + …))), to 3e-9 relative.
    series = jnp.ones_like(x)
    for n in range(10, 2, -1):
        series = 1.0 + x * (1.0 / n) * series
    return jnp.where(jnp.abs(x) < 0.5, 0.5 * x * x * series, jnp.expm1(x) - x)


expm1_minus.defjvps(lambda tangent, _, x: tangent * jnp.expm1(x))


def none_clamped(mu: Float[Array, "*batch latent"]) -> Bool[Array, "*batch latent"]:
    """The `clamped` of a variant that never cuts off."""
    return jnp.zeros(mu.shape, dtype=bool)
