"""The values of a search's trials in their order, with the best so far."""

from vaex.report.charts import Chart, Trace, axis, layout, short
from vaex.report.page import label
from vaex.report.search.look import BEST, LOOK, Shown, counted, of_values
from vaex.searched import points


def chart(drawn: Shown, objective: int) -> Chart:
    """One objective by trial; failed ones, which have no value, along the lower edge."""
    search = drawn.search
    maximised, name = search.maximised[objective], search.objectives[objective]
    data = [_best(drawn, objective)]
    for state in LOOK:
        known = [trial for trial in search.trials if trial.state == state and trial.values[objective] is not None]
        if known:
            values = short(trial.values[objective] or 0.0 for trial in known)
            data.append(drawn.points(state, known, [trial.number for trial in known], values))
    data += _without_value(drawn, objective)
    values = [trial.values[objective] or 0.0 for trial in search.trials if trial.values[objective] is not None]
    y, outside = of_values(f"{label(name)}, {'higher' if maximised else 'lower'} is better", values, maximised)
    frame = layout(axis("trial", range=[-0.6, max(trial.number for trial in search.trials) + 0.6]), y)
    frame["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    return Chart(f"{name} by trial", counted(search, outside), data, frame)


def _best(drawn: Shown, objective: int) -> Trace:
    """The best complete value so far, as a staircase."""
    trials, up = drawn.search.trials, drawn.search.maximised[objective]
    best = points.best_so_far([trial.values[objective] if trial.complete else None for trial in trials], up)
    found = [(trial.number, value) for trial, value in zip(trials, best, strict=True) if value is not None]
    line = {"color": BEST, "width": 2, "shape": "hv"}
    hover = {"hover": "best up to trial {x}: {y}"}
    y = short(value for _, value in found)
    return {"x": [n for n, _ in found], "y": y, "mode": "lines", "line": line, "hoverinfo": "text", "meta": hover}


def _without_value(drawn: Shown, objective: int) -> list[Trace]:
    some = [
        each for each in drawn.search.trials if each.state in ("failed", "stopped") and each.values[objective] is None
    ]
    found = []
    for state in dict.fromkeys(trial.state for trial in some):
        mine = [trial for trial in some if trial.state == state]
        found.append(drawn.points(state, mine, [t.number for t in mine], [0.03] * len(mine)) | {"yaxis": "y2"})
    return found
