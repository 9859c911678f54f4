"""What every measure returns: a value with its standard error, or the reason why there is none."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vaex.errors import DataError


class Estimate(NamedTuple):
    """A value and its standard error over examples, in the unit of the value; None where the data cannot tell it."""

    value: float
    error: float | None


class Missing(NamedTuple):
    """Why a measure has no value here, in words for the user."""

    reason: str


def mean(terms: Float[np.ndarray, " N"]) -> Estimate:
    """The mean of N independent terms; error s / √N with s² of N − 1 degrees of freedom, None for a single term."""
    n = len(terms)
    return Estimate(float(terms.mean()), float(terms.std(ddof=1)) / math.sqrt(n) if n > 1 else None)


def share(hits: Bool[np.ndarray, " N"]) -> Estimate:
    """The share p of N independent examples that are hits; binomial error √(p(1 − p) / N).

    None where all or none are: the formula's 0 would claim that no other sample could come out otherwise.
    """
    p = float(hits.mean())
    return Estimate(p, math.sqrt(p * (1 - p) / len(hits)) if 0 < p < 1 else None)


def jackknife(value: float, without: Sequence[float]) -> Estimate:
    """The error of a statistic from its values with one of g blocks of examples left out at a time.

    error² = (g − 1)/g · Σ_b (θ_(−b) − mean θ_(−·))² (Efron & Tibshirani 1993, Eq. 11.5, blocks in place of examples).
    Its mean is never too small (Efron & Stein 1981); for a statistic that vanishes to first order, as a squared
    distance does between equal distributions, it is too large: √2 times for a U-statistic of two examples.
    """
    g = len(without)
    return Estimate(value, math.sqrt((g - 1) / g * float(np.sum((np.asarray(without) - np.mean(without)) ** 2))))


def check_finite(values: np.ndarray, name: str) -> None:
    """Raise `DataError` when a value is infinite or not a number: no measure has a meaning then."""
    bad = int(np.sum(~np.isfinite(values)))
    if bad:
        raise DataError(f"{name}: {bad} of {values.size} values are not finite; such a model cannot be judged by them")
