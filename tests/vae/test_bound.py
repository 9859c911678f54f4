"""The importance-weighted bound: a float64 reference, the closed form of a linear Gaussian model, honest intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from tests.support.configurations import make
from vaex.config import implementation
from vaex.device.compiled import init
from vaex.judging import estimate
from vaex.vae import bound, objective
from vaex.vae.bound import Bounds

K = 3
LINEAR = ("model=linear", f"model.latent_dim={K}", "likelihood=gaussian", "likelihood.sigma=0.5")
TINY = ("model.hidden=[8]", "model.latent_dim=4")
SHAPE = (2, 3, 1)
KEY = jax.random.key(5)

bounds = jax.jit(bound.bounds, static_argnums=(0, 5))


def model(*overrides: str) -> tuple[objective.Program, objective.Hyper, dict]:
    config = make("dataset=digits", *overrides)
    program, hyper = objective.program(config, SHAPE), objective.hyper(config)
    return program, hyper, init(program, hyper.seed).parameters


def reference(program, hyper, parameters, x, key, samples) -> Bounds:
    """By all weights at once, in float64 but for the network's outputs."""
    likelihood = implementation(program.likelihood)
    q = objective.encode(program, hyper, parameters, x)
    mu, sigma = np.float64(q.mu), np.float64(q.sigma)
    log_p, log_w = [], []
    for index in range(samples):
        eps = objective.noise(jax.random.fold_in(jax.random.fold_in(key, 0), index), *mu.shape)
        outputs = objective.decode(program, parameters, q.mu + q.sigma * eps)
        log_p.append(np.float64(likelihood.log_prob(program.likelihood, parameters["likelihood"], outputs, x)))
        eps = np.float64(eps)
        z = mu + sigma * eps
        log_w.append(log_p[-1] + np.sum(0.5 * (eps**2 - z**2) + np.log(np.abs(sigma)), axis=1))
    log_w = np.array(log_w)
    marks = bound.marks(samples)
    curve = np.array([logsumexp(log_w[:k], axis=0) - np.log(k) for k in marks])
    effective = np.exp(2 * logsumexp(log_w, axis=0) - logsumexp(2 * log_w, axis=0))
    return Bounds(-np.mean(log_p, axis=0), np.sum(np.float64(q.kl), axis=1), curve, effective)


@pytest.mark.parametrize(
    "overrides", [TINY, (*TINY, "loss=sigma"), (*TINY, "likelihood=continuous_bernoulli"), LINEAR], ids=" ".join
)
def test_bounds_are_those_of_all_weights_at_once_in_float64(overrides):
    program, hyper, parameters = model(*overrides)
    x = jnp.asarray(np.random.default_rng(0).random((7, *SHAPE)), "f4")
    found = bounds(program, hyper, parameters, x, KEY, bound.marks(30))
    for name, expected in reference(program, hyper, parameters, x, KEY, 30)._asdict().items():
        np.testing.assert_allclose(getattr(found, name), expected, rtol=2e-5, atol=2e-6, err_msg=name)


def test_marks_are_powers_of_ten_and_the_last_draw():
    assert [bound.marks(n) for n in (1, 2, 10, 11, 5000)] == [
        (1,),
        (1, 2),
        (1, 10),
        (1, 10, 11),
        (1, 10, 100, 1000, 5000),
    ]


def test_sums_keep_what_a_plain_float32_sum_loses():
    """After one weight of 1, each of 100 000 of 4e-8 would vanish in a plain sum; in order they add 0.004."""
    log_w = np.full(100_001, np.log(4e-8), np.float32)
    log_w[0] = 0

    def add(sums, term):
        return bound._add(sums, term[None], term[None], jnp.int32(0), (1,)), None

    sums = jax.jit(lambda terms: jax.lax.scan(add, bound._nothing(1, 1), terms)[0])(log_w)
    assert float(sums.weights.value[0]) == pytest.approx(1.004, abs=1e-5)
    assert float(sums.weights.total[0]) == 1


