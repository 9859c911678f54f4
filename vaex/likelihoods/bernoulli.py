"""likelihood=bernoulli: each pixel is a coin; the decoder outputs its logit l = log(p / (1 − p)).

    log p(x|z) = Σ_pixels x·l − log(1 + e^l)            (Kingma & Welling 2014, Eq. 11)

in nats. Never through p: log(1 − p) is −inf in float32 from l = 17. For x strictly between 0 and 1 (`binarize:
none`, the book's choice) this is the cross-entropy, which is no log density: continuous_bernoulli has one.

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
    """`binarize`: model x as it is, x ≥ ½, or at every visit a fresh draw that is 1 with probability x."""

    name: Literal["bernoulli"]
    binarize: Literal["none", "threshold", "stochastic"]


def check(config: Config, images: np.ndarray, name: str) -> None:
    """Raise `DataError` with the fix unless the raw values are in [0, 1]."""
    check_unit_interval(images, name, config.name)


def treats_as_grey(config: Config, low: float, high: float) -> bool:
    """Whether data of two values only are modelled as shades in between."""
    return config.binarize != "threshold" and (low, high) != (0, 1)


def initial_parameters(config: Config) -> dict[str, Array]:
    """Nothing is learned besides the decoder."""
    return {}


def observe(config: Config, key: Key[Array, ""], x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """What is modelled: x, or its binarization (Salakhutdinov & Murray 2008 for the stochastic one)."""
    if config.binarize == "threshold":
        return (x >= 0.5).astype(x.dtype)
    if config.binarize == "stochastic":
        return jax.random.bernoulli(key, x).astype(x.dtype)
    return x


def log_prob(
    config: Config,
    parameters: dict[str, Array],
    outputs: Float[Array, "*batch H W C"],
    x: Float[Array, "*batch H W C"],
) -> Float[Array, "*batch"]:
    """Σ x·l − log(1 + e^l) per example, nats; finite for every finite logit, gradient x − 1/(1 + e^−l)."""
    return sum_pixels(log_mass(outputs, x))


def mean(
    config: Config, parameters: dict[str, Array], outputs: Float[Array, "*batch H W C"]
) -> Float[Array, "*batch H W C"]:
    """p = 1/(1 + e^−l)."""
    return jax.nn.sigmoid(outputs)


@jax.custom_jvp
def log_mass(logits: Float[Array, "*shape"], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·l − log(1 + e^l) = (x·l − max(l, 0)) − log1p(e^−|l|): both parts keep their digits where p is near x."""
    return (x * logits - jnp.maximum(logits, 0)) - log1p_of_fraction(jnp.exp(-jnp.abs(logits)))


# By hand: one exp instead of what differentiating max, | | and log1p leaves to compute.
log_mass.defjvps(
    lambda tangent, _, logits, x: tangent * (x - jax.nn.sigmoid(logits)),
    lambda tangent, _, logits, x: tangent * logits,
)


def log1p_of_fraction(s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + s) for 0 ≤ s ≤ 1 to 3 float32 roundings: 2·artanh(u) with u = s/(2 + s) ≤ ⅓, as 2u·(1 + u²/3 + u⁴/5 + …).

    `jnp.log1p` must do for every s, which costs the book's step 2 to 4 % more.
    """
    u = s / (2 + s)
    square = u * u
    series = jnp.full_like(u, 1 / 17)
    for n in range(15, 1, -2):
        series = series * square + 1 / n
    return 2 * u + 2 * u * square * series
