"""The space of a search: what Hydra's grammar of sweeps says of each key, as a range of numbers or a list of choices.

`a,b`, `choice(…)` and `glob(…)` are choices; `range(…)` is numbers in steps, `interval(…)` any number between two,
`int(interval(…))` or `tag(int, …)` whole ones; `tag(log, …)` draws on a logarithmic scale. A list over `seed` is no
dimension: each trial trains all of those seeds.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from vaex.config.overrides import refuse_no_step
from vaex.errors import ConfigError

SEED = "seed"

Value = str | int | float | bool | None

MOST_VALUES = 10_000
"""Values of one key, as a list."""


@dataclass(frozen=True)
class Parameter:
    """One key of a space: `choices`, or numbers from `low` to `high`. `element` is what its overrides begin with."""

    key: str
    element: str
    text: str
    choices: tuple[Value, ...] = ()
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False

    def distribution(self) -> Any:
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # late: an extra

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int):
            return IntDistribution(self.low, int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def listed(self) -> tuple[Value, ...]:
        """All its values; none where they cannot be listed."""
        if self.choices or self.step is None:
            return self.choices
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(self.low + number * self.step for number in range(count))

    def ends(self) -> tuple[Value, ...]:
        """Every choice, or the smallest and the largest number: what a mistake shows in before anything trains."""
        return self.choices or (self.low, self.high)

    def override(self, value: Value) -> str:
        """The override that gives a trial this value."""
        return f"{self.element}={as_text(value)}"


def as_text(value: Value) -> str:
    """A value in Hydra's grammar; texts are in it already."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def parameters(lines: Sequence[str]) -> list[Parameter]:
    """The keys of a space; raises `ConfigError` for the first that is none."""
    found = [_parameter(item) for item in _parsed(lines) if item.key_or_group != SEED]
    if not found:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give a key several values, as loss=choice(gamma,sigma)"
        )
    names = [each.key for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"{twice}: searched twice")
    return found


def seeds(lines: Sequence[str], base: int, repeats: int) -> tuple[int, ...]:
    """The seeds of each trial: those that were listed, or as many as are to be repeated from the base's on."""
    for item in _parsed(lines):
        if item.key_or_group == SEED:
            if item.is_interval_sweep():
                raise ConfigError(f"{item.input_line}: each trial trains all seeds; list them, as seed=0,1,2")
            if repeats > 1:
                raise ConfigError(f"{item.input_line}: are the repeats of a trial; hydra.sweeper.repeats says it twice")
            listed = tuple(dict.fromkeys(item.sweep_iterator()))
            if not all(type(value) is int and 0 <= value < 2**32 for value in listed):
                raise ConfigError(f"{item.input_line}: expected whole numbers from 0 to {2**32 - 1}")
            return listed  # pyright: ignore[reportReturnType]
    if base + repeats > 2**32:
        raise ConfigError(f"seed={base}: hydra.sweeper.repeats={repeats} goes beyond the largest seed, {2**32 - 1}")
    return tuple(range(base, base + repeats))


def _parsed(lines: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(lines))
    except HydraException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def _parameter(item: Override) -> Parameter:
    key, line = item.key_or_group, item.input_line or ""
    blank = Parameter(key, item.get_key_element(), line.partition("=")[2])
    sweep: Any = item.value()
    if isinstance(sweep, IntervalSweep):
        found = _interval(blank, sweep, line)
    elif isinstance(sweep, RangeSweep):
        refuse_no_step(item)
        found = _range(blank, sweep, line)
    elif isinstance(sweep, ChoiceSweep):
        found = dataclasses.replace(blank, choices=_choices(sweep, line))
        _refuse_tags(sweep, line, ())
    else:
        raise ConfigError(f"{line}: expected choice(...), range(...) or interval(...)")
    if found.log and found.low <= 0:
        raise ConfigError(f"{line}: a logarithmic scale begins above 0, got {found.low:g}")
    return found


def _choices(sweep: ChoiceSweep, line: str) -> tuple[Value, ...]:
    """Its different values; `ConfigError` for two that Python, and so Optuna, takes for one: 0 and false, 1 and 1.0."""
    known: dict[Value, Value] = {}
    for value in map(_choice, sweep.list):
        other = known.setdefault(value, value)
        if type(other) is not type(value):
            raise ConfigError(f"{line}: {as_text(other)} and {as_text(value)} cannot be told apart; leave out one")
    return tuple(known)


def _choice(value: Any) -> Value:
    """Numbers and truth values as they are, all else as text in Hydra's grammar."""
    plain = value is None or isinstance(value, bool | int | float)
    return value if plain else Override._get_value_element_as_str(value)


def _interval(blank: Parameter, sweep: IntervalSweep, line: str) -> Parameter:
    low, high = sweep.start, sweep.end
    _refuse_tags(sweep, line, ("log", "int", "float"))
    if not (
        isinstance(low, int | float) and isinstance(high, int | float) and math.isfinite(low) and math.isfinite(high)
    ):
        raise ConfigError(f"{line}: expected two finite numbers")
    if low >= high:
        raise ConfigError(f"{line}: expected interval(low,high) with low below high")
    if "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int)):
        if low != int(low) or high != int(high):
            raise ConfigError(f"{line}: whole numbers lie between whole ones, got {low:g} and {high:g}")
        return dataclasses.replace(blank, low=int(low), high=int(high), step=1, log="log" in sweep.tags)
    return dataclasses.replace(blank, low=float(low), high=float(high), log="log" in sweep.tags)


def _range(blank: Parameter, sweep: RangeSweep, line: str) -> Parameter:
    _refuse_tags(sweep, line, ("log", "int", "float"))
    listed = [*sweep.range()]
    values = [int(value) for value in listed] if "int" in sweep.tags else listed
    if any(value != number for value, number in zip(values, listed, strict=True)):
        raise ConfigError(f"{line}: whole numbers come in whole steps from a whole one on")
    if len(values) > MOST_VALUES:
        raise ConfigError(f"{line}: has {len(values)} values; interval(...) takes any number between two")
    if "log" in sweep.tags and abs(sweep.step) != 1:
        raise ConfigError(f"{line}: a logarithmic scale has no steps; write tag(log,interval(...)), int(...) around it")
    if not values:
        raise ConfigError(f"{line}: matches nothing")
    low, high, log = min(values), max(values), "log" in sweep.tags
    if log and not isinstance(low, int):
        return dataclasses.replace(blank, low=low, high=high, log=True)
    return dataclasses.replace(blank, low=low, high=high, step=abs(sweep.step), log=log)


def _refuse_tags(sweep: Any, line: str, known: Sequence[str]) -> None:
    """Raise `ConfigError` for a tag that means nothing here, which would else be left out silently."""
    unknown = sorted(set(sweep.tags) - set(known))
    if unknown:
        takes = f"tags: {', '.join(known)}" if known else "a choice takes none"
        raise ConfigError(f"{line}: the tag {unknown[0]!r} means nothing here ({takes})")