def test_weights_of_nothing_and_a_new_largest_one():
    """−∞ weighs nothing, also as the first one; then each weight is far above those before."""
    sums = bound._nothing(1, 3)
    for index, value in enumerate([-np.inf, 0.0, 500.0]):
        term = jnp.full(1, value, "f4")
        sums = bound._add(sums, term, term, jnp.int32(index), (1, 2, 3))
    np.testing.assert_allclose(sums.curve[:, 0], [-np.inf, -np.log(2), 500 - np.log(3)], rtol=1e-6)
    assert float(sums.weights.value[0] ** 2 / sums.squares.value[0]) == 1


def known(widening: float) -> tuple[objective.Program, objective.Hyper, dict, multivariate_normal]:
    """A linear model whose q(z|x) is the posterior but `widening` times as wide, and its p(x)."""
    program, hyper, parameters = model(*LINEAR)
    random = np.random.default_rng(1)
    pixels, sigma = int(np.prod(SHAPE)), 0.5
    w, b = np.linalg.qr(random.normal(size=(pixels, K)))[0] * [1.5, 1.0, 0.5], random.normal(size=pixels)
    m = w.T @ w + sigma**2 * np.eye(K)  # diagonal, so q can be the posterior itself
    to_latents = w / np.diag(m)
    chosen = {
        "mu": {"kernel": to_latents, "bias": -b @ to_latents},
        "raw": {"kernel": np.zeros_like(w), "bias": np.log(sigma**2 / np.diag(m)) + 2 * np.log(widening)},
        "outputs": {"kernel": w.T, "bias": b},
    }
    linear = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), chosen, parameters["model"])
    return program, hyper, parameters | {"model": linear}, multivariate_normal(b, w @ w.T + sigma**2 * np.eye(pixels))


def test_the_curve_rises_from_the_elbo_to_the_evidence_of_a_linear_gaussian_model():
    program, hyper, parameters, evidence = known(widening=1.6)
    x = evidence.rvs(400, random_state=2)
    images = jnp.asarray(x.reshape(-1, *SHAPE), "f4")
    found = bounds(program, hyper, parameters, images, KEY, (1, 10, 100, 1000, 5000))
    curve = np.mean(np.float64(found.curve), axis=1)
    log_p = evidence.logpdf(x)
    elbo = -np.mean(np.float64(found.reconstruction) + np.float64(found.kl))
    assert elbo + 0.1 < log_p.mean()
    assert elbo == pytest.approx(curve[0], abs=0.2)
    assert np.all(np.diff(curve) > 0)
    assert curve[-1] <= log_p.mean() + 0.003
    assert curve[-1] == pytest.approx(log_p.mean(), abs=0.005)
    assert np.all((found.effective > 200) & (found.effective < 5000))


def test_where_q_is_the_posterior_every_weight_is_the_evidence():
    program, hyper, parameters, evidence = known(widening=1.0)
    x = evidence.rvs(50, random_state=2)
    found = bounds(program, hyper, parameters, jnp.asarray(x.reshape(-1, *SHAPE), "f4"), KEY, (1, 20))
    np.testing.assert_allclose(found.curve, [evidence.logpdf(x)] * 2, atol=2e-5)
    np.testing.assert_allclose(found.effective, 20, rtol=1e-5)


def test_intervals_hold_the_truth_of_a_known_model_in_95_of_100_data_sets():
    """200 data sets of 300: elbo and nll ± 1.96 standard errors, with the expectation of each over all data."""
    program, hyper, parameters, evidence = known(widening=1.3)
    sets, n = 200, 300
    x = evidence.rvs(sets * n, random_state=3)
    found = bounds(program, hyper, parameters, jnp.asarray(x.reshape(-1, *SHAPE), "f4"), KEY, (1, 100))
    gap = K * (np.log(1 / 1.3) + (1.3**2 - 1) / 2)  # KL(q ‖ p(z|x)), the same for every x
    evidence_mean = -evidence.entropy()
    elbo = -(np.float64(found.reconstruction) + np.float64(found.kl))
    for values, truth in ((elbo, evidence_mean - gap), (np.float64(found.curve[-1]), evidence_mean)):
        estimates = [estimate.mean(rows) for rows in values.reshape(sets, n)]
        held = np.mean([abs(each.value - truth) <= 1.96 * each.error for each in estimates])
        assert 0.92 <= held <= 0.98
