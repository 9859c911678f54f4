"""Distances and overlaps of samples: closed forms, loops over pairs, what equal and collapsed sets give, and errors."""

import math

import numpy as np
import pytest
from scipy import linalg

from vaex.errors import DataError
from vaex.judging import samples
from vaex.judging.estimate import Estimate

RNG = np.random.default_rng(0)


def gaussian(n: int, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A sample whose mean and covariance are exactly these."""
    white = RNG.normal(size=(n, len(mean)))
    white -= white.mean(axis=0)
    white = linalg.solve_triangular(linalg.cholesky(np.cov(white.T), lower=True), white.T, lower=True)
    return mean + (linalg.sqrtm(covariance) @ white).real.T


def random_covariance(size: int) -> np.ndarray:
    root = RNG.normal(size=(size, 2 * size))
    return root @ root.T / (2 * size)


def by_trace(first: np.ndarray, second: np.ndarray) -> float:
    """Dowson & Landau's formula, by SciPy's matrix square root."""
    a, b = np.cov(first.T), np.cov(second.T)
    cross = np.trace(linalg.sqrtm(a @ b)).real
    return np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(a) + np.trace(b) - 2 * cross


def test_frechet_of_known_gaussians():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    first = gaussian(200, np.zeros(3), np.diag(a))
    second = gaussian(150, np.array([1.0, -2.0, 0.5]), np.diag(b))
    expected = 5.25 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)  # what commuting covariances leave of the formula
    assert samples.frechet(first, second).value == pytest.approx(expected, rel=1e-10)
    assert samples.frechet(second, first).value == pytest.approx(expected, rel=1e-10)


def test_frechet_is_the_trace_formula():
    first = gaussian(300, RNG.normal(size=6), random_covariance(6))
    second = gaussian(200, RNG.normal(size=6), random_covariance(6))
    assert samples.frechet(first, second).value == pytest.approx(by_trace(first, second), rel=1e-9)


def test_frechet_of_a_shifted_set_is_the_shift_squared_and_of_itself_nothing():
    first = RNG.normal(size=(100, 5))
    assert samples.frechet(first, first + 2).value == pytest.approx(20, rel=1e-9)
    assert 0 <= samples.frechet(first, first).value < 1e-24


@pytest.mark.parametrize("size", [3, 50])
def test_frechet_takes_singular_covariances(size: int):
    """Features that are constant, or more features than examples; a set that has collapsed onto one point."""
    first, second = RNG.normal(size=(30, size)), RNG.normal(size=(40, size))
    first[:, 0] = 3
    root = linalg.svdvals((first - first.mean(0)) @ (second - second.mean(0)).T).sum() / np.sqrt(29 * 39)
    traces = np.trace(np.cov(first.T)) + np.trace(np.cov(second.T))
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + traces - 2 * root
    assert samples.frechet(first, second).value == pytest.approx(expected, rel=1e-9)
    collapsed = samples.frechet(first, np.ones((25, size)))
    assert collapsed.value == pytest.approx(np.sum((first.mean(0) - 1) ** 2) + np.trace(np.cov(first.T)))


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (float(np.dot(x, y)) / len(x) + 1) ** 3


def test_kid_is_the_loop_over_pairs():
    x, y = RNG.normal(size=(23, 4)), RNG.normal(size=(31, 4)) + 0.5
    within = [
        sum(kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j) / (len(a) * (len(a) - 1))
        for a in (x, y)
    ]
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert samples.kid(x, y).value == pytest.approx(sum(within) - 2 * across, rel=1e-10)


def repeated(measure, shift: float, repeats: int) -> list[Estimate]:
    return [measure(RNG.normal(size=(40, 3)), RNG.normal(size=(60, 3)) + shift) for _ in range(repeats)]


def test_kid_of_equal_distributions_is_unbiased():
    found = repeated(samples.kid, 0.0, 100)
    values = np.array([estimate.value for estimate in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.min() < 0
    # In this case the jackknife's error is too large, never too small: √2 times where all is second order.
    assert 1 < np.sqrt(np.mean([estimate.error**2 for estimate in found])) / values.std() < 2


@pytest.mark.parametrize("measure", [samples.frechet, samples.kid])
def test_errors_are_the_spread_of_repeats(measure):
    found = repeated(measure, 1.5, 100)
    spread = np.std([estimate.value for estimate in found])
    assert np.sqrt(np.mean([estimate.error**2 for estimate in found])) == pytest.approx(spread, rel=0.25)


def support_by_loops(x: np.ndarray, y: np.ndarray, k: int) -> list[float]:
    def radius(a: np.ndarray, i: int) -> float:
        return sorted(math.dist(a[i], a[j]) for j in range(len(a)) if j != i)[k - 1]

    real, generated = [radius(x, i) for i in range(len(x))], [radius(y, j) for j in range(len(y))]
    in_real = np.array([[math.dist(a, b) <= r for b in y] for a, r in zip(x, real, strict=True)])
    in_generated = np.array([[math.dist(a, b) <= r for b, r in zip(y, generated, strict=True)] for a in x])
    return [in_real.any(0).mean(), in_generated.any(1).mean(), in_real.sum() / (k * len(y)), in_real.any(1).mean()]


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [samples.CHUNK, 100])
def test_support_is_the_loop_over_pairs(monkeypatch: pytest.MonkeyPatch, k: int, chunk: int):
    monkeypatch.setattr(samples, "CHUNK", chunk)
    x, y = RNG.normal(size=(60, 3)) + 1000, 1.3 * RNG.normal(size=(45, 3)) + 1000.5
    found = samples.support(x, y, k)
    np.testing.assert_allclose([estimate.value for estimate in found], support_by_loops(x, y, k), atol=1e-12)
    assert found.precision.error == pytest.approx(np.sqrt(found.precision.value * (1 - found.precision.value) / 45))


def test_support_of_identical_and_of_disjoint_sets():
    x = RNG.normal(size=(200, 8))
    assert [estimate.value for estimate in samples.support(x, x.copy(), 5)] == [1, 1, pytest.approx(6 / 5), 1]
    assert [estimate.value for estimate in samples.support(x, x + 100, 5)] == [0, 0, 0, 0]


def test_support_of_collapsed_samples():
    """All on one point: of little extent, on the data when that point is an example, and next to no recall."""
    x = RNG.normal(size=(100, 4)) + 7
    collapsed = np.tile(x[:1], (50, 1))
    found = samples.support(x, collapsed, 3)
    assert found.precision == (1, None)
    assert found.recall.value == 0.01
    assert samples.support(collapsed, collapsed, 3).coverage == (1, None)


def test_copies_of_an_example_are_at_distance_zero_however_the_squares_are_rounded():
    """Each example four times: every ball reaches its three copies, has radius 0, and holds exactly the four."""
    x = np.repeat(RNG.normal(size=(30, 17)), 4, axis=0)
    found = samples.support(x, x[::-1].copy(), 3)
    assert [estimate.value for estimate in found] == [1, 1, pytest.approx(4 / 3), 1]


def test_coverage_of_equal_distributions_is_as_expected():
    """Naeem et al. 2020, Lemma 2: 1 − Π (N − i)/(N + M − i), i = 1 … k; and density is 1 on average."""
    n, m, k = 80, 60, 3
    found = [samples.support(RNG.normal(size=(n, 2)), RNG.normal(size=(m, 2)), k) for _ in range(200)]
    coverage, density = (np.array([getattr(each, name).value for each in found]) for name in ("coverage", "density"))
    expected = 1 - np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    for values, mean in ((coverage, expected), (density, 1)):
        assert abs(values.mean() - mean) < 3 * values.std() / np.sqrt(len(values))


def test_chunks_bound_the_memory(monkeypatch: pytest.MonkeyPatch):
    held: list[int] = []
    whole = samples._squared_distances

    def watched(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        held.append(len(x) * len(y))
        return whole(x, y)

    monkeypatch.setattr(samples, "_squared_distances", watched)
    monkeypatch.setattr(samples, "CHUNK", 10_000)
    samples.support(RNG.normal(size=(300, 2)), RNG.normal(size=(500, 2)), 3)
    assert max(held) <= 10_000
    assert sum(held) == 300 * 300 + 500 * 500 + 300 * 500


def test_what_cannot_be_measured_is_refused():
    x = RNG.normal(size=(30, 2))
    with pytest.raises(DataError, match="generated examples: 19, but their quality needs at least 20"):
        samples.kid(x, x[:19])
    with pytest.raises(DataError, match="features of generated examples: 1 of 60 values are not finite"):
        samples.frechet(x, np.where(x == x[3, 1], np.nan, x))
    with pytest.raises(DataError, match="k=30: expected at least 1 and fewer than the 30 examples"):
        samples.support(x, x, 30)
