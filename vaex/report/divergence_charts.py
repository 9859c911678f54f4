"""Charts of where training breaks: how often runs diverged, and what became of the loss, over the learning rate."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaex.report.charts import (
    MOST_VARIANTS,
    Chart,
    Panel,
    Plotter,
    Trace,
    at_values,
    axis,
    dash,
    layout,
    left_out,
    reference,
    short,
)
from vaex.report.page import label
from vaex.study import effects
from vaex.study.questions import LEARNING_RATE
from vaex.study.runs import StudyRun, text
from vaex.study.stability import number

type_of_points = dict[float, list[tuple[StudyRun, float, float]]]
"""By learning rate: runs with their losses, and the most that each can count as."""


def rates(plotter: Plotter, by_variant: Mapping[str, Any]) -> Chart | None:
    """Each variant's share of runs that diverged, with Wilson's interval."""
    found = {name: rate for name in plotter.variants[:MOST_VARIANTS] if (rate := by_variant[name]["divergence"])}
    if not any(rate["count"] for rate in found.values()):
        return None
    data = []
    for name in reversed(found):
        rate, color = found[name], plotter.color(name)
        share, low, high = (100 * rate[key] for key in ("share", "low", "high"))
        hover = f"<b>{label(name)}</b>: {rate['count']} of {rate['total']} diverged<br>{low:.0f} % to {high:.0f} %"
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [high - share],
            "arrayminus": [share - low],
            "color": color,
        }
        marker = {"color": color, "size": 9, "symbol": plotter.symbol(name)}
        more = {"x": [share], "y": [label(name, 24)], "text": [hover], "error_x": bars, "mode": "markers"}
        data.append(plotter.trace(name, marker=marker, **more))
    frame = layout(axis("% of runs", range=[-3, 103]), axis("", type="category"))
    note = f"Share of each variant's runs, Wilson's 95 % interval.{left_out(plotter.study.runs)}"
    return Chart("Diverged runs", note, data, frame, 110 + 34 * len(found))


def losses(plotter: Plotter, panel: Panel) -> Chart | None:
    """Final loss against learning rate, capped at the loss at initialisation: every run, and a line by the medians."""
    found: dict[str, type_of_points] = defaultdict(lambda: defaultdict(list))
    starts = []
    for run in panel.runs:
        rate, known = number(run.flat.get(LEARNING_RATE)), effects.capped([run])
        if rate is not None and rate > 0 and known is not None:
            found[run.variant][rate].append((run, known[0][0], known[1]))
            starts.append(known[1])
    everything = sorted({rate for points in found.values() for rate in points})
    if len(everything) < 2:
        return None
    names = [name for name in plotter.variants[:MOST_VARIANTS] if name in found]
    data = [reference([everything[0], everything[-1]], [float(np.median(starts))] * 2)]
    for name in names:
        data += _curve(plotter, name, found[name], dash(run for run in panel.runs if run.variant == name))
    frame = layout(axis("learning rate", **at_values(everything)), axis("final loss: −ELBO, nats per image"))
    note = (
        "Validation set. Line: medians over seeds, of what counts. Dotted: the median loss at initialisation, that is "
        "of the first step, on a training batch. A run counts as its own at most: open triangle: it ended above it; "
        "×: it diverged. A variant that begins lower is capped lower: its sensitivity is of its own range."
    )
    return Chart(panel.title, note + left_out(panel.runs), data, frame, 420)


def _ended(run: StudyRun, cap: float) -> tuple[str, str]:
    """The symbol of a run that counts as its cap, and what it ended at; empty where it counts as it is."""
    elbo = number(run.summary.get("valid/elbo"))
    if run.status == "diverged":
        return "x", f"diverged at step {label(run.diverged_at)}, counts as {cap:.5g}"
    if elbo is None or -elbo > cap:
        ended = "no finite loss" if elbo is None else f"ended at {-elbo:.5g}"
        return "triangle-up-open", f"{ended}, counts as {cap:.5g}, its loss at initialisation"
    return "", ""


def _curve(plotter: Plotter, variant: str, points: type_of_points, broken: str) -> list[Trace]:
    """One variant: the line by its medians, and a marker a run."""
    rates, color = sorted(points), plotter.color(variant)
    medians = short(float(np.median([loss for _, loss, _ in points[rate]])) for rate in rates)
    line = {"x": rates, "y": medians, "mode": "lines", "hoverinfo": "skip"}
    line |= {"line": {"color": color, "width": 2, "dash": broken}}
    runs = [(rate, *each) for rate in rates for each in points[rate]]
    ends = [_ended(run, cap) for _, run, _, cap in runs]
    symbols = [symbol or plotter.symbol(variant) for symbol, _ in ends]
    marks = {"x": [rate for rate, *_ in runs], "y": short(loss for _, _, loss, _ in runs), "mode": "markers"}
    marks |= {"marker": {"color": color, "size": 8, "opacity": 0.75, "symbol": symbols}}
    numbers = [plotter.number[id(run)] for _, run, *_ in runs]
    told = [end or f"{loss:.5g}" for (_, _, loss, _), (_, end) in zip(runs, ends, strict=True)]
    meta = {"hover": "{run}<br>{x}: {n}", "n": told}
    hover = plotter.trace(variant, **marks, meta=meta, customdata=numbers)
    return [plotter.trace(variant, **line), hover]


def divergence(plotter: Plotter) -> list[Chart]:
    """Variant × learning rate, one chart for each pair of precisions: the share of runs that diverged."""
    found: dict[str, list[StudyRun]] = defaultdict(list)
    for run in plotter.study.runs:
        if run.status in ("finished", "diverged"):
            network, posterior = (text(run.flat.get(f"precision.{part}")) for part in ("network", "posterior"))
            found[f"network {network}, posterior {posterior}"].append(run)
    return [_map(plotter, title, found[title]) for title in sorted(found)]


def _map(plotter: Plotter, title: str, runs: list[StudyRun]) -> Chart:
    """One heat map; a cell's text is `diverged/runs`, its click leads to its first diverged run."""
    cells: dict[tuple[str, str], list[StudyRun]] = defaultdict(list)
    for run in runs:
        cells[run.variant, text(run.flat.get(LEARNING_RATE))].append(run)
    rates = list(
        dict.fromkeys(text(rate) for rate in plotter.study.varied.get(LEARNING_RATE, [runs[0].flat.get(LEARNING_RATE)]))
    )
    rates = [rate for rate in rates if any(rate == other for _, other in cells)]
    names = [name for name in plotter.variants[:MOST_VARIANTS] if any(name == other for other, _ in cells)][::-1]
    rows = [[cells.get((name, rate), []) for rate in rates] for name in names]
    bad = [[[run for run in cell if run.status == "diverged"] for cell in row] for row in rows]
    both = [list(zip(*rows_of_both, strict=True)) for rows_of_both in zip(rows, bad, strict=True)]
    trace = {
        "type": "heatmap",
        "x": [label(rate) for rate in rates],
        "y": [label(name, 24) for name in names],
        "z": [[len(worse) / len(cell) if cell else None for cell, worse in row] for row in both],
        "text": [[f"{len(worse)}/{len(cell)}" if cell else "" for cell, worse in row] for row in both],
        "hovertext": [[_cell(plotter, cell, worse) for cell, worse in row] for row in both],
        "customdata": [[plotter.number[id((w or c)[0])] if c else None for c, w in row] for row in both],
        "texttemplate": "%{text}",
        "hoverinfo": "text",
        "colorscale": [[0, "rgba(213,94,0,0.05)"], [1, "rgba(213,94,0,0.85)"]],
        **{"zmin": 0, "zmax": 1, "showscale": False, "xgap": 3, "ygap": 3},
    }
    frame = layout(axis("learning rate", type="category", showgrid=False), axis("", type="category", showgrid=False))
    note = f"Diverged of {len(runs)} runs that finished or diverged."
    return Chart(title, note, [trace], frame, 110 + 38 * len(names))


def _cell(plotter: Plotter, runs: Sequence[StudyRun], diverged: Sequence[StudyRun]) -> str:
    if not runs:
        return "no run"
    head = f"<b>{label(runs[0].variant)}</b>: {len(diverged)} of {len(runs)} diverged"
    return f"{head}<br>{plotter.culprits(diverged)}" if diverged else head
