"""Charts of what happened while runs trained: curves, range of σ, gradient norms."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaex.report import bands
from vaex.report.charts import MOST_VARIANTS, Chart, Panel, Plotter, Trace, axis, count, decades, faint, layout, short
from vaex.report.page import label, shown
from vaex.study.study import StudyRun

MOST_LINES = 40
"""Runs of a study up to which each one's own curve is drawn within its variant's band."""


def curves(plotter: Plotter, panel: Panel, key: str, title: str, better: str) -> Chart:
    """A metric over the epochs: each variant's median and range over seeds, and where runs diverged."""
    data: list[Trace] = []
    for variant, runs in plotter.by_variant(panel.runs)[:MOST_VARIANTS]:
        values = bands.by_epoch(runs, key)
        data += _band(plotter, variant, runs, values)
        if len(plotter.study.runs) <= MOST_LINES and len(runs) > 1:
            data += [_line(plotter, run, line) for run, line in zip(runs, values, strict=True)]
    limits = bands.axis_range(bands.by_epoch(panel.runs, key), better)
    longest = max((len(run.rows) for run in panel.runs), default=0)
    frame = layout(axis("epoch", **_epochs(longest)), axis("nats per image"))
    note = count(panel.runs)
    if limits:
        frame["yaxis"]["range"] = list(limits)
        note += " Values beyond the axis are cut: double-click shows all."
    marks = _divergences(plotter, panel.runs)
    if marks:
        frame["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    return Chart(title, note, data + marks, frame)


def sigma(plotter: Plotter, panel: Panel) -> Chart | None:
    """|σ| over the steps: the smallest and the largest of any run, example and latent, one band a variant."""
    data: list[Trace] = []
    for variant, runs in plotter.by_variant(panel.runs)[:MOST_VARIANTS]:
        x, low = bands.by_step(runs, "sigma_min", np.nanmin)
        _, high = bands.by_step(runs, "sigma_max", np.nanmax)
        smallest, largest = (bands.band(x, np.where(edge > 0, edge, np.nan)) for edge in (low, high))
        data += _edge(plotter, variant, runs, smallest.x, smallest.low, smallest.lowest, "smallest")
        data += _edge(plotter, variant, runs, largest.x, largest.high, largest.highest, "largest")
    if not data:
        return None
    frame = layout(axis("optimizer step"), axis("|σ|", **decades(y for trace in data for y in trace["y"])))
    return Chart(panel.title, count(panel.runs), data, frame)


def gradients(plotter: Plotter, panel: Panel) -> Chart | None:
    """The gradient norms of all steps: quartiles, 1 % and 99 %, and the largest one."""
    data: list[Trace] = []
    ends: list[float] = []
    for variant, runs in reversed(plotter.by_variant(panel.runs)[:MOST_VARIANTS]):
        norms = [np.asarray(run.steps["grad_norm"] if run.steps else (), np.float64) for run in runs]
        norms = [norm[np.isfinite(norm) & (norm > 0)] for norm in norms]
        if sum(map(len, norms)):
            quantiles = [float(q) for q in np.quantile(np.concatenate(norms), [0.01, 0.25, 0.5, 0.75, 0.99])]
            ends += [quantiles[0], max(norm.max(initial=0.0) for norm in norms)]
            data += _box(plotter, variant, runs, norms, quantiles)
    if not data:
        return None
    frame = layout(axis("gradient norm, before clipping", **decades(ends)), axis("", type="category"))
    return Chart(panel.title, count(panel.runs), data, frame, 110 + 19 * len(ends))


def _band(plotter: Plotter, variant: str, runs: list[StudyRun], values: np.ndarray) -> list[Trace]:
    """The range as an area whose edges name their run, and the median; of one run its curve."""
    found, color = bands.band(range(1, values.shape[1] + 1), values), plotter.color(variant)
    if not found.x:
        return []
    marker = {"size": 5, "symbol": plotter.symbol(variant)}
    look = {"mode": "lines" if len(found.x) > 30 else "lines+markers", "marker": marker}
    look |= {"line": {"color": color, "width": 2.2}}
    if len(runs) == 1:
        meta = {"hover": "{run}<br>epoch {x}: {y}", "run": plotter.number[id(runs[0])]}
        return [plotter.trace(variant, x=found.x, y=short(found.middle), meta=meta, **look)]
    area = []
    for word, edge, which in (("smallest", found.low, found.lowest), ("largest", found.high, found.highest)):
        more: dict[str, Any] = {"fill": "tonexty", "fillcolor": faint(color)} if area else {}
        more |= {"mode": "lines", "line": {"width": 0, "color": color}, "customdata": plotter.numbers(runs, which)}
        meta = {"hover": word + " of {n}: {run}<br>epoch {x}: {y}", "n": found.count}
        area.append(plotter.trace(variant, x=found.x, y=short(edge), meta=meta, **more))
    hover = f"<b>{label(variant)}</b>: median of {{n}} of {len(runs)} runs<br>epoch {{x}}: {{y}}"
    meta = {"hover": hover, "n": found.count}
    return [*area, plotter.trace(variant, x=found.x, y=short(found.middle), meta=meta, **look)]


def _line(plotter: Plotter, run: StudyRun, values: np.ndarray) -> Trace:
    """A single run's thin curve."""
    found = bands.band(range(1, len(values) + 1), values[None])
    line = {"color": plotter.color(run.variant), "width": 0.8}
    meta = {"hover": "{run}<br>epoch {x}: {y}", "run": plotter.number[id(run)]}
    return plotter.trace(run.variant, x=found.x, y=short(found.middle), mode="lines", line=line, meta=meta)


def _divergences(plotter: Plotter, runs: Sequence[StudyRun]) -> list[Trace]:
    """Crosses along the lower edge: the epoch in which runs of a variant diverged; one row a variant."""
    traces = []
    diverged = plotter.by_variant(run for run in runs if run.status == "diverged")[:MOST_VARIANTS]
    for row, (variant, some) in enumerate(diverged):
        epochs: dict[int, list[StudyRun]] = defaultdict(list)
        for run in some:
            epochs[max(1, len(run.rows))].append(run)
        hover = [
            f"<b>{label(variant)}</b>: {len(them)} diverged in epoch {epoch}<br>{plotter.culprits(them)}"
            for epoch, them in epochs.items()
        ]
        marker = {"symbol": "x", "size": 10, "color": plotter.color(variant)}
        first = [plotter.number[id(them[0])] for them in epochs.values()]
        place = {"x": list(epochs), "y": [0.04 + 0.06 * row] * len(epochs), "yaxis": "y2", "cliponaxis": False}
        traces.append(plotter.trace(variant, **place, text=hover, mode="markers", marker=marker, customdata=first))
    return traces


def _edge(
    plotter: Plotter, variant: str, runs: list[StudyRun], x: list[float], y: list[float], which: list[int], word: str
) -> list[Trace]:
    """The lower or upper edge of the σ band; the upper one fills down to the lower."""
    if not x:
        return []
    color, meta = plotter.color(variant), {"hover": word + " |σ|: {run}<br>step {x}: {y}"}
    more: dict[str, Any] = {"fill": "tonexty", "fillcolor": faint(color)} if word == "largest" else {}
    more |= {"mode": "lines", "line": {"color": color, "width": 1.3}, "customdata": plotter.numbers(runs, which)}
    return [plotter.trace(variant, x=x, y=short(y), meta=meta, **more)]


def _box(
    plotter: Plotter, variant: str, runs: list[StudyRun], norms: list[np.ndarray], quantiles: list[float]
) -> list[Trace]:
    """A box from quantiles, which a log axis leaves where they are, and the largest value, which names its run."""
    p1, p25, p50, p75, p99 = quantiles
    most = max(range(len(runs)), key=lambda place: norms[place].max(initial=0.0))
    largest, color = float(norms[most].max()), plotter.color(variant)
    place: dict[str, Any] = {"y": [label(variant, 24)], "orientation": "h"}
    box = {"q1": [p25], "median": [p50], "q3": [p75], "lowerfence": [p1], "upperfence": [p99], "width": 0.5}
    look = {"marker": {"color": color}, "line": {"color": color, "width": 1.6}, "fillcolor": faint(color)}
    summary = ", ".join(f"{word} {shown(v)}" for word, v in (("1 %", p1), ("median", p50), ("99 %", p99)))
    invisible = {"color": color, "size": 14, "opacity": 0}
    bar = {"color": color, "size": 9, "symbol": "line-ns", "line": {"color": color, "width": 3}}
    hover = f"largest: {shown(largest)}<br>{plotter.describe(runs[most])}"
    chosen = plotter.numbers(runs, [most])
    return [
        plotter.trace(variant, type="box", **place, **box, **look | {"hoverinfo": "skip"}),
        plotter.trace(
            variant, x=[p50], **place, text=f"<b>{label(variant)}</b><br>{summary}", mode="markers", marker=invisible
        ),
        plotter.trace(variant, x=[largest], **place, text=hover, mode="markers", marker=bar, customdata=chosen),
    ]


def _epochs(longest: int) -> dict[str, Any]:
    """An axis of epochs: each one when they are few."""
    few = longest < 8
    return {"range": [0.5, longest + 0.5], "dtick": 1} if few else {"range": [0, longest * 1.02]}
