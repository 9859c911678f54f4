"""The importance-weighted bounds of Burda et al. 2016 on log p(x), beside the terms of the ELBO, example by example.

    log w_s = log p(x|z_s) + log p(z_s) − log q(z_s|x) = log p(x|z_s) + Σ_i ½(ε_si² − z_si²) + log|σ_i|
    L_k = E[log 1/k Σ_{s ≤ k} w_s],   ELBO = L_1 ≤ L_2 ≤ … ≤ log p(x)

One encoding, then a loop over the draws: memory does not grow with their number. Sums over draws are compensated
(Neumaier 1974): 5 000 terms in float32 would lose the third digit of what the last thousand add.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, Num, PyTree

from vaex.config import implementation
from vaex.vae.objective import MATMUL, Hyper, Program, as_float, decode, encode, noise
from vaex.vae.posterior import sample


class Bounds(NamedTuple):
    """Of each example, nats: −E_q log p(x|z) and the true KL; L_k for each mark k, by the same draws.

    `effective` is the effective number of draws, (Σw)²/Σw² (Kong 1992): far below their number, L_k is still rising.
    """

    reconstruction: Float[Array, " batch"]
    kl: Float[Array, " batch"]
    curve: Float[Array, "marks batch"]
    effective: Float[Array, " batch"]


class _Sum(NamedTuple):
    """A sum and what rounding has kept out of it."""

    total: Float[Array, " batch"]
    lost: Float[Array, " batch"]

    @property
    def value(self) -> Float[Array, " batch"]:
        return self.total + self.lost

    def plus(self, term: Float[Array, " batch"]) -> "_Sum":
        total = self.total + term
        larger = jnp.abs(self.total) >= jnp.abs(term)
        lost = jnp.where(larger, (self.total - total) + term, (term - total) + self.total)
        return _Sum(total, self.lost + lost)

    def times(self, factor: Float[Array, " batch"]) -> "_Sum":
        return _Sum(self.total * factor, self.lost * factor)


class _Weights(NamedTuple):
    """Sums over the draws so far; those of weights are relative to the largest one, e^top."""

    log_p: _Sum
    top: Float[Array, " batch"]
    weights: _Sum
    squares: _Sum
    curve: Float[Array, "marks batch"]


def bounds(
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    images: Num[Array, "batch H W C"],
    key: Key[Array, ""],
    marks: tuple[int, ...],
) -> Bounds:
    """The bounds by as many draws as the last mark says; `marks` rise. What the likelihood draws, it draws once."""
    likelihood = implementation(program.likelihood)
    x = likelihood.observe(program.likelihood, jax.random.fold_in(key, 1), as_float(images))
    with jax.default_matmul_precision(MATMUL[program.precision.matmul]):
        q = encode(program, hyper, parameters, x)
        log_sigma = jnp.sum(jnp.log(jnp.abs(q.sigma.astype(jnp.float32))), axis=1)
        draws = jax.random.fold_in(key, 0)

        def draw(index: Array, sums: _Weights) -> _Weights:
            eps = noise(jax.random.fold_in(draws, index), *q.mu.shape).astype(q.mu.dtype)
            z = sample(q, eps)
            outputs = decode(program, parameters, z)
            log_p = likelihood.log_prob(program.likelihood, parameters["likelihood"], outputs, x)
            eps, z = eps.astype(jnp.float32), z.astype(jnp.float32)
            # (ε − z)(ε + z): the difference of the squares would lose the digits of a large μ.
            return _add(sums, log_p, log_p + log_sigma + 0.5 * jnp.sum((eps - z) * (eps + z), axis=1), index, marks)

        sums = lax.fori_loop(0, marks[-1], draw, _nothing(len(x), len(marks)))
    kl = jnp.sum(q.kl.astype(jnp.float32), axis=1)
    effective = sums.weights.value * (sums.weights.value / sums.squares.value)
    return Bounds(-sums.log_p.value / marks[-1], kl, sums.curve, effective)


def marks(samples: int) -> tuple[int, ...]:
    """1, 10, 100, … and `samples` itself: the numbers of draws at which the bound is noted."""
    powers = [10**n for n in range(len(str(samples)))]
    return (*(power for power in powers if power < samples), samples)


def _nothing(batch: int, marks: int) -> _Weights:
    zero = jnp.zeros(batch, jnp.float32)
    none = _Sum(zero, zero)
    return _Weights(none, jnp.full(batch, -jnp.inf), none, none, jnp.zeros((marks, batch), jnp.float32))


def _add(
    sums: _Weights,
    log_p: Float[Array, " batch"],
    log_w: Float[Array, " batch"],
    index: Array,
    marks: tuple[int, ...],
) -> _Weights:
    """Take in one draw of each example; where it is the k-th of a mark, note L_k."""
    top = jnp.maximum(sums.top, log_w)
    # Where nothing but weights of 0 has come there is no scale yet, and −∞ − (−∞) is no number.
    scale = jnp.where(sums.top > -jnp.inf, jnp.exp(sums.top - top), 0.0)
    weight = jnp.where(log_w > -jnp.inf, jnp.exp(log_w - top), 0.0)
    weights = sums.weights.times(scale).plus(weight)
    squares = sums.squares.times(scale * scale).plus(weight * weight)
    count = index + 1
    bound = top + jnp.log(weights.value) - jnp.log(count.astype(jnp.float32))
    here = (jnp.asarray(marks) == count)[:, None]
    curve = jnp.where(here, bound[None], sums.curve)
    return _Weights(sums.log_p.plus(log_p), top, weights, squares, curve)
