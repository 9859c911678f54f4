"""Charts of how runs ended: intervals, rate and distortion, latent size."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vaex.disk.evaluation import PREFIX
from vaex.report import bands
from vaex.report.charts import (
    GREY,
    MOST_VARIANTS,
    Chart,
    Panel,
    Plotter,
    Trace,
    at_values,
    axis,
    capital,
    dash,
    decades,
    layout,
    left_out,
    reference,
    short,
)
from vaex.report.page import label, shown
from vaex.study.effects import value
from vaex.study.questions import asked
from vaex.study.runs import StudyRun, within
from vaex.study.stability import number

Point = tuple[StudyRun, float, float]
"""A run and where it lies in a chart."""

LATENTS = "model.latent_dim"
MOST_EVALUATED = 16
"""Numbers of `vaex evaluate` that get a chart each."""

BEYOND = " Outside the axes: {}; double-click shows all."


def intervals(plotter: Plotter, question: Mapping[str, Any]) -> Chart | None:
    """A question's estimate and 95 % interval, one row a variant; the dotted line is "no effect"."""
    items = [item for item in question["comparisons"] if item["estimate"] is not None][:MOST_VARIANTS]
    ratio = question["scale"] == "ratio"
    against = plotter.study.against
    if not items or question["key"] == "divergence":
        return None
    data = [_estimate(plotter, item) for item in reversed(items)]
    values = [item[key] for item in items for key in ("estimate", "low", "high") if item[key] is not None]
    title = f"× {against}" if ratio else f"difference from {against}"
    frame = layout(axis(label(title), **(decades(values) if ratio else {})), axis("", type="category"))
    nothing = 1.0 if ratio else 0.0
    line = {"color": GREY, "width": 1, "dash": "dot"}
    frame["shapes"] = [{"type": "line", "x0": nothing, "x1": nothing, "y0": 0, "y1": 1, "yref": "paper", "line": line}]
    span = [math.log10(v) if ratio else v for v in [*values, nothing] if v > 0 or not ratio]
    frame["xaxis"]["range"] = list(_padded(np.array(span)))
    note = "Mean over pairs, 95 % interval; hollow: too few seeds, or too uneven ones, for an interval."
    return Chart(capital(question["title"]), note, data, frame, 110 + 34 * len(items))


def rate_distortion(plotter: Plotter, panel: Panel) -> Chart | None:
    """Where runs ended: KL against reconstruction, with lines of equal ELBO."""
    points = _finals(panel.runs, "valid/kl", "valid/reconstruction")
    if not points:
        return None
    frame = layout(axis("rate: KL, nats per image"), axis("distortion: reconstruction, nats per image"))
    outside = set()
    for place, name in ((1, "xaxis"), (2, "yaxis")):
        values = np.array([point[place] for point in points])
        limits = bands.axis_range(values, "low") or _padded(values)
        frame[name]["range"] = list(limits)
        outside |= set(np.flatnonzero(values > limits[1]).tolist())
    data = _equal_elbo(frame["xaxis"]["range"], frame["yaxis"]["range"]) + _points(plotter, points)
    note = "Validation set, last epoch, runs that finished. Dotted lines join equal ELBOs; lower left is better."
    note += left_out(panel.runs)
    return Chart(panel.title, note + (BEYOND.format(len(outside)) if outside else ""), data, frame, 420)


def latents(plotter: Plotter) -> list[Chart]:
    """ELBO (a chart for each that is a quantity of its own) and active latents against the number of latents."""
    everything = Panel("", plotter.study.runs)
    title = "Validation ELBO against the number of latents, higher is better"
    charts = [
        _over_latents(
            plotter, part.runs, "valid/elbo", ": ".join(filter(None, (title, part.title))), "ELBO, nats per image"
        )
        for part in plotter.alike(everything, "bound")
    ]
    title, unit = "How many of the latents are used", "latents with a KL above 0.01 nats"
    charts.append(_over_latents(plotter, everything.runs, "active_latents", title, unit))
    charts += _evaluated(plotter)
    return [chart for chart in charts if chart is not None]


def _evaluated(plotter: Plotter) -> list[Chart | None]:
    """What `vaex evaluate` measured against the number of latents, a chart for each number and quantity."""
    charts = []
    for question in [each for each in asked(plotter.study.runs) if each.key.startswith(PREFIX)][:MOST_EVALUATED]:
        measured = Panel("", [run for run in plotter.study.runs if question.key in run.evaluation])
        for part in plotter.alike(measured, question.kind, question.key):
            title = ": ".join(filter(None, (question.key, part.title or measured_with(part.runs, question.key))))
            charts.append(_over_latents(plotter, part.runs, question.key, title, label(question.key)))
    return charts


def measured_with(runs: Sequence[StudyRun], key: str) -> str:
    """How these runs, in which it is one quantity, had a number measured."""
    return runs[0].evaluation[key].measured


