"""Numbers that a population explores: each key with its space, from which values are drawn and in which they move."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from vaex.errors import ConfigError

DIGITS = 6
"""Significant digits of a value that is drawn or moved: short to read in a schedule and to type again."""


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, drawn evenly or, with `log`, evenly in their logarithm."""

    low: float
    high: float
    log: bool

    def draw(self, random: Random) -> float:
        """Any value."""
        if not self.log:
            return self._inside(random.uniform(self.low, self.high))
        return self._inside(math.exp(random.uniform(math.log(self.low), math.log(self.high))))

    def move(self, value: Any, random: Random, factors: Sequence[float]) -> float:
        """The value times one of the factors, kept inside."""
        return self._inside(value * random.choice(factors))

    def _inside(self, value: float) -> float:
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """Listed values."""

    values: tuple[Any, ...]

    def draw(self, random: Random) -> Any:
        """Any value."""
        return random.choice(self.values)

    def move(self, value: Any, random: Random, factors: Sequence[float]) -> Any:
        """The value listed before this one or the one after it; at an end perhaps the value itself."""
        place = self.values.index(value) + random.choice((-1, 1))
        return self.values[min(max(place, 0), len(self.values) - 1)]


Space = Mapping[str, Interval | Choice]
"""By full key, in the order in which they were typed."""


def split(overrides: Iterable[str]) -> tuple[Space, list[str]]:
    """The space of overrides in Hydra's grammar, and those overrides that are fixed; `ConfigError` for a wrong one.

    Of two for one key the later holds: a value that is typed takes the key out of an experiment's space.
    """
    space, fixed = {}, []
    for item in OverridesParser.create().parse_overrides(list(overrides)):
        if not item.is_sweep_override():
            space.pop(item.key_or_group, None)
            fixed.append(item.input_line or "")
            continue
        space[item.key_or_group] = _of(item)
    return space, fixed


def _of(item: Override) -> Interval | Choice:
    sweep, line = item.value(), item.input_line
    if isinstance(sweep, IntervalSweep):
        low, high, log = float(sweep.start or 0), float(sweep.end or 0), "log" in sweep.tags
        if not low < high:
            raise ConfigError(f"{line}: expected interval(low,high) with low below high")
        if log and low <= 0:
            raise ConfigError(f"{line}: the logarithm needs an interval above 0")
        return Interval(low, high, log)
    if isinstance(sweep, RangeSweep):
        values: list[Any] = list(sweep.range())
    elif isinstance(sweep, ChoiceSweep):
        values = list(sweep.list)
    else:
        raise ConfigError(f"{line}: expected interval(low,high), range(...) or choice(...)")
    if any(isinstance(value, (list, dict)) for value in values) or len(set(values)) < 2:
        raise ConfigError(f"{line}: expected two numbers or more, each once")
    return Choice(tuple(dict.fromkeys(values)))
