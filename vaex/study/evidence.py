"""What a handful of paired runs can show: intervals, rates and tests. Numbers in, numbers out.

**Interval of a mean difference**: the symmetric studentised bootstrap (Hall 1988; Efron & Tibshirani 1993, ch. 12).
The differences are resampled, t* = (mean* − mean) / standard error* is taken of each resample, and the interval is
mean ± q·standard error, where q is the 95 % quantile of |t*|. Why this one and not sign-flip permutation: with five
pairs that can exclude nothing (2 of 32 patterns are 6 %), and with eight its p-value cannot pass Holm's correction for
seven variants (7 · 2/256 > 0.05). The bootstrap can do both.

Coverage of the nominal 95 %, in 4 000 simulated samples each (± 0.7 %), repeated by `make coverage`:

    pairs                                       5       6       7       8      10
    normal                                   97.5    97.5    97.0    96.2    95.9
    t with 3 degrees of freedom              98.3    97.9    97.7    96.9    97.4
    normal, every fifth 10 times as wide     99.0    99.1    98.9    98.8    98.9
    exponential (skewness 2)                 93.3    93.2    93.5    92.7    92.7
    lognormal (skewness 6)                   90.4    88.9    87.7    88.2    87.8

So it holds where differences are symmetric, as they are whenever two variants do the same, whatever their tails; it
falls short by 2 % where they are skewed and by 5 to 7 % where they are extremely so. The rivals do no better there
(3 000 samples): Student's t 88 to 90 and 82 to 84, inverted sign flips 91 to 94 and 83 to 89, the equal-tailed
studentised bootstrap 93 to 94 and 88 to 90, which in turn falls to 92 for the heavy tails.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05
"""1 − confidence of every interval, and the level of every test."""

RESAMPLES = 9_999
SMALLEST_SPREAD = 1e-12
"""Standard error of a resample, as a share of the largest difference, below which it is rounding."""


class Mean(NamedTuple):
    """A mean with its interval (infinite where the data bound it on no side) and the p-value of "it is zero"."""

    estimate: float
    low: float
    high: float
    p: float


class Rate(NamedTuple):
    """A share of runs with its Wilson interval."""

    share: float
    low: float
    high: float


class Discordance(NamedTuple):
    """Among pairs of which only one member shows something, the share where it is the first: exact interval, p."""

    low: float | None
    high: float | None
    p: float


def mean(differences: Float[np.ndarray, " n"]) -> Mean:
    """The mean of at least two independent differences, with its studentised bootstrap interval.

    When all differences are equal there is no spread to resample: the interval is that value, and p is of the
    sign-flip test, 2·2⁻ⁿ (1 if they are all zero). The resamples come from a fixed seed: same data, same answer.
    """
    n, estimate = len(differences), float(differences.mean())
    error = float(stats.sem(differences))
    rounding = SMALLEST_SPREAD * float(np.abs(differences).max())
    if error <= rounding:
        return Mean(estimate, estimate, estimate, 2.0 ** (1 - n) if estimate else 1.0)
    drawn = differences[_resamples(n)]
    away, errors = np.abs(drawn.mean(axis=1) - estimate), drawn.std(axis=1, ddof=1) / math.sqrt(n)
    equal = errors <= rounding  # one value n times: its t* is without bound
    t = np.where(equal, np.where(away > rounding, np.inf, 0.0), away / np.where(equal, 1.0, errors))
    half = float(np.sort(t)[math.ceil((1 - LEVEL) * (RESAMPLES + 1)) - 1]) * error
    p = float((1 + np.sum(t >= abs(estimate) / error)) / (RESAMPLES + 1))
    return Mean(estimate, estimate - half, estimate + half, p)


@functools.cache
def _resamples(n: int) -> Int[np.ndarray, "resamples n"]:
    return np.random.default_rng(0).integers(n, size=(RESAMPLES, n))


def rate(count: int, total: int) -> Rate:
    """The share `count` of `total` (at least 1) with its Wilson interval."""
    bounds = stats.binomtest(count, total).proportion_ci(1 - LEVEL, method="wilson")
    return Rate(count / total, float(bounds.low), float(bounds.high))


def discordance(first: int, second: int) -> Discordance:
    """McNemar's exact test on the pairs in which only the first, or only the second, shows something.

    The share of the first among them has its exact (Clopper-Pearson) interval, which leaves out one half exactly
    when p is below the level. Without such pairs there is nothing to tell: p is 1.
    """
    if not first + second:
        return Discordance(None, None, 1.0)
    test = stats.binomtest(first, first + second)
    bounds = test.proportion_ci(1 - LEVEL, method="exact")
    return Discordance(float(bounds.low), float(bounds.high), float(test.pvalue))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """The p-values of several variants against the same one, corrected together (Holm 1979); None stays None."""
    known = [value for value in p if value is not None]
    if len(known) < 2:
        return list(p)
    corrected = iter(np.asarray(multipletests(known, alpha=LEVEL, method="holm")[1]))
    return [None if value is None else float(next(corrected)) for value in p]
