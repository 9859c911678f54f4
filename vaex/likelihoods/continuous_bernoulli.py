"""likelihood=continuous_bernoulli: a proper density on [0, 1] in the Bernoulli's shape; the decoder outputs logits l.

    p(x|λ) = C(λ)·λ^x·(1 − λ)^(1 − x),   λ = 1/(1 + e^−l),   C(λ) = 2·artanh(1 − 2λ)/(1 − 2λ),  C(½) = 2

Source: Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in variational
autoencoders", Eqs. 6–8. In the logit C = l·coth(l/2), and the density is the exponential family

    log p(x|z) = Σ_pixels x·l − A(l),    A(l) = log((e^l − 1)/l),    E[x] = A'(l) = 1/(1 − e^−l) − 1/l

in nats. A density may exceed 1: log p(x|z) may be positive, and is not comparable with bernoulli's.

Contract: values in [0, 1].
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.values import check_unit_interval
from vaex.vae.pixels import sum_pixels


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""

    name: Literal["continuous_bernoulli"]


def check(config: Config, images: np.ndarray, name: str) -> None:
    """Raise `DataError` with the fix unless the values are in [0, 1]."""
    check_unit_interval(images, name, config.name)


def treats_as_grey(config: Config, low: float, high: float) -> bool:
    """Whether data of two values only are modelled as shades in between: those of a density always are."""
    return True


def initial_parameters(config: Config) -> dict[str, Array]:
    """Nothing is learned besides the decoder."""
    return {}


def observe(config: Config, key: Key[Array, ""], x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """The image itself is modelled."""
    return x


def log_prob(
    config: Config,
    parameters: dict[str, Array],
    outputs: Float[Array, "*batch H W C"],
    x: Float[Array, "*batch H W C"],
) -> Float[Array, "*batch"]:
    """Σ x·l − A(l) per example, nats; finite for every finite logit, gradient x − E[x]."""
    return sum_pixels(log_density(outputs, x))


def mean(
    config: Config, parameters: dict[str, Array], outputs: Float[Array, "*batch H W C"]
) -> Float[Array, "*batch H W C"]:
    """E[x] = 1/(1 − e^−l) − 1/l, which is not λ: λ = 0.9 has mean 0.67."""
    return distribution_mean(outputs)


@jax.custom_jvp
def log_density(logits: Float[Array, "*shape"], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·l − A(l), where A(l) = log((e^l − 1)/l) = max(l, 0) − log(|l|/(1 − e^−|l|))."""
    near, small, far = _ranges(logits)
    # Around 0: l/2 + l²/24 − l⁴/2880 + …, from log(sinh(l/2)/(l/2)); the next term is 2e-9 at most.
    even = _horner(small * small, 1 / 24, -1 / 2880, 1 / 181_440, -1 / 9_676_800)
    series = (x - 0.5) * small - small * small * even
    # x·l − max(l, 0) first: the two are equal at x = 1.
    return jnp.where(near, series, (x * logits - jnp.maximum(logits, 0)) + jnp.log(far / -jnp.expm1(-far)))


log_density.defjvps(
    lambda tangent, _, logits, x: tangent * (x - distribution_mean(logits)),
    lambda tangent, _, logits, x: tangent * logits,
)


def distribution_mean(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A'(l): ½ at 0, 1 − 1/l for l → ∞, −1/l for l → −∞."""
    near, small, far = _ranges(logits)
    odd = _horner(small * small, 1 / 12, -1 / 720, 1 / 30_240, -1 / 1_209_600, 1 / 47_900_160)
    series = 0.5 + small * odd
    # Written for each sign, not as 1 − mean(|l|): small means keep their digits.
    inverse = 1.0 / far
    positive = -1.0 / jnp.expm1(-far) - inverse
    negative = inverse - jnp.exp(-far) / -jnp.expm1(-far)
    return jnp.where(near, series, jnp.where(logits > 0, positive, negative))


def _ranges(logits: Array) -> tuple[Array, Array, Array]:
    """Whether |l| < 1; l where it is (0 elsewhere); |l| where it is not (1 elsewhere): no branch sees 0/0 or ∞."""
    near = jnp.abs(logits) < 1.0
    return near, jnp.where(near, logits, 0.0), jnp.where(near, 1.0, jnp.abs(logits))


def _horner(x: Array, *coefficients: float) -> Array:
    """c₀ + c₁·x + c₂·x² + …"""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
