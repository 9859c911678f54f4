"""What the charts of a search share: how trials of each state look, what a hover says, axes that a few values fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaex.report.charts import COLORS, GREY, Trace, axis, decades, short
from vaex.report.page import label, shown
from vaex.searched.points import Key
from vaex.searched.trials import Search, Trial

LOOK: dict[str, dict[str, Any]] = {
    "complete": {"color": COLORS[0], "symbol": "circle", "size": 7},
    "stopped": {"color": COLORS[1], "symbol": "diamond-open", "size": 8},
    "running": {"color": GREY, "symbol": "circle-open", "size": 7},
    "waiting": {"color": GREY, "symbol": "circle-open", "size": 7},
    "failed": {"color": COLORS[3], "symbol": "x", "size": 8},
}

BEST = COLORS[2]

MOST_KEYS = 10
"""Keys of a point that a hover names."""

NARROW = 2.0
"""From the smallest to the largest value of a key: of fewer times a log scale has no tick to speak of."""

FAR = 3.0
"""Middle halves below which a value is left outside of an axis, so that the others can be told apart."""


@dataclass(frozen=True)
class Shown:
    """A search as it is drawn: `runs` has the number of each job's run in the report, by which a click finds it."""

    search: Search
    runs: Mapping[str, int]

    def points(self, state: str, trials: Sequence[Trial], x: Sequence[Any], y: Sequence[Any]) -> Trace:
        """Markers of trials of one state."""
        return {
            "x": list(x), "y": list(y), "mode": "markers", "marker": LOOK[state], "hoverinfo": "text",
            "text": [self.hover(trial) for trial in trials],
            "customdata": [self.runs.get(trial.jobs[0], -1) if trial.jobs else -1 for trial in trials],
        }  # fmt: skip

    def hover(self, trial: Trial) -> str:
        """A trial's number, state, values and point, one a line."""
        values = [
            f"{label(name)} {shown(value, 5)}" for name, value in zip(self.search.objectives, trial.values, strict=True)
        ]
        if trial.spread is not None and len(values) == 1:
            values[0] += f" ± {shown(trial.spread, 3)}"
        point = [f"{label(key)} = {label(text)}" for key, text in list(trial.point.items())[:MOST_KEYS]]
        return "<br>".join([f"<b>trial {trial.number}</b> {trial.state}", *values, *point])


def of_key(key: Key) -> dict[str, Any]:
    """A key's axis: log where it was searched so, its levels by name."""
    if key.levels:
        places = list(range(len(key.levels)))
        return axis(label(key.name), tickvals=places, ticktext=[label(each, 14) for each in key.levels]) | {
            "range": [-0.5, len(places) - 0.5]
        }
    known = [entry for entry in key.entries if entry is not None]
    return axis(label(key.name), **(decades(known) if key.log and max(known) > NARROW * min(known) else {}))


def of_values(title: str, values: Sequence[float], maximised: bool) -> tuple[dict[str, Any], int]:
    """An axis of an objective's values, and how many bad ones lie outside of it."""
    if not values:
        return axis(title), 0
    sign = 1 if maximised else -1
    signed = sign * np.array(values)
    low, high = np.quantile(signed, [0.25, 0.75])
    least = max(float(signed.min()), float(low - FAR * (high - low)))
    outside = int((signed < least).sum())
    if not outside:
        return axis(title), 0
    span = float(signed.max()) - least or 1.0
    ends = [sign * (least - 0.08 * span), sign * (float(signed.max()) + 0.05 * span)]
    return axis(title, range=short(sorted(ends))), outside


def title(search: Search) -> str:
    """What it is, in a few words."""
    return f"search over {keys(len(search.space))}: {trials(len(search.trials))}"


def keys(count: int) -> str:
    """So many keys."""
    return f"{count} key{'s' * (count != 1)}"


def trials(count: int) -> str:
    """So many trials."""
    return f"{count} trial{'s' * (count != 1)}"


def counted(search: Search, outside: int = 0) -> str:
    """How many trials there are, by state."""
    parts = [f"{count} {state}" for state, count in search.counts.most_common()]
    far = f" {outside} far worse {'one lies' if outside == 1 else 'ones lie'} outside." if outside else ""
    return f"{trials(len(search.trials))}: {', '.join(parts)}.{far}"
