"""Which value of a step was out of all proportion: to the steps before, or in one example to the others. NumPy only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vaex.inspection.look import Look, Size

TIMES = 100.0
"""How many times the median is out of all proportion."""

FEWEST = 3
"""Steps before it that make a median."""


class Excess(NamedTuple):
    """A value that was too large: its size, how many times the median of the steps before and of the other examples.

    `example` is its place in the batch, `unit` along the last axis; None where there is no such axis.
    """

    name: str
    largest: float
    of_steps: float | None
    of_examples: float | None
    example: int | None
    unit: int | None

    @property
    def times(self) -> float:
        """The larger of the two."""
        return max(self.of_steps or 0.0, self.of_examples or 0.0)


def all_of(look: Look, before: Sequence[Look]) -> list[Excess]:
    """How large each value was, in the order in which they are computed."""
    return [_excess(name, size, [each.sizes[name] for each in before]) for name, size in look.sizes.items()]


def first(excesses: Sequence[Excess]) -> Excess | None:
    """The first that was out of all proportion."""
    return next((each for each in excesses if each.times >= TIMES), None)


def _excess(name: str, size: Size, before: Sequence[Size]) -> Excess:
    earlier = [each.largest for each in before]
    of_steps = _times(size.largest, float(np.median(earlier))) if len(earlier) >= FEWEST else None
    examples = np.asarray(size.examples, np.float64)
    of_examples = _times(size.largest, float(np.median(examples))) if len(examples) >= FEWEST else None
    example, unit = (_largest(each) for each in (examples, np.asarray(size.units, np.float64)))
    return Excess(name, size.largest, of_steps, of_examples, example, unit)


def _largest(values: np.ndarray) -> int | None:
    """Where the largest is; None where there is none, or where all are alike not finite: no one is to blame."""
    bad = ~np.isfinite(values)
    if not len(values) or (bad.all() and len(values) > 1):
        return None
    return int(np.argmax(np.where(np.isnan(values), np.inf, values)))


def _times(value: float, median: float) -> float | None:
    """None where one cannot say: all is 0, or was beyond all bounds before."""
    if not np.isfinite(median) or value == 0.0:
        return None
    return value / median if median > 0 else np.inf
