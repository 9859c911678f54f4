"""Early stopping: which jobs came to which rung, what they were held against, and who went on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from vaex.disk.stops import Decision
from vaex.report import page
from vaex.report.charts import COLORS, GREY, Chart, Trace, axis, layout, short
from vaex.report.page import label, shown
from vaex.report.search.look import of_values
from vaex.study import quantities

MOST_JOBS = 400
"""Jobs whose way through the rungs has a line."""

MOST_MARKERS = 4000
"""Decisions that a chart shows: of more, every so manieth; a rule without rungs is asked at each epoch."""

Runs = Mapping[str, int]


def groups(decisions: Sequence[Decision]) -> list[tuple[str, list[Decision]]]:
    """The decisions of one rule, metric and bracket each, by what they are called."""
    found: dict[tuple[str, str, int | None], list[Decision]] = defaultdict(list)
    for each in decisions:
        found[each.rule, each.metric, each.bracket].append(each)
    several = len({key[2] for key in found}) > 1
    return [
        (f"{rule} on {metric}" + (f", bracket {bracket}" if several and bracket is not None else ""), some)
        for (rule, metric, bracket), some in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def chart(title: str, decisions: Sequence[Decision], runs: Runs) -> Chart:
    """Each job's value at each epoch at which it was judged; a dash is the last threshold there."""
    known = [each for each in decisions if each.value is not None]
    every, few = -(-len(known) // MOST_MARKERS) or 1, _few(decisions)
    data = [_ways(known)] if len({each.job for each in known}) <= MOST_JOBS and every == 1 else []
    for stopped, look in (
        (False, {"color": COLORS[0], "symbol": "circle", "size": 6}),
        (True, {"color": COLORS[1], "symbol": "x", "size": 8}),
    ):
        mine = [each for each in known if each.stopped == stopped][::every]
        if mine:
            data.append({
                "x": [_place(each) for each in mine], "y": short(each.value or 0.0 for each in mine),
                "mode": "markers", "marker": look, "text": [_hover(each, few) for each in mine], "hoverinfo": "text",
                "customdata": [runs.get(str(each.job), -1) for each in mine],
            })  # fmt: skip
    data.append(_thresholds(decisions))
    y, outside = of_values(label(decisions[0].metric), [each.value or 0.0 for each in known], _higher(decisions))
    far = f" {outside} far worse value{'s lie' if outside > 1 else ' lies'} outside." if outside else ""
    far += f" Of {len(known)} decisions every {every}. is drawn." if every > 1 else ""
    went_on = "" if all(each.stopped for each in decisions) else " dot went on,"
    note = f"{len({each.job for each in decisions})} jobs; × stopped,{went_on} dash: the last threshold there.{far}"
    return Chart(title, note, data, layout(_epochs(decisions), y))


def table(decisions: Sequence[Decision]) -> str:
    """Of each rung (or epoch): how many came, went on and were stopped, and the thresholds."""
    found: dict[tuple[int, int | None], list[Decision]] = defaultdict(list)
    for each in decisions:
        found[each.epoch, each.rung].append(each)
    rows: list[list[Any]] = []
    for (epoch, rung), some in sorted(found.items(), key=lambda item: item[0][0]):
        held = [each.threshold for each in some if each.threshold is not None]
        stopped = sum(each.stopped for each in some)
        ends = [held[0], held[-1]] if held else [None, None]
        rows.append([rung, epoch, len(some), len(some) - stopped, stopped, *ends])
    head = ["rung", "epoch", "jobs that came", "went on", "stopped", "first threshold", "last threshold"]
    if all(row[0] is None for row in rows):  # a rule without rungs notes only whom it stops
        rows, head = [[row[1], *row[4:]] for row in rows if row[4]], [head[1], *head[4:]]
    return page.table(head, [[page.cell(value) for value in row] for row in rows], sortable=True)


def _place(each: Decision) -> int | str:
    return each.epoch if each.rung is None else f"epoch {each.epoch}"


def _epochs(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Rungs side by side; of a rule without them the epochs as they are."""
    if decisions[0].rung is None:
        return axis("epoch", rangemode="tozero")
    order = [f"epoch {epoch}" for epoch in sorted({each.epoch for each in decisions})]
    return axis("rung", type="category", categoryorder="array", categoryarray=order)


def _higher(decisions: Sequence[Decision]) -> bool:
    """Whether higher values are better, as the rule had it."""
    meaning = quantities.better(decisions[0].metric)
    return meaning is None or meaning[1] == "high"


def _few(decisions: Sequence[Decision]) -> int | None:
    """Of how many runs there was a threshold: of fewer there was none for want of runs. None where there never was."""
    return min((each.of for each in decisions if each.threshold is not None and each.of is not None), default=None)


def _ways(decisions: Sequence[Decision]) -> Trace:
    """Each job's way from rung to rung, as one trace with gaps."""
    of_job: dict[int, list[Decision]] = defaultdict(list)
    for each in decisions:
        of_job[each.job].append(each)
    x: list[int | str | None] = []
    y: list[float | None] = []
    for some in of_job.values():
        x += [*map(_place, some), None]
        y += [*short(each.value or 0.0 for each in some), None]
    return {"x": x, "y": y, "mode": "lines", "line": {"color": GREY, "width": 0.6}, "opacity": 0.6, "hoverinfo": "skip"}


def _thresholds(decisions: Sequence[Decision]) -> Trace:
    last = {_place(each): each for each in decisions if each.threshold is not None}
    look = {"symbol": "line-ew", "size": 26, "line": {"width": 2.5, "color": COLORS[2]}}
    hover = [f"threshold {shown(each.threshold, 5)} of {shown(each.of)} runs" for each in last.values()]
    y = short(each.threshold or 0.0 for each in last.values())
    return {"x": list(last), "y": y, "mode": "markers", "marker": look, "text": hover, "hoverinfo": "text"}


def _hover(each: Decision, few: int | None) -> str:
    held = f"threshold {shown(each.threshold, 5)}" if each.threshold is not None else _why_none(each, few)
    end = "stopped" if each.stopped else "went on"
    where = f"epoch {each.epoch}" + (f", rung {each.rung}" if each.rung is not None else "")
    of = f" of {each.of} runs" if each.of is not None else ""
    return f"<b>job {each.job}</b> {end}<br>{where}: {shown(each.value, 5)}<br>{held}{of}"


def _why_none(each: Decision, few: int | None) -> str:
    """Why there was no threshold: a finite one there may not have been, however many runs there were."""
    if few is None or each.of is None:
        return "no threshold: too few to compare with, or none is finite"
    return "too few to compare with" if each.of < few else "the threshold is not finite"
