"""The report's charts as plain data for Plotly: every string from disk escaped, one color a variant, little data."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaex import bands
from vaex.page import label, shown
from vaex.stability import number
from vaex.study import Study, StudyRun, text, within

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A", "#C9B800")
"""Okabe and Ito's palette for every kind of color vision; grey for its black and a darker yellow, to be seen on any page."""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "star", "hexagon")
GREY = "#888888"

MOST_LINES = 40
"""Runs of a study up to which each one's own curve is drawn within its variant's band."""

MOST_NAMED = 8
"""Runs that a hover names."""

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
    """Charts of one study, with each variant's color and each run's number, by which a click finds its directory."""

    def __init__(self, study: Study):
        self.study, self.variants = study, study.variants
        self._place = {name: place for place, name in enumerate(self.variants)}
        self._number = {id(run): place for place, run in enumerate(study.runs)}
        self._settings = [key for key in study.varied if key != "seed" and not within(key, study.by)]

    def color(self, variant: str) -> str:
        """The variant's color; after eight they begin again, with other symbols."""
        return COLORS[self._place[variant] % len(COLORS)]

    def group(self, variant: str) -> str:
        """The name by which the legend shows and hides a variant's traces."""
        return f"v{self._place[variant]}"

    def panels(self, runs: Sequence[StudyRun]) -> list[Panel]:
        """The runs by setting, in the order of the settings' values."""
        order = {key: [text(value) for value in self.study.varied[key]] for key in self._settings}
        found: dict[tuple[str, ...], list[StudyRun]] = defaultdict(list)
        for run in runs:
            found[tuple(text(run.flat.get(key)) for key in self._settings)].append(run)
        keys = sorted(found, key=lambda some: [order[key].index(v) for key, v in zip(self._settings, some, strict=True)])
        return [Panel(self._setting(values), found[values]) for values in keys]

    def curves(self, panel: Panel, key: str, title: str, better: str, everything: np.ndarray | None = None) -> Chart:
        """A metric over the epochs: each variant's median and range over seeds, and where runs diverged."""
        data: list[Trace] = []
        for variant, runs in self._by_variant(panel.runs):
            values = bands.by_epoch(runs, key)
            data += self._band(variant, runs, list(range(1, values.shape[1] + 1)), values, "epoch", len(runs) > 1)
            if len(self.study.runs) <= MOST_LINES and len(runs) > 1:
                data += [self._line(variant, run, line) for run, line in zip(runs, values, strict=True)]
        shown_range = bands.axis_range(bands.by_epoch(panel.runs, key) if everything is None else everything, better)
        layout = _layout(_axis("epoch"), _axis("nats per image"))
        if shown_range:
            layout["yaxis"]["range"] = list(shown_range)
        longest = max((len(run.rows) for run in panel.runs), default=0)
        layout["xaxis"] |= {"range": [0.5, longest + 0.5] if longest < 8 else [0, longest * 1.02]}
        if longest < 8:
            layout["xaxis"]["dtick"] = 1
        marks = self._divergences(panel.runs)
        if marks:
            layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
        return Chart(title, _note(panel, shown_range is not None), data + marks, layout)

    def sigma(self, panel: Panel) -> Chart | None:
        """|σ| over the steps: the smallest and the largest of any run, example and latent, one band a variant."""
        data: list[Trace] = []
        for variant, runs in self._by_variant(panel.runs):
            x, low = bands.by_step(runs, "sigma_min", np.nanmin)
            _, high = bands.by_step(runs, "sigma_max", np.nanmax)
            smallest, largest = bands.band(x, np.where(low > 0, low, np.nan)), bands.band(x, high)
            data += self._edge(variant, runs, smallest.x, smallest.low, smallest.lowest, "smallest")
            data += self._edge(variant, runs, largest.x, largest.high, largest.highest, "largest")
        if not data:
            return None
        return Chart(panel.title, _count(panel.runs), data, _layout(_axis("optimizer step"), _axis("|σ|", log=True)))

    def gradients(self, panel: Panel) -> Chart | None:
        """The gradient norms of all steps: quartiles, 1 % and 99 %, and the largest one."""
        data: list[Trace] = []
        for variant, runs in reversed(self._by_variant(panel.runs)):
            norms = [np.asarray(run.steps["grad_norm"] if run.steps else (), np.float64) for run in runs]
            norms = [norm[np.isfinite(norm) & (norm > 0)] for norm in norms]
            if sum(map(len, norms)):
                data += self._box(variant, runs, norms)
        if not data:
            return None
        names = len({trace["y"][0] for trace in data})
        layout = _layout(_axis("gradient norm (global 2-norm, before clipping)", log=True), _axis("", type="category"))
        return Chart(panel.title, _count(panel.runs), data, layout, 110 + 38 * names)

    def divergence(self) -> list[Chart]:
        """Variant × learning rate, one chart for each pair of precisions: the share of runs that diverged."""
        found: dict[str, list[StudyRun]] = defaultdict(list)
        for run in self.study.runs:
            if run.status in ("finished", "diverged"):
                found[f"network {_flat(run, 'precision.network')}, posterior {_flat(run, 'precision.posterior')}"].append(run)
        return [self._map(title, found[title]) for title in sorted(found)]

    def rate_distortion(self) -> Chart | None:
        """Where runs ended: KL against reconstruction, with lines of equal ELBO."""
        points = _finals(self.study.runs, "valid/kl", "valid/reconstruction")
        if not points:
            return None
        x, y = (np.array([point[place] for point in points]) for place in (1, 2))
        ranges = [bands.axis_range(values, "low") for values in (x, y)]
        layout = _layout(_axis("rate: KL, nats per image"), _axis("distortion: reconstruction, nats per image"))
        for axis, limits, values in zip(("xaxis", "yaxis"), ranges, (x, y), strict=True):
            layout[axis]["range"] = list(limits or _padded(values))
        outside = sum(bool(r and value > r[1]) for r, some in zip(ranges, (x, y), strict=True) for value in some)
        data = _equal_elbo(layout["xaxis"]["range"], layout["yaxis"]["range"]) + self._points(points)
        note = "Validation set, last epoch, runs that finished. Along a dotted line the ELBO is equal; lower left is better."
        if outside:
            note += f" {outside} points lie outside: double-click shows all."
        return Chart("Rate and distortion: the same ELBO can be spent differently", note, data, layout, 420)

    def latents(self) -> list[Chart]:
        """ELBO and active latents against the number of latents: every run, and each variant's median."""
        key = "model.latent_dim"
        sizes = sorted({size for run in self.study.runs if (size := number(run.flat.get(key))) and size > 0})
        ticks = {"tickvals": sizes, "ticktext": [f"{size:g}" for size in sizes]}
        charts = []
        for name, title, unit in (
            ("valid/elbo", "Validation ELBO against the number of latents", "ELBO, nats per image (higher is better)"),
            ("active_latents", "Latents that are used", "active latents (KL above 0.01 nats)"),
        ):
            points = [(run, size, y) for run, size, y in _finals(self.study.runs, key, name) if size > 0]
            if not points:
                continue
            layout = _layout(_axis("latent_dim", log=True, **ticks), _axis(unit))
            data = self._medians(points) + self._points(points)
            if name == "active_latents":
                data.insert(0, _reference(sizes, sizes, "as many as there are"))
            elif limits := bands.axis_range(np.array([y for *_, y in points]), "high"):
                layout["yaxis"]["range"] = list(limits)
            charts.append(Chart(title, "Last epoch of the runs that finished; the line joins the medians.", data, layout))
        return charts

    def describe(self, run: StudyRun) -> str:
        """A run's name, variant and what else was varied, for a hover."""
        values = ", ".join(f"{key.rpartition('.')[2]}={text(run.flat.get(key))}" for key in self.study.varied)
        return f"<b>{label(run.name)}</b> {label(run.variant)}<br>{label(values, 80)}"

    def _by_variant(self, runs: Iterable[StudyRun]) -> list[tuple[str, list[StudyRun]]]:
        found: dict[str, list[StudyRun]] = defaultdict(list)
        for run in runs:
            found[run.variant].append(run)
        return [(name, found[name]) for name in self.variants if name in found]

    def _setting(self, values: Sequence[str]) -> str:
        return ", ".join(f"{key} = {value}" for key, value in zip(self._settings, values, strict=True))

    def _trace(self, variant: str, **more: Any) -> Trace:
        return {"legendgroup": self.group(variant), "name": label(variant), "hoverinfo": "text"} | more

    def _band(
        self, variant: str, runs: list[StudyRun], x: list[int], values: np.ndarray, unit: str, filled: bool
    ) -> list[Trace]:
        """The range as an area whose edges name their run, and the median."""
        found, color = bands.band(x, values), self.color(variant)
        if not found.x:
            return []
        low, high = (
            [f"{word} of {count}: {self.describe(runs[run])}<br>{unit} {place:g}: {shown(value)}"
             for place, value, run, count in zip(found.x, edge, which, found.count, strict=True)]
            for word, edge, which in (("smallest", found.low, found.lowest), ("largest", found.high, found.highest))
        )  # fmt: skip
        edge = {"x": found.x, "mode": "lines", "line": {"width": 0, "color": color}}
        area = [
            self._trace(variant, **edge, y=_short(found.low), text=low, customdata=self._numbers(runs, found.lowest)),
            self._trace(variant, **edge, y=_short(found.high), text=high, customdata=self._numbers(runs, found.highest),
                        fill="tonexty", fillcolor=_faint(color)),
        ]  # fmt: skip
        who = f"median of {{}} of {len(runs)} runs: <b>{label(variant)}</b>" if filled else self.describe(runs[0])
        hover = [f"{who.replace('{}', str(n))}<br>{unit} {place:g}: {shown(value)}"
                 for place, value, n in zip(found.x, found.middle, found.count, strict=True)]  # fmt: skip
        mode = "lines" if len(found.x) > 30 else "lines+markers"
        marker = {"size": 5, "symbol": self._symbol(variant)}
        line = {"color": color, "width": 2.2}
        middle = self._trace(variant, x=found.x, y=_short(found.middle), text=hover, mode=mode, marker=marker, line=line)
        if not filled:
            middle["meta"] = {"run": self._number[id(runs[0])]}
        return [*(area if filled else []), middle]

    def _line(self, variant: str, run: StudyRun, values: np.ndarray) -> Trace:
        """A single run's thin curve."""
        found = bands.band(list(range(1, len(values) + 1)), values[None])
        hover = [f"{self.describe(run)}<br>epoch {x:g}: {shown(y)}" for x, y in zip(found.x, found.middle, strict=True)]
        line = {"color": self.color(variant), "width": 0.8}
        meta = {"run": self._number[id(run)]}
        return self._trace(variant, x=found.x, y=_short(found.middle), text=hover, mode="lines", line=line, meta=meta)

    def _divergences(self, runs: Sequence[StudyRun]) -> list[Trace]:
        """Crosses along the lower edge: the epoch in which runs of a variant diverged; one row a variant."""
        traces = []
        for row, (variant, some) in enumerate(self._by_variant(run for run in runs if run.status == "diverged")):
            epochs: dict[int, list[StudyRun]] = defaultdict(list)
            for run in some:
                epochs[max(1, len(run.rows))].append(run)
            hover = [f"{len(them)} diverged in epoch {epoch}: {label(variant)}<br>{self._culprits(them)}"
                     for epoch, them in epochs.items()]  # fmt: skip
            marker = {"symbol": "x", "size": 10, "color": self.color(variant), "line": {"width": 0}}
            first = [self._number[id(them[0])] for them in epochs.values()]
            traces.append(self._trace(variant, x=list(epochs), y=[0.04 + 0.06 * row] * len(epochs), yaxis="y2", text=hover,
                                      mode="markers", marker=marker, customdata=first, cliponaxis=False))  # fmt: skip
        return traces

    def _culprits(self, runs: Sequence[StudyRun]) -> str:
        """`job 3: step 12 (kl)`, one a line."""
        lines = [
            f"{label(run.name)}: step {label(run.summary.get('first_nonfinite_step'))} ({label(run.summary.get('culprit'))})"
            for run in runs[:MOST_NAMED]
        ]
        return "<br>".join([*lines, f"and {len(runs) - MOST_NAMED} more"] if len(runs) > MOST_NAMED else lines)

    def _edge(
        self, variant: str, runs: list[StudyRun], x: list[float], y: list[float], which: list[int], word: str
    ) -> list[Trace]:
        """The lower or upper edge of the σ band; the upper one fills down to the lower."""
        if not x:
            return []
        hover = [f"{word} |σ|: {self.describe(runs[run])}<br>step {place:g}: {shown(value)}"
                 for place, value, run in zip(x, y, which, strict=True)]  # fmt: skip
        fill = {"fill": "tonexty", "fillcolor": _faint(self.color(variant))} if word == "largest" else {}
        return [self._trace(variant, x=x, y=_short(y), text=hover, customdata=self._numbers(runs, which), mode="lines",
                            line={"color": self.color(variant), "width": 1.3}, **fill)]  # fmt: skip

    def _box(self, variant: str, runs: list[StudyRun], norms: list[np.ndarray]) -> list[Trace]:
        """A box from quantiles, which a log axis leaves where they are, and the largest value, which names its run."""
        p1, p25, p50, p75, p99 = (float(q) for q in np.quantile(np.concatenate(norms), [0.01, 0.25, 0.5, 0.75, 0.99]))
        most = max(range(len(runs)), key=lambda place: norms[place].max(initial=0.0))
        largest, color, name = float(norms[most].max()), self.color(variant), label(variant, 24)
        box = {"q1": [p25], "median": [p50], "q3": [p75], "lowerfence": [p1], "upperfence": [p99], "width": 0.5}
        hover = f"largest: {shown(largest)}<br>{self.describe(runs[most])}"
        summary = "<br>".join(f"{word}: {shown(v)}" for word, v in (("1 %", p1), ("median", p50), ("99 %", p99)))
        common = {"y": [name], "orientation": "h"}
        return [
            self._trace(variant, type="box", **common, **box, marker={"color": color}, line={"color": color, "width": 1.6},
                        fillcolor=_faint(color), hoverinfo="skip"),
            self._trace(variant, x=[p50], y=[name], text=[f"<b>{label(variant)}</b><br>{summary}"], mode="markers",
                        marker={"color": color, "size": 14, "opacity": 0}),
            self._trace(variant, x=[largest], y=[name], text=[hover], mode="markers", customdata=self._numbers(runs, [most]),
                        marker={"color": color, "size": 9, "symbol": "line-ns", "line": {"color": color, "width": 3}}),
        ]  # fmt: skip

    def _map(self, title: str, runs: list[StudyRun]) -> Chart:
        """One heat map; a cell's text is `diverged/runs`, its click leads to its first diverged run."""
        key = "optimizer.learning_rate"
        rates = sorted({text(run.flat.get(key)) for run in runs}, key=lambda rate: (number(_value(rate)) or 0.0, rate))
        names = [name for name in reversed(self.variants) if any(run.variant == name for run in runs)]
        cells = [[[run for run in runs if (run.variant, text(run.flat.get(key))) == (name, rate)] for rate in rates]
                 for name in names]  # fmt: skip
        bad = [[[run for run in some if run.status == "diverged"] for some in row] for row in cells]
        pairs = [list(zip(*both, strict=True)) for both in zip(cells, bad, strict=True)]
        trace = {
            "type": "heatmap",
            "x": [label(rate) for rate in rates],
            "y": [label(name, 24) for name in names],
            "z": [[len(worse) / len(some) if some else None for some, worse in row] for row in pairs],
            "text": [[f"{len(worse)}/{len(some)}" if some else "" for some, worse in row] for row in pairs],
            "hovertext": [[self._cell(some, worse) for some, worse in row] for row in pairs],
            "customdata": [[self._number[id((worse or some)[0])] if some else None for some, worse in row] for row in pairs],
            "texttemplate": "%{text}",
            "hoverinfo": "text",
            "colorscale": [[0, "rgba(213,94,0,0.05)"], [1, "rgba(213,94,0,0.85)"]],
            "zmin": 0, "zmax": 1, "showscale": False, "xgap": 3, "ygap": 3,
        }  # fmt: skip
        layout = _layout(_axis("learning rate", type="category", showgrid=False), _axis("", type="category", showgrid=False))
        return Chart(title, f"Runs that diverged, of {len(runs)} that ended by themselves.", [trace], layout, 110 + 38 * len(names))

    def _cell(self, runs: Sequence[StudyRun], diverged: Sequence[StudyRun]) -> str:
        if not runs:
            return "no run"
        head = f"<b>{label(runs[0].variant)}</b>: {len(diverged)} of {len(runs)} diverged"
        return f"{head}<br>{self._culprits(diverged)}" if diverged else head

    def _points(self, points: Sequence[tuple[StudyRun, float, float]]) -> list[Trace]:
        """One marker a run, one trace a variant."""
        traces = []
        for variant, runs in self._by_variant(run for run, *_ in points):
            mine = [point for point in points if point[0].variant == variant]
            hover = [f"{self.describe(run)}<br>{shown(x)}, {shown(y)}" for run, x, y in mine]
            marker = {"color": self.color(variant), "size": 8, "opacity": 0.75, "symbol": self._symbol(variant)}
            traces.append(self._trace(variant, x=_short(x for _, x, _ in mine), y=_short(y for *_, y in mine), text=hover,
                                      mode="markers", marker=marker, customdata=[self._number[id(run)] for run in runs]))  # fmt: skip
        return traces

    def _medians(self, points: Sequence[tuple[StudyRun, float, float]]) -> list[Trace]:
        """A line a variant through the medians at each x, when variants are something else than x."""
        lines: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for run, x, y in points:
            lines["" if within("model.latent_dim", self.study.by) else run.variant][x].append(y)
        traces = []
        for variant, found in lines.items():
            sizes = sorted(found)
            style = {"x": sizes, "y": _short(float(np.median(found[x])) for x in sizes), "mode": "lines", "hoverinfo": "skip"}
            if variant:
                traces.append(self._trace(variant, **style | {"line": {"color": self.color(variant), "width": 2}}))
            else:
                traces.append(style | {"line": {"color": GREY, "width": 2}})
        return traces

    def _symbol(self, variant: str) -> str:
        place = self._place[variant]
        return SYMBOLS[(place + place // len(COLORS)) % len(SYMBOLS)]

    def _numbers(self, runs: Sequence[StudyRun], which: Iterable[int]) -> list[int]:
        return [self._number[id(runs[place])] for place in which]


def _finals(runs: Iterable[StudyRun], x: str, y: str) -> list[tuple[StudyRun, float, float]]:
    """Two final values (or keys of the configuration) of every finished run that has both."""
    found = []
    for run in runs:
        pair = [number(run.summary.get(key, run.flat.get(key))) for key in (x, y)]
        if run.status == "finished" and pair[0] is not None and pair[1] is not None:
            found.append((run, pair[0], pair[1]))
    return found


def _equal_elbo(x: Sequence[float], y: Sequence[float]) -> list[Trace]:
    """Dotted lines reconstruction + KL = constant across the axes, each named at its lower end."""
    sums = np.linspace(x[0] + y[0], x[1] + y[1], 8)[1:-1]
    traces = []
    for total in sums:
        ends = [(max(x[0], total - y[1]), min(y[1], total - x[0])), (min(x[1], total - y[0]), max(y[0], total - x[1]))]
        traces.append(_reference([end[0] for end in ends], [end[1] for end in ends], f"ELBO {shown(-float(total))}"))
    return traces


def _reference(x: Sequence[float], y: Sequence[float], name: str) -> Trace:
    """A grey dotted line that is not data."""
    line = {"color": GREY, "width": 1, "dash": "dot"}
    return {"x": _short(x), "y": _short(y), "mode": "lines", "line": line, "hoverinfo": "text", "text": name}


def _layout(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    font = {"size": 12.5, "family": 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif'}
    margin = {"l": 8, "r": 14, "t": 8, "b": 8}
    return {"xaxis": x, "yaxis": y, "margin": margin, "showlegend": False, "hovermode": "closest", "font": font,
            "hoverlabel": {"align": "left", "font": {"size": 12.5}}}  # fmt: skip


def _axis(title: str, log: bool = False, **more: Any) -> dict[str, Any]:
    kind = {"type": "log", "exponentformat": "power", "minor": {"ticks": ""}} if log else {"exponentformat": "power"}
    return {"title": {"text": title, "standoff": 8}, "automargin": True, "zeroline": False, "showline": True,
            "ticks": "outside", "ticklen": 4, **kind, **more}  # fmt: skip


def _note(panel: Panel, cut: bool) -> str:
    note = _count(panel.runs)
    return note + " Values beyond the axis are cut: double-click shows all." if cut else note


def _count(runs: Sequence[StudyRun]) -> str:
    diverged = sum(run.status == "diverged" for run in runs)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}" + (f", {diverged} diverged (×)." if diverged else ".")


def _padded(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _short(values: Iterable[float]) -> list[float]:
    """Five digits: what can be seen, and half the bytes."""
    return [float(f"{value:.5g}") for value in values]


def _faint(color: str) -> str:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def _flat(run: StudyRun, key: str) -> str:
    return text(run.flat.get(key))


def _value(rate: str) -> float | None:
    try:
        return float(rate)
    except ValueError:
        return None
