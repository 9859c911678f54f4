"""Active units and the parts of the KL, where they are known: Gaussian channels, loops, collapsed and distant codes."""

import math

import numpy as np
import pytest
from scipy import special, stats

from vaex.errors import DataError
from vaex.judging import information
from vaex.judging.information import Information, active_units

RNG = np.random.default_rng(0)


def channel(n: int, a: float, sigma: float, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """x ~ N(0, I) and q(z|x) = N(a·x, σ²): the aggregate is N(0, a² + σ²)."""
    return a * RNG.normal(size=(n, size)), np.full((n, size), sigma)


def measured(*code: np.ndarray, seed: int = 0) -> Information:
    return information.information(*code, seed)


def true_parts(a: float, sigma: float) -> tuple[float, float, float]:
    """Mutual information, KL(q(z) ‖ p(z)), and their sum, of a channel with one latent."""
    variance = a**2 + sigma**2
    mutual = 0.5 * math.log(variance / sigma**2)
    marginal = 0.5 * (variance - 1 - math.log(variance))
    return mutual, marginal, mutual + marginal


@pytest.mark.parametrize(("a", "sigma"), [(1.0, 0.5), (0.8, 0.6), (2.0, 0.3), (0.3, 1.2)])
def test_gaussian_channel(a: float, sigma: float):
    """At N = 2000 in one dimension the bias is far below the error."""
    found = measured(*channel(2000, a, sigma))
    for estimate, truth in zip(found[:3], true_parts(a, sigma), strict=True):
        assert abs(estimate.value - truth) < 4 * estimate.error
        assert estimate.error < 0.1


def test_parts_sum_up_to_the_kl():
    found = measured(*channel(500, 1.0, 0.2, size=4))
    assert found.mutual.value + found.marginal_kl.value == pytest.approx(found.kl.value + found.gap.value, rel=1e-12)
    assert abs(found.gap.value) < 4 * found.gap.error


def test_errors_are_the_spread_of_repeats():
    """Of other examples, which are other components of q(z) too."""
    found = [measured(*channel(200, 1.0, 0.5), seed=seed) for seed in range(300)]
    for part in ("mutual", "marginal_kl", "kl", "gap"):
        estimates = [getattr(each, part) for each in found]
        spread = np.std([estimate.value for estimate in estimates])
        assert np.sqrt(np.mean([estimate.error**2 for estimate in estimates])) == pytest.approx(spread, rel=0.2), part


@pytest.mark.parametrize("chunk", [information.CHUNK, 100])
def test_loop_over_pairs(monkeypatch: pytest.MonkeyPatch, chunk: int):
    monkeypatch.setattr(information, "CHUNK", chunk)
    mu, sigma = RNG.normal(size=(37, 3)), np.exp(RNG.normal(size=(37, 3)))
    found = measured(mu, -sigma, seed=5)  # the sign of σ says nothing
    z = mu + sigma * np.random.RandomState(5).standard_normal((3, 37)).T
    log_q = np.array([[stats.norm.logpdf(z[i], mu[j], sigma[j]).sum() for j in range(37)] for i in range(37)])
    aggregate = special.logsumexp(log_q, axis=1) - math.log(37)
    assert found.mutual.value == pytest.approx(np.mean(np.diag(log_q) - aggregate), rel=1e-10)
    assert found.marginal_kl.value == pytest.approx(np.mean(aggregate - stats.norm.logpdf(z).sum(axis=1)), rel=1e-10)
    kl = 0.5 * np.mean(np.sum(mu**2 + sigma**2 - 1 - np.log(sigma**2), axis=1))
    assert found.kl.value == pytest.approx(kl, rel=1e-10)


def test_collapsed_posterior_says_nothing():
    found = measured(np.zeros((300, 5)), np.ones((300, 5)))
    assert found.mutual == pytest.approx((0, 0), abs=1e-12)
    assert found.marginal_kl.value == pytest.approx(0, abs=1e-12)
    assert found.kl == (0, 0)


@pytest.mark.parametrize("sigma", [1e-2, 1e-6, 1e-12])
def test_distant_posteriors_say_which_example_it_was(sigma: float):
    """log N, and no more, also where σ vanishes beside μ: the product form of the distance fails at 1e-6."""
    mu = np.arange(300.0)[:, None] * np.ones(2)
    found = measured(mu, np.full((300, 2), sigma))
    assert found.mutual.value == pytest.approx(math.log(300), rel=1e-12)
    assert found.mutual.error == pytest.approx(0, abs=1e-9)
    assert found.saturation == pytest.approx(1)
    assert found.log_n == math.log(300)


def test_bias_is_downwards_and_never_above_log_n():
    """Four latents of a fine channel hold 9.2 nats, and 50 examples can show 3.9 of them."""
    truth = 4 * true_parts(1.0, 0.1)[0]
    few, more = (measured(*channel(n, 1.0, 0.1, size=4)) for n in (50, 2000))
    assert few.mutual.value <= few.log_n
    assert few.mutual.value < more.mutual.value < truth
    assert few.kl.value == pytest.approx(few.mutual.value + few.marginal_kl.value - few.gap.value)


def test_same_seed_same_bits_and_latents_keep_their_noise():
    code = channel(50, 1.0, 0.5, size=3)
    assert measured(*code) == measured(*code)
    assert measured(*code, seed=1) != measured(*code)
    dead = (np.pad(code[0], ((0, 0), (0, 2))), np.pad(code[1], ((0, 0), (0, 2)), constant_values=1))
    assert measured(*dead).mutual == pytest.approx(measured(*code).mutual, rel=1e-9)


def test_float32_codes():
    code = channel(200, 1.0, 0.5, size=3)
    single = measured(*(part.astype(np.float32) for part in code))
    assert single.mutual.value == pytest.approx(measured(*code).mutual.value, abs=1e-5)


def test_active_units():
    mu = RNG.normal(size=(5000, 4)) * np.sqrt([4.0, 0.011, 0.009, 0.0]) + [0, 10, -1000, 3]
    found = active_units(mu, 0.01)
    np.testing.assert_allclose(found.variance, np.var(mu, axis=0, ddof=1))
    np.testing.assert_array_equal(found.active, [True, True, False, False])
    normal = found.variance * np.sqrt(2 / 5000)  # the error of a variance of normal values
    np.testing.assert_allclose(found.error, normal, rtol=0.1, atol=1e-12)


def test_what_cannot_be_measured_is_refused():
    mu, sigma = channel(10, 1.0, 0.5)
    with pytest.raises(DataError, match="posterior means: 1 of 10 values are not finite"):
        active_units(np.where(mu == mu[3], np.inf, mu), 0.01)
    with pytest.raises(DataError, match="posterior deviations: 10 are 0, where information is infinite"):
        measured(mu, 0 * sigma)
    with pytest.raises(DataError, match="posterior means: 1 example, but"):
        measured(mu[:1], sigma[:1])
