"""Intervals, rates and tests against closed forms, full enumeration, and their coverage in simulation."""

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from vaex.study import evidence

RNG = np.random.default_rng(0)

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t with 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, size=shape),
    "normal, every fifth 10 times as wide": lambda rng, shape: (
        rng.normal(size=shape) * np.where(rng.random(shape) < 0.2, 10, 1)
    ),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
}
"""Differences whose true mean is 0: symmetric, heavy-tailed, skewed, very skewed."""


def covered(name: str, n: int, samples: int) -> float:
    """The share of simulated intervals that hold the true mean."""
    drawn = DISTRIBUTIONS[name](np.random.default_rng(n), (samples, n))
    found = [evidence.mean(sample) for sample in drawn]
    assert all((mean.low <= 0 <= mean.high) == (mean.p > evidence.LEVEL) for mean in found)
    return sum(mean.low <= 0 <= mean.high for mean in found) / samples


@pytest.mark.parametrize(("name", "least"), [*zip(DISTRIBUTIONS, [0.94, 0.94, 0.94, 0.89, 0.83], strict=True)])
@pytest.mark.parametrize("n", [5, 8])
def test_coverage(name: str, least: float, n: int):
    """400 samples: two standard errors are 2 %."""
    assert covered(name, n, 400) >= least


@pytest.mark.slow
def test_coverage_in_full():
    """The table in evidence.py: `make coverage`."""
    sizes = (5, 6, 7, 8, 10)
    table = {name: [covered(name, n, 4000) for n in sizes] for name in DISTRIBUTIONS}
    print(f"\n{'coverage, seeds:':<38}" + "".join(f"{n:>8}" for n in sizes))
    for name, shares in table.items():
        print(f"{name:<38}" + "".join(f"{100 * share:>7.1f}%" for share in shares))
    symmetric = [share for name in list(DISTRIBUTIONS)[:3] for share in table[name]]
    assert min(symmetric) > 0.95 - 0.007
    print(json.dumps(table))


def test_mean_is_the_whole_bootstrap():
    """Against all 5⁵ resamples of five differences: the drawn 9 999 must find the same quantile and p."""
    differences = np.array([0.3, 1.1, 0.8, 2.5, 1.9])
    drawn = differences[np.array(list(itertools.product(range(5), repeat=5)))]
    with np.errstate(divide="ignore"):
        t = np.abs(drawn.mean(1) - differences.mean()) / (drawn.std(1, ddof=1) / np.sqrt(5))
    error = stats.sem(differences)
    got = evidence.mean(differences)
    assert got.estimate == pytest.approx(1.32)
    assert (got.high - got.estimate) / error == pytest.approx(np.quantile(t, 0.95, method="higher"), rel=0.03)
    assert got.estimate - got.low == pytest.approx(got.high - got.estimate)
    assert got.p == pytest.approx(np.mean(t >= got.estimate / error), abs=0.005)


@pytest.mark.parametrize("n", [5, 8])
def test_mean_follows_scale_and_sign(n: int):
    differences = RNG.normal(size=n)
    one, other = evidence.mean(differences), evidence.mean(-1000 * differences)
    assert other.estimate == pytest.approx(-1000 * one.estimate)
    assert other.low == pytest.approx(-1000 * one.high)
    assert other.p == pytest.approx(one.p, abs=1e-3)


def test_equal_differences_have_no_spread_to_resample():
    assert evidence.mean(np.zeros(5)) == (0, 0, 0, 1)
    assert evidence.mean(np.full(5, 0.1)) == (0.1, 0.1, 0.1, 2 / 32)
    assert evidence.mean(np.full(8, -3.0)).p == 2 / 256


def test_one_different_value_of_five_bounds_nothing():
    """A third of the resamples are five zeros: no quantile of t* is finite there."""
    got = evidence.mean(np.array([0, 0, 0, 0, 1.0]))
    assert (got.low, got.high) == (-np.inf, np.inf)
    assert got.p > 0.3


@pytest.mark.parametrize(("count", "total"), [(0, 8), (3, 40), (40, 40), (1, 1)])
def test_rate_is_wilsons(count: int, total: int):
    z = stats.norm.ppf(0.975)
    share = count / total
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    np.testing.assert_allclose(evidence.rate(count, total), (share, center - half, center + half), atol=1e-12)
    np.testing.assert_allclose(
        evidence.rate(count, total)[1:], proportion_confint(count, total, method="wilson"), atol=1e-12
    )


def test_discordance_is_mcnemars_exact_test_and_its_interval_agrees_with_it():
    for first, second in itertools.product(range(15), repeat=2):
        got = evidence.discordance(first, second)
        if not first + second:
            assert got == (None, None, 1.0)
            continue
        assert got.p == pytest.approx(min(1, mcnemar([[9, first], [second, 3]], exact=True).pvalue))
        assert got.low is not None
        assert got.high is not None
        assert (got.p <= evidence.LEVEL) == (not got.low <= 0.5 <= got.high)


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_less():
    assert evidence.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert evidence.holm([0.5, 0.6]) == [1.0, 1.0]
    assert evidence.holm([None]) == [None]
    assert evidence.holm([]) == []
