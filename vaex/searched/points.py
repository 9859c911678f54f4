"""The space of a search as numbers: where each trial lies along each key; which trials are best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaex.searched.trials import Search, Trial
from vaex.study.stability import number


@dataclass(frozen=True)
class Key:
    """A key that the trials differ in, and what each of them had there, None where it had nothing.

    `levels` are the values of a key that is no number, in the order in which they are drawn: its entries are places
    among them. On a `log` scale entries are the numbers themselves, all positive.
    """

    name: str
    log: bool
    levels: tuple[str, ...]
    entries: tuple[float | None, ...]

    @property
    def scaled(self) -> list[float | None]:
        """The entries as they lie along an axis: log10 where the key was searched so."""
        return [math.log10(entry) if self.log and entry is not None else entry for entry in self.entries]


def keys(search: Search, trials: Sequence[Trial]) -> list[Key]:
    """The keys of the space in which these trials differ."""
    found = [_key(search, name, [trial.point.get(name) for trial in trials]) for name in search.space]
    return [key for key in found if len(set(key.entries)) > 1]


def _key(search: Search, name: str, texts: Sequence[str | None]) -> Key:
    numbers = [None if text is None else _number(text) for text in texts]
    if all(value is not None for value, text in zip(numbers, texts, strict=True) if text is not None):
        log = search.is_log(name) and all(value is None or value > 0 for value in numbers)
        return Key(name, log, (), tuple(numbers))
    levels = tuple(sorted({text for text in texts if text is not None}))
    return Key(name, False, levels, tuple(None if text is None else float(levels.index(text)) for text in texts))


def _number(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None


def best_so_far(values: Sequence[float | None], maximised: bool) -> list[float | None]:
    """The best of the values up to each, None before the first."""
    found: list[float | None] = []
    choose = max if maximised else min
    for value in values:
        last = found[-1] if found else None
        found.append(last if value is None else value if last is None else choose(last, value))
    return found


def front(values: Sequence[Sequence[float]], maximised: Sequence[bool]) -> list[int]:
    """The places of the points that no other is better than in one objective and as good as in all."""
    signed = [tuple(v if up else -v for v, up in zip(point, maximised, strict=True)) for point in values]
    order = sorted(range(len(signed)), key=lambda place: signed[place], reverse=True)
    kept: list[int] = []  # who comes later in this order is no better than who came before in the first that differs
    for place in order:
        if not any(_dominates(signed[other], signed[place]) for other in kept):
            kept.append(place)
    return sorted(kept)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
