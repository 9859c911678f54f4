"""A population: each member's score from round to round, who went on from whom, and the values that each one had."""

from collections.abc import Mapping
from typing import Any

from vaex.report import page
from vaex.report.charts import COLORS, GREY, Chart, Trace, axis, layout, short
from vaex.report.page import label, shown
from vaex.report.search.look import BEST, keys
from vaex.searched.populations import Population, Round
from vaex.study.stability import number

Runs = Mapping[str, int]


def scores(found: Population, runs: Runs) -> Chart:
    """A line a member; where it goes on from a copy of another one, it goes on from that one's score."""
    data = [_copies(found), *(_member(found, member, runs) for member in range(found.members))]
    data += _diverged(found, runs)
    way = "higher" if found.maximised else "lower"
    frame = layout(axis("epoch", rangemode="tozero"), axis(f"{label(found.metric)}, {way} is better"))
    frame["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    note = "A line a member. Dotted: it goes on from a copy of the member at the other end."
    return Chart(f"{found.metric} by round", note, data, frame)


def values(found: Population) -> list[Chart]:
    """What each member had of each key that is a number, round after round."""
    charts = []
    for key in found.keys:
        data = [_steps(found, member, key) for member in range(found.members)]
        if any(trace["x"] for trace in data):
            scale = {"type": "log"} if key in found.logs else {}
            charts.append(Chart(key, "", data, layout(axis("epoch", rangemode="tozero"), axis("", **scale)), 260))
    return charts


def table(found: Population) -> str:
    """One row a member: score and values in the last round, and whose copies it has gone on from."""
    last = found.rounds[-1]
    rows = [
        [member, last.scores[member], *(last.values[member].get(key) for key in found.keys), _lineage(found, member)]
        for member in range(found.members)
    ]
    head = ["member", f"{found.metric} after epoch {last.epoch}", *found.keys, "went on from"]
    return page.table(head, [[page.cell(value) for value in row] for row in rows], sortable=True)


def _lineage(found: Population, member: int) -> str:
    copied = [(each.epoch, each.sources[member]) for each in found.rounds if member in each.sources]
    return ", ".join(f"member {source} after epoch {epoch}" for epoch, source in copied)


def _look(member: int) -> dict[str, Any]:
    return {"color": COLORS[member % len(COLORS)], "width": 1.8}


def _member(found: Population, member: int, runs: Runs) -> Trace:
    """Its scores; after a copy the line begins anew at the score of its source."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for each in found.rounds:
        x.append(each.epoch)
        y.append(each.scores[member])
        text.append(_hover(found, each, member))
        if member in each.sources:
            x += [None, each.epoch]
            y += [None, each.scores[each.sources[member]]]
            text += ["", _hover(found, each, each.sources[member])]
    place = runs.get(str(member), -1)
    best = found.best
    size = 9 if best and best[0] == member else 6
    return {
        "x": x, "y": [None if score is None else short([score])[0] for score in y], "mode": "lines+markers",
        "line": _look(member), "marker": {"size": size}, "text": text, "hoverinfo": "text",
        "customdata": [place] * len(x), "name": f"member {member}",
    }  # fmt: skip


def _hover(found: Population, each: Round, member: int) -> str:
    had = [f"{label(key)} = {_text(each.values[member].get(key))}" for key in found.keys] if each.values else []
    told = f"{label(found.metric)} {shown(each.scores[member], 5)}"
    return "<br>".join([f"<b>member {member}</b> after epoch {each.epoch}", told, *had])


def _text(value: Any) -> str:
    return shown(value) if number(value) is not None else label(value)


def _copies(found: Population) -> Trace:
    """From a member's score to that of the one that it goes on from."""
    x: list[int | None] = []
    y: list[float | None] = []
    for each in found.rounds:
        for member, source in each.sources.items():
            x += [each.epoch, each.epoch, None]
            y += [each.scores[member], each.scores[source], None]
    line = {"color": BEST, "width": 1.5, "dash": "dot"}
    return {"x": x, "y": y, "mode": "lines", "line": line, "hoverinfo": "skip"}


def _diverged(found: Population, runs: Runs) -> list[Trace]:
    some = [(each, member) for each in found.rounds for member, score in enumerate(each.scores) if score is None]
    return [{
        "x": [each.epoch for each, _ in some], "y": [0.03] * len(some), "yaxis": "y2", "mode": "markers",
        "marker": {"color": GREY, "symbol": "x", "size": 8}, "hoverinfo": "text",
        "text": [f"<b>member {member}</b> had diverged by epoch {each.epoch}" for each, member in some],
        "customdata": [runs.get(str(member), -1) for _, member in some],
    }] if some else []  # fmt: skip


def _steps(found: Population, member: int, key: str) -> Trace:
    """A member's value of a key over the epochs in which it had it."""
    x: list[int] = []
    y: list[float] = []
    begun = 0
    for each in found.rounds:
        value = number(each.values[member].get(key))
        if value is not None:
            x += [begun, each.epoch]
            y += short([value, value])
        begun = each.epoch
    line = _look(member)
    text = [f"<b>member {member}</b><br>{label(key)} = {shown(value)}" for value in y]
    return {
        "x": x,
        "y": y,
        "mode": "lines",
        "line": line,
        "text": text,
        "hoverinfo": "text",
        "name": f"member {member}",
    }


def title(found: Population) -> str:
    """What it is, in a few words."""
    return f"population of {found.members} members over {keys(len(found.keys))}"
