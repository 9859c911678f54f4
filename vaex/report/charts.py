"""What all charts of the report share: plain data for Plotly, strings from disk escaped, one color a variant."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaex.report.page import label
from vaex.study import effects, quantities
from vaex.study.run import OTHER_LENGTH
from vaex.study.runs import Study, StudyRun, text, within
from vaex.terminal.tables import brief

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A", "#C9B800")
"""Okabe and Ito's palette for every kind of color vision; grey for its black, a darker yellow: seen on any page."""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "star", "hexagon")
GREY = "#888888"

MOST_NAMED = 8
"""Runs that a hover names."""

MOST_VARIANTS = 24
"""Variants that a chart has a line, a row or a legend for."""

MOST_TICKS = 20
"""Values along an axis that are written out."""

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One figure: what is seen, how it was made, and what Plotly draws; clicks lead to runs where points have them."""

    title: str
    note: str
    data: list[Trace]
    layout: dict[str, Any]
    height: int = 330


@dataclass(frozen=True)
class Panel:
    """The runs of one setting, which differ in the variant and the seed only."""

    title: str
    runs: list[StudyRun]


class Plotter:
    """A study's runs by variant and setting, each variant's look, and each run's number, by which a click finds it."""

    def __init__(self, study: Study):
        self.study, self.variants = study, study.variants
        self.number = {id(run): place for place, run in enumerate(study.runs)}
        self._place = {name: place for place, name in enumerate(self.variants)}
        self._settings = [key for key in study.varied if key != "seed" and not within(key, study.by)]

    def color(self, variant: str) -> str:
        """The variant's color; after eight they begin again, with other symbols."""
        return COLORS[self._place[variant] % len(COLORS)]

    def symbol(self, variant: str) -> str:
        """The variant's marker."""
        place = self._place[variant]
        return SYMBOLS[(place + place // len(COLORS)) % len(SYMBOLS)]

    def group(self, variant: str) -> str:
        """The name by which the legend shows and hides a variant's traces."""
        return f"v{self._place[variant]}"

    def trace(self, variant: str, **more: Any) -> Trace:
        """Something of a variant. Its hover is `text`, or `meta.hover` as filled in by the page.

        {x} and {y} stand for the point, {n} for its entry of `meta.n`, {run} for the description of the run whose
        number is in `customdata` or `meta.run`: so that no description is in the file twice.
        """
        return {"legendgroup": self.group(variant), "name": label(variant), "hoverinfo": "text"} | more

    def panels(self, runs: Sequence[StudyRun], over: str = "") -> list[Panel]:
        """The runs by setting, in the order of the settings' values; a key that charts are over makes none."""
        settings = [key for key in self._settings if key != over]
        order = {key: [text(value) for value in self.study.varied[key]] for key in settings}
        found: dict[tuple[str, ...], list[StudyRun]] = defaultdict(list)
        for run in runs:
            found[tuple(text(run.flat.get(key)) for key in settings)].append(run)
        keys = sorted(found, key=lambda some: [order[key].index(v) for key, v in zip(order, some, strict=True)])
        last = [key.rpartition(".")[2] for key in order]
        names = last if len(set(last)) == len(last) else list(order)
        return [
            Panel(brief(", ".join(map(" = ".join, zip(names, values, strict=True)))), found[values]) for values in keys
        ]

    def alike(self, panel: Panel, kind: quantities.Kind, key: str = "") -> list[Panel]:
        """The panel in parts, each of runs whose numbers of a kind are the same quantity: what may share an axis.

        `key` is the number's, where `vaex evaluate` measured it.
        """
        sources = [effects.source(run, key) for run in panel.runs]
        parts: dict[str, list[StudyRun]] = {}
        named = quantities.names(sources, kind)
        for run, source in zip(panel.runs, sources, strict=True):
            parts.setdefault(named[quantities.quantity(source, kind)], []).append(run)
        return [Panel(": ".join(filter(None, (panel.title, name))), runs) for name, runs in parts.items()]

    def by_variant(self, runs: Iterable[StudyRun]) -> list[tuple[str, list[StudyRun]]]:
        """The runs of each variant that has any, in the variants' order."""
        found: dict[str, list[StudyRun]] = defaultdict(list)
        for run in runs:
            found[run.variant].append(run)
        return [(name, found[name]) for name in self.variants if name in found]

    def numbers(self, runs: Sequence[StudyRun], which: Iterable[int]) -> list[int]:
        """The numbers of some of these runs."""
        return [self.number[id(runs[place])] for place in which]

    def describe(self, run: StudyRun) -> str:
        """A run's name, variant and what else was varied, for a hover."""
        values = ", ".join(f"{key.rpartition('.')[2]}={text(run.flat.get(key))}" for key in self.study.varied)
        return f"<b>{label(run.name)}</b> {label(run.variant)}<br>{label(values, 80)}"

    def culprits(self, runs: Sequence[StudyRun]) -> str:
        """`job 3: step 12 (kl)` of diverged runs, one a line."""
        lines = []
        for run in runs[:MOST_NAMED]:
            culprit = label(run.summary.get("culprit"))
            lines.append(f"{label(run.name)}: step {label(run.diverged_at)} ({culprit})")
        return "<br>".join([*lines, f"and {len(runs) - MOST_NAMED} more"] if len(runs) > MOST_NAMED else lines)


def layout(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """A chart's frame."""
    font = {"size": 12.5, "family": 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif'}
    margin = {"l": 8, "r": 14, "t": 8, "b": 8}
    hover = {"align": "left", "font": {"size": 12.5}}
    return {
        "xaxis": x, "yaxis": y, "margin": margin, "font": font,
        "showlegend": False, "hovermode": "closest", "hoverlabel": hover,
    }  # fmt: skip


def axis(title: str, **more: Any) -> dict[str, Any]:
    """One axis."""
    return {
        "title": {"text": title, "standoff": 8}, "automargin": True, "zeroline": False, "showline": True,
        "ticks": "outside", "ticklen": 4, "exponentformat": "power", **more,
    }  # fmt: skip


def decades(values: Iterable[float]) -> dict[str, Any]:
    """A log axis for these positive values: whole powers of ten, so many as can be read, once there are two of them.

    Between those of a narrower one 2 and 5, or all digits: with one tick nobody knows its scale.
    """
    span = float(np.ptp(np.log10([value for value in values if value > 0] or [1.0])))
    return {"type": "log", "dtick": int(np.ceil(span / 8)) if span > 1.5 else "D2" if span > 0.7 else "D1"}


def at_values(values: Sequence[float] | Sequence[int]) -> dict[str, Any]:
    """A log axis with a tick at each of these positive values, in order, less those too near to the last to be read."""
    least = np.log10(values[-1] / values[0]) / MOST_TICKS
    kept: list[float] = []
    for value in values:
        if not kept or np.log10(value / kept[-1]) >= least:
            kept.append(value)
    return {"type": "log", "tickvals": kept, "ticktext": [f"{value:.4g}" for value in kept]}


def reference(x: Sequence[float], y: Sequence[float]) -> Trace:
    """A grey dotted line that is not data."""
    line = {"color": GREY, "width": 1, "dash": "dot"}
    return {"x": short(x), "y": short(y), "mode": "lines", "line": line, "hoverinfo": "skip"}


def count(runs: Sequence[StudyRun]) -> str:
    """How many runs a chart is of, and how many of them diverged or were stopped early."""
    named = {"diverged": sum(run.status == "diverged" for run in runs)}
    named["stopped early"] = sum(run.status == "stopped" for run in runs)
    named["of another length"] = sum(run.status == OTHER_LENGTH for run in runs)
    if len(runs) == 1:
        return "It diverged." if named["diverged"] else "It was stopped early." if named["stopped early"] else ""
    return ", ".join([f"{len(runs)} runs", *(f"{some} {name}" for name, some in named.items() if some)]) + "."


def left_out(runs: Iterable[StudyRun]) -> str:
    """What a chart of runs that came to an end says of those that are not in it: stopped, or of another length."""
    some = list(runs)
    stopped, others = sum(run.stopped for run in some), sum(run.status == OTHER_LENGTH for run in some)
    told = f" {stopped} stopped early {_is(stopped)} not in it: what is left was chosen by results." if stopped else ""
    return told + (f" {others} of another length {_is(others)} not in it." if others else "")


def _is(count: int) -> str:
    return "are" if count > 1 else "is"


def dash(runs: Iterable[StudyRun]) -> str:
    """How a line through the means of some runs is drawn: broken where others of them were stopped early."""
    return "dash" if any(run.stopped for run in runs) else "solid"


def short(values: Iterable[float]) -> list[float]:
    """Five digits: what can be seen, and half the bytes."""
    return [float(f"{value:.5g}") for value in values]


def faint(color: str) -> str:
    """The color of an area."""
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def capital(title: str) -> str:
    """The title with a capital first letter."""
    return title[:1].upper() + title[1:]
