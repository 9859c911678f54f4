"""What a code says of its example: active units, I_q(x; z), and how far the aggregate posterior is from the prior.

q(z|xᵢ) = N(μᵢ, diag σᵢ²) for i = 1 … N and p(z) = N(0, I). Everything is NumPy in float64, N² pairs in chunks: squared
distances by direct differences, since the product form (z²·σ⁻² − 2z·μσ⁻² + …) loses all its digits where σ is small
beside μ, and took no less time with chunks that a cache holds. N = 10 000 takes 3 s of one core at K = 10, 15 s at 50.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from vaex.errors import DataError
from vaex.judging.estimate import Estimate, check_finite, mean

CHUNK = 1 << 19
"""Pairs of a sample and a posterior held at once: two arrays of 4 MB, which a core's cache nearly holds."""

type_of_codes = Float[np.ndarray, "N K"]


class ActiveUnits(NamedTuple):
    """Var_x E[z|x] of each latent with its standard error, in the squared unit of z, and which exceed the threshold."""

    variance: Float64[np.ndarray, " K"]
    error: Float64[np.ndarray, " K"]
    active: Bool[np.ndarray, " K"]


class Information(NamedTuple):
    """The average KL taken apart, in nats: mutual + marginal_kl = kl + gap, exactly.

    mutual: I_q(x; z), at most `log_n`. marginal_kl: KL(q(z) ‖ p(z)). kl: the mean of KL(q(z|xᵢ) ‖ p(z)) in closed
    form. gap: what sampling z adds to it; its expectation is 0. log_n: log N, the most that N examples can show.
    """

    mutual: Estimate
    marginal_kl: Estimate
    kl: Estimate
    gap: Estimate
    log_n: float

    @property
    def saturation(self) -> float:
        """Mutual information as a share of log N: near 1 it says "at least this much", and more examples say more."""
        return self.mutual.value / self.log_n


def active_units(mu: Float[np.ndarray, "N K"], threshold: float) -> ActiveUnits:
    """A_u = Var_x(E[z_u|x]); u is active when A_u > threshold (Burda et al. 2016, the activity statistic; there 0.01).

    Variance with N − 1; its error is √((m₄ − A²) / N) with the fourth central moment m₄.
    """
    _check(mu)
    centred = mu.astype(np.float64) - mu.mean(axis=0, dtype=np.float64)
    variance = np.sum(centred**2, axis=0) / (len(mu) - 1)
    fourth = np.mean(centred**4, axis=0)
    error = np.sqrt(np.maximum(fourth - np.mean(centred**2, axis=0) ** 2, 0) / len(mu))
    return ActiveUnits(variance, error, variance > threshold)


def kl_per_latent(mu: Float[np.ndarray, "N K"], sigma: Float[np.ndarray, "N K"]) -> Float64[np.ndarray, "N K"]:
    """KL(q(z_u|xᵢ) ‖ p(z_u)) in nats, in closed form: ½(μ² + σ² − 1) − log|σ|."""
    mu, sigma = mu.astype(np.float64), np.abs(sigma.astype(np.float64))
    return 0.5 * (mu**2 + (sigma**2 - 1)) - np.log(sigma)


def information(mu: Float[np.ndarray, "N K"], sigma: Float[np.ndarray, "N K"], seed: int) -> Information:
    """The mean KL split into I_q(x; z) + KL(q(z) ‖ p(z)) (Hoffman & Johnson 2016), one zᵢ ~ q(z|xᵢ) each.

    q(z) = 1/N Σⱼ q(z|xⱼ), log q(z) = logsumexpⱼ log N(z; μⱼ, σⱼ) − log N
    I = mean log q(zᵢ|xᵢ) − log q(zᵢ),  KL(q(z) ‖ p(z)) = mean log q(zᵢ) − log p(zᵢ)

    **Bias**: none as information about which of these N examples it was, which is what Hoffman & Johnson define. As
    an estimate for the population behind them I is too low on average, and never above log N, since q(zᵢ) holds
    1/N of q(zᵢ|xᵢ) (InfoNCE with the true conditional: Poole et al. 2019); KL(q(z) ‖ p(z)) is too high by as
    much. Errors are for the population, as of independent terms: that example j is a component of q(z) as well adds
    nothing to first order, since ∫ q(z) · q(z|xⱼ)/q(z) dz = 1 whatever xⱼ is.
    """
    _check(mu, sigma)
    mu, sigma = mu.astype(np.float64), np.abs(sigma.astype(np.float64))  # `loss=sigma` may give −σ: the same q(z|x)
    # Latents first: the noise of a latent does not depend on how many follow.
    eps = np.random.RandomState(seed).standard_normal(mu.shape[::-1]).T
    z = mu + sigma * eps
    own = _log_normal(eps) - np.log(sigma).sum(axis=1)
    log_q, log_p = _log_aggregate(z, mu, sigma, own), _log_normal(z)
    kl = kl_per_latent(mu, sigma).sum(axis=1)
    return Information(mean(own - log_q), mean(log_q - log_p), mean(kl), mean(own - log_p - kl), math.log(len(mu)))


def _log_aggregate(
    z: type_of_codes, mu: type_of_codes, sigma: type_of_codes, own: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, " N"]:
    """log q(zᵢ) of each sample, in nats; `own` is log q(zᵢ|xᵢ)."""
    n, size = z.shape
    centres, precisions = mu.T.copy(), 1 / sigma.T  # rows side by side in memory
    constants = -0.5 * size * math.log(2 * math.pi) - np.log(sigma).sum(axis=1)
    log_q = np.empty(n)
    for rows in _chunks(n):
        exponents = np.zeros((rows.stop - rows.start, n))
        scaled = np.empty_like(exponents)
        for latent in range(size):
            np.subtract(z[rows, latent, None], centres[latent], out=scaled)
            scaled *= precisions[latent]
            exponents += np.square(scaled, out=scaled)
        exponents *= -0.5
        exponents += constants
        # Of the example's own component all digits are known, and they are lost in z where σ is tiny.
        exponents[np.arange(len(exponents)), np.arange(n)[rows]] = own[rows]
        top = exponents.max(axis=1, keepdims=True)
        exponents -= top
        log_q[rows] = np.log(np.exp(exponents, out=exponents).sum(axis=1)) + top[:, 0] - math.log(n)
    return log_q


def _log_normal(eps: type_of_codes) -> Float64[np.ndarray, " N"]:
    """log N(eps; 0, I) of each row, in nats."""
    return -0.5 * np.sum(eps**2, axis=1) - 0.5 * eps.shape[1] * math.log(2 * math.pi)


def _check(mu: type_of_codes, sigma: type_of_codes | None = None) -> None:
    check_finite(mu, "posterior means")
    if len(mu) < 2:
        raise DataError(f"posterior means: {len(mu)} example, but what a code says of it needs at least two")
    if sigma is None:
        return
    check_finite(sigma, "posterior deviations")
    if not sigma.all():
        raise DataError(f"posterior deviations: {int(np.sum(sigma == 0))} are 0, where information is infinite")


def _chunks(n: int) -> Iterator[slice]:
    rows = max(1, CHUNK // n)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