def _over_latents(plotter: Plotter, runs: Sequence[StudyRun], key: str, title: str, unit: str) -> Chart | None:
    """A final value against the number of latents: every run, and the medians."""
    points = [(run, size, y) for run, size, y in _finals(runs, LATENTS, key) if size > 0]
    if not points:
        return None
    sizes = sorted({size for _, size, _ in points})
    frame = layout(axis("latent_dim", **at_values(sizes)), axis(unit))
    data = _medians(plotter, points, runs) + _points(plotter, points, key)
    note = "Last epoch of the runs that finished; the line joins the medians." + left_out(runs)
    note += " Bars: 95 % interval over examples." if any("error_y" in trace for trace in data) else ""
    values = np.array([y for *_, y in points])
    if key == "active_latents":
        data.insert(0, reference(sizes, sizes))
        note += " Dotted: all of them."
    elif limits := key.startswith("valid/") and bands.axis_range(values, "high"):
        frame["yaxis"]["range"] = list(limits)
        note += BEYOND.format(int((values < limits[0]).sum()))
    return Chart(title, note, data, frame)


def _estimate(plotter: Plotter, item: Mapping[str, Any]) -> Trace:
    """A marker with its interval; hollow where the runs were too few to have one."""
    variant, bounded = item["variant"], item["low"] is not None and item["high"] is not None
    color, estimate = plotter.color(variant), item["estimate"]
    marker: dict[str, Any] = {
        "color": color,
        "size": 9,
        "symbol": plotter.symbol(variant) + ("" if bounded else "-open"),
    }
    more: dict[str, Any] = {}
    if bounded:
        ends = {"array": [item["high"] - estimate], "arrayminus": [estimate - item["low"]]}
        more["error_x"] = {"type": "data", "symmetric": False, "color": color, **ends}
    bounds = f"{shown(item['low'])} to {shown(item['high'])}" if bounded else "no interval"
    hover = f"<b>{label(variant)}</b>: {shown(estimate)}<br>{bounds}<br>{item['pairs']} pairs, {item['seeds']} seeds"
    place = {"x": [estimate], "y": [label(variant, 24)], "text": [hover], "mode": "markers"}
    return plotter.trace(variant, marker=marker, **place, **more)


def _points(plotter: Plotter, points: Sequence[Point], key: str = "") -> list[Trace]:
    """One marker a run, one trace a variant; with its 95 % interval where `vaex evaluate` measured the number."""
    traces = []
    mine: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        mine[point[0].variant].append(point)
    for variant, some in mine.items():
        meta = {"hover": "{run}<br>{x}, {y}"}
        marker = {"color": plotter.color(variant), "size": 8, "opacity": 0.75, "symbol": plotter.symbol(variant)}
        place = {"x": short(x for _, x, _ in some), "y": short(y for *_, y in some), "mode": "markers"}
        runs = [plotter.number[id(run)] for run, *_ in some]
        errors = [run.evaluation[key].error if key in run.evaluation else None for run, *_ in some]
        if None not in errors:
            array = short(1.96 * error for error in errors if error is not None)
            place["error_y"] = {"type": "data", "array": array, "width": 0, "color": plotter.color(variant)}
        traces.append(plotter.trace(variant, **place, meta=meta, marker=marker, customdata=runs))
    return traces


def _medians(plotter: Plotter, points: Sequence[Point], runs: Sequence[StudyRun]) -> list[Trace]:
    """A line a variant through the medians at each size; one grey line when the variants are the sizes.

    Broken where others of the runs were stopped early.
    """
    lines: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, x, y in points:
        lines["" if within(LATENTS, plotter.study.by) else run.variant][x].append(y)
    traces = []
    for variant, found in lines.items():
        sizes = sorted(found)
        medians = short(float(np.median(found[size])) for size in sizes)
        style = {"x": sizes, "y": medians, "mode": "lines", "hoverinfo": "skip"}
        broken = dash(run for run in runs if not variant or run.variant == variant)
        line = {"color": plotter.color(variant) if variant else GREY, "width": 2, "dash": broken}
        traces.append(plotter.trace(variant, **style | {"line": line}) if variant else style | {"line": line})
    return traces


def _finals(runs: Iterable[StudyRun], x: str, y: str) -> list[Point]:
    """Two final values (or keys of the configuration) of every finished run that has both."""
    found = []
    for run in runs:
        across, up = (number(run.flat[key]) if key in run.flat else value(run, key) for key in (x, y))
        if run.status == "finished" and across is not None and up is not None:
            found.append((run, across, up))
    return found


def _equal_elbo(x: Sequence[float], y: Sequence[float]) -> list[Trace]:
    """Dotted lines reconstruction + KL = constant across the axes; those that begin at the top are named there."""
    traces = []
    for total in np.linspace(x[0] + y[0], x[1] + y[1], 8)[1:-1].tolist():
        upper = max(x[0], total - y[1]), min(y[1], total - x[0])
        lower = min(x[1], total - y[0]), max(y[0], total - x[1])
        line = reference([upper[0], lower[0]], [upper[1], lower[1]])
        if upper[0] > x[0]:
            font = {"size": 10.5, "color": GREY}
            name = [f"ELBO {shown(-total, 3)}", ""]
            line |= {"mode": "lines+text", "text": name, "textposition": "bottom right", "textfont": font}
        traces.append(line)
    return traces


def _padded(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin
