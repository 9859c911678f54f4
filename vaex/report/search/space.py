"""The space of a search: parallel coordinates of keys and value, and the value against each key.

Plotly's own parallel coordinates compile code while they draw, which the page's policy forbids: here they are lines.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaex.report.charts import Chart, Trace, layout, short
from vaex.report.page import label, shown
from vaex.report.search.look import Shown, counted, of_key, of_values
from vaex.searched import points
from vaex.searched.points import Key
from vaex.searched.trials import Trial

MOST_LINES = 200
"""Trials that have a line: the best ones."""

MOST_AXES = 9
MOST_LEVELS = 12
"""Names along one axis."""

SHADES = (
    *("rgba(136,136,136,0.35)", "rgba(136,136,136,0.5)", "rgba(0,114,178,0.3)", "rgba(0,114,178,0.45)"),
    *("rgba(0,114,178,0.6)", "rgba(0,114,178,0.85)", "#009E73"),
)
"""From the worst seventh of the trials to the best."""

INSIDE = (0.04, 0.96)
"""Where on an axis the smallest and the largest entry lie."""


def parallel(drawn: Shown, objective: int) -> Chart | None:
    """A line a complete trial through what it had of each key to its value, the best on top."""
    search = drawn.search
    complete = [trial for trial in search.trials if trial.complete]
    up = search.maximised[objective]
    complete.sort(key=lambda trial: (trial.values[objective] or 0.0) * (1 if up else -1))
    trials = complete[-MOST_LINES:]
    keys = points.keys(search, trials)[: MOST_AXES - 1]
    if not keys or len(trials) < 2:
        return None
    value = Key(search.objectives[objective], False, (), tuple(trial.values[objective] for trial in trials))
    axes = [*keys, value]
    data: list[Trace] = []
    for shade, color in enumerate(SHADES):
        mine = [n for n in range(len(trials)) if n * len(SHADES) // len(trials) == shade]
        data += _lines(drawn, trials, axes, mine, color, 1.8 if shade == len(SHADES) - 1 else 1.0)
    names = [label(key.name.rpartition(".")[2] if "." in key.name else key.name, 22) for key in axes]
    x: dict[str, Any] = {"tickvals": list(range(len(axes))), "ticktext": names, "range": [-0.1, len(axes) - 0.7]}
    x |= {"side": "top", "fixedrange": True, "showgrid": False, "showline": False, "zeroline": False}
    x |= {"automargin": True}
    y = {"visible": False, "range": [-0.02, 1.02], "fixedrange": True}
    frame = layout(x, y)
    frame["margin"] = frame["margin"] | {"l": 56}  # what is written left of the first axis
    frame |= {"shapes": _rulers(len(axes)), "annotations": _ticks(axes)}
    left = f" The best {MOST_LINES} are drawn." if len(complete) > len(trials) else ""
    log = [key.name for key in axes if key.log]
    scale = f" Log scale: {', '.join(log)}." if log else ""
    note = f"{len(complete)} complete trials; green: the best seventh, grey: the worst.{left}{scale}"
    return Chart(f"Which settings lead to which {value.name}", note, data, frame, 380)


def slices(drawn: Shown, objective: int) -> list[Chart]:
    """The value against each key, with stopped trials beside complete ones."""
    search = drawn.search
    some = [trial for trial in search.trials if trial.values[objective] is not None]
    name, up = search.objectives[objective], search.maximised[objective]
    y, outside = of_values(label(name), [trial.values[objective] or 0.0 for trial in some], up)
    charts = []
    for key in points.keys(search, some):
        data = []
        for state in ("stopped", "complete"):
            mine = [n for n, trial in enumerate(some) if trial.state == state and key.entries[n] is not None]
            values = short(some[n].values[objective] or 0.0 for n in mine)
            if mine:
                data.append(drawn.points(state, [some[n] for n in mine], _apart(key, mine), values))
        charts.append(Chart(key.name, counted(search, outside) if outside else "", data, layout(of_key(key), y), 260))
    return charts


def _apart(key: Key, mine: Sequence[int]) -> list[float]:
    """Where trials lie along a key; those of one level beside each other, by a fixed sequence."""
    entries = [key.entries[n] or 0.0 for n in mine]
    if not key.levels:
        return short(entries)
    return [round(entry + 0.5 * ((n * 0.618034) % 1 - 0.5), 3) for entry, n in zip(entries, mine, strict=True)]


def _lines(
    drawn: Shown, trials: Sequence[Trial], axes: Sequence[Key], mine: Sequence[int], color: str, width: float
) -> list[Trace]:
    """The lines of some trials as one trace, which nothing ends but the gaps between them."""
    places = [_places(key) for key in axes]
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    numbers: list[int] = []
    for n in mine:
        x += [*range(len(axes)), None]
        y += [*(places[axis][n] for axis in range(len(axes))), None]
        text += [drawn.hover(trials[n])] * (len(axes) + 1)
        numbers += [drawn.runs.get(trials[n].jobs[0], -1) if trials[n].jobs else -1] * (len(axes) + 1)
    look = {"mode": "lines+markers", "line": {"color": color, "width": width}, "marker": {"size": 4, "color": color}}
    return [{"x": x, "y": y, "text": text, "customdata": numbers, "hoverinfo": "text", **look}] if mine else []


def _places(key: Key) -> list[float | None]:
    """The entries between 0 and 1, as far as the axis lets them."""
    known = [entry for entry in key.scaled if entry is not None]
    low, span = min(known), max(known) - min(known) or 1.0
    first, last = INSIDE
    return [None if entry is None else round(first + (last - first) * (entry - low) / span, 4) for entry in key.scaled]


def _rulers(count: int) -> list[dict[str, Any]]:
    line = {"color": "#888888", "width": 1}
    return [{"type": "line", "x0": n, "x1": n, "y0": 0, "y1": 1, "line": line, "layer": "below"} for n in range(count)]


def _ticks(axes: Sequence[Key]) -> list[dict[str, Any]]:
    """What is written along each axis, left of it: levels, or the ends and the middle of numbers."""
    found = []
    for n, key in enumerate(axes):
        for place, text in _named(key):
            found.append({
                "x": n, "y": place, "text": text, "xanchor": "right", "xshift": -5, "showarrow": False,
                "font": {"size": 11}, "captureevents": False,
            })  # fmt: skip
    return found


def _named(key: Key) -> list[tuple[float, str]]:
    first, last = INSIDE
    if key.levels:
        every = -(-len(key.levels) // MOST_LEVELS)
        span = max(1, len(key.levels) - 1)
        return [
            (first + (last - first) * n / span, label(level, 14))
            for n, level in enumerate(key.levels)
            if n % every == 0
        ]
    known = [entry for entry in key.scaled if entry is not None]
    ends = np.linspace(min(known), max(known), 3)
    return [
        (first + (last - first) * n / 2, shown(float(10**end if key.log else end), 3)) for n, end in enumerate(ends)
    ]
