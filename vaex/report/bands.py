"""Many runs as few numbers: medians and ranges over epochs or steps, axes that one exploded run cannot ruin."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vaex.study.runs import StudyRun
from vaex.study.stability import number

MOST_POINTS = 150
"""Points of a curve in a report; longer ones are thinned, so that the file stays small."""


@dataclass(frozen=True)
class Band:
    """At each x the smallest, median and largest value of the runs that have a finite one there, and how many do."""

    x: list[float]
    low: list[float]
    middle: list[float]
    high: list[float]
    lowest: list[int]
    highest: list[int]
    count: list[int]


def by_epoch(runs: Sequence[StudyRun], key: str) -> Float[np.ndarray, "runs epochs"]:
    """A metric of every run at every epoch, NaN where there is none or none that is finite."""
    longest = max((len(run.rows) for run in runs), default=0)
    values = np.full((len(runs), longest), np.nan)
    for line, run in zip(values, runs, strict=True):
        line[: len(run.rows)] = [math.nan if (v := number(row.get(key))) is None else v for row in run.rows]
    return values


def by_step(
    runs: Sequence[StudyRun], name: str, reduce: Callable[..., np.ndarray]
) -> tuple[list[float], Float[np.ndarray, "runs bins"]]:
    """A step array of every run in at most `MOST_POINTS` equal bins: the last step of each, and its `reduce`.

    Only finite values count; a bin that holds none is NaN.
    """
    columns = [np.asarray(run.steps[name] if run.steps else (), np.float64) for run in runs]
    width = max(1, math.ceil(max(map(len, columns), default=0) / MOST_POINTS))
    bins = math.ceil(max(map(len, columns), default=0) / width)
    padded = np.full((len(runs), bins * width), np.nan)
    for line, column in zip(padded, columns, strict=True):
        line[: len(column)] = np.where(np.isfinite(column), column, np.nan)
    return [float((k + 1) * width) for k in range(bins)], _quiet(reduce, padded.reshape(len(runs), bins, width), 2)


def band(x: Sequence[float | int], values: Float[np.ndarray, "runs x"]) -> Band:
    """The band of the runs, without places where no run has a value, thinned to `MOST_POINTS`."""
    finite = np.isfinite(values)
    places = np.flatnonzero(finite.any(axis=0))
    if len(places) > MOST_POINTS:
        places = places[np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int))]
    chosen = values[:, places]
    return Band(
        x=[float(x[place]) for place in places.tolist()],
        low=_quiet(np.nanmin, chosen, 0).tolist(),
        middle=_quiet(np.nanmedian, chosen, 0).tolist(),
        high=_quiet(np.nanmax, chosen, 0).tolist(),
        lowest=np.where(np.isfinite(chosen), chosen, np.inf).argmin(axis=0).tolist(),
        highest=np.where(np.isfinite(chosen), chosen, -np.inf).argmax(axis=0).tolist(),
        count=finite[:, places].sum(axis=0).tolist(),
    )


def axis_range(values: Float[np.ndarray, "..."], better: str) -> tuple[float, float] | None:
    """What an axis shows: all on the `better` side ("high" or "low") of the median, 4 times as much on the other.

    None when that would not make the axis at least three times shorter: then the chart chooses for itself.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    sign = 1.0 if better == "high" else -1.0
    worst, middle, best = (float(v) for v in np.quantile(sign * finite, [0.0, 0.5, 1.0]))
    cut = middle - 4 * (best - middle)
    if best == middle or best - worst < 3 * (best - cut):
        return None
    low, high = sorted((sign * cut, sign * (best + 0.04 * (best - cut))))
    return low, high


def _quiet(reduce: Callable[..., np.ndarray], values: np.ndarray, axis: int) -> np.ndarray:
    """`reduce` along an axis; of NaN alone, NaN."""
    if not values.size:
        return np.full(np.delete(values.shape, axis), np.nan)
    empty = np.isnan(values).all(axis=axis)
    filled = np.where(np.expand_dims(empty, axis), 0.0, values)
    return np.where(empty, np.nan, reduce(filled, axis=axis))
