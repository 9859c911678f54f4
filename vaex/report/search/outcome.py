"""What a search found: which keys mattered, and of several objectives the trials that no other beats."""

import itertools
from collections.abc import Sequence

from vaex.report.charts import COLORS, Chart, Trace, axis, layout, short
from vaex.report.page import label, shown
from vaex.report.search.look import BEST, Shown, of_values
from vaex.searched import points
from vaex.searched.importance import Importance

MOST_KEYS = 20
"""Keys that have a bar."""

MOST_PAIRS = 3
"""Pairs of objectives that are drawn."""


def importance(name: str, found: Importance) -> Chart | None:
    """A bar a key, the most important on top."""
    if not found.lost:
        return None
    kept = sorted(found.lost.items(), key=lambda item: item[1][0])[-MOST_KEYS:]
    lost = [mean for _, (mean, _) in kept]
    bars: Trace = {
        "type": "bar", "orientation": "h", "y": [label(key, 40) for key, _ in kept], "x": short(lost),
        "error_x": {"array": short(deviation for _, (_, deviation) in kept), "color": "#888888", "thickness": 1},
        "marker": {"color": COLORS[0]}, "hoverinfo": "text",
        "text": [f"<b>{label(key)}</b>: {shown(mean, 3)} ± {shown(sd, 3)}" for key, (mean, sd) in kept],
        "textposition": "none", "width": 0.6,
    }  # fmt: skip
    frame = layout(axis("R² lost by shuffling"), axis("", type="category"))
    note = f"{found.trials} complete trials; R² on unseen ones {shown(found.r2, 2)}."
    return Chart(f"Importance of each key for {name}", note, [bars], frame, 110 + 30 * len(kept))


def fronts(drawn: Shown) -> list[Chart]:
    """Each pair of objectives; who is on the front of all of them is marked."""
    search = drawn.search
    trials = [trial for trial in search.trials if trial.complete]
    values = [[value or 0.0 for value in trial.values] for trial in trials]
    best = set(points.front(values, search.maximised))
    pairs = itertools.combinations(range(len(search.objectives)), 2)
    return [
        _front(drawn, first, second, best, values) for first, second in itertools.islice(pairs, MOST_PAIRS) if trials
    ]


def _front(drawn: Shown, first: int, second: int, best: set[int], values: Sequence[Sequence[float]]) -> Chart:
    search = drawn.search
    trials = [trial for trial in search.trials if trial.complete]
    data: list[Trace] = []
    along = sorted(best, key=lambda n: values[n][first])
    if len(search.objectives) == 2:
        # towards the worse value of the second, so that no corner promises what no trial has
        line = {"color": BEST, "width": 1.5, "shape": "hv" if not search.maximised[first] else "vh"}
        x, y = ([values[n][axis] for n in along] for axis in (first, second))
        data.append({"x": short(x), "y": short(y), "mode": "lines", "line": line, "hoverinfo": "skip"})
    for name, mine in (("others", [n for n in range(len(trials)) if n not in best]), ("front", along)):
        x, y = (short(values[n][axis] for n in mine) for axis in (first, second))
        if mine:
            points_of = drawn.points("complete", [trials[n] for n in mine], x, y)
            front = {"color": BEST, "symbol": "star", "size": 11}
            data.append(points_of | ({"marker": front} if name == "front" else {}))
    axes, outside = [], 0
    for each in (first, second):
        way = "higher" if search.maximised[each] else "lower"
        title = f"{label(search.objectives[each])}, {way} is better"
        found, left = of_values(title, [point[each] for point in values], search.maximised[each])
        axes.append(found)
        outside += left
    far = f" {outside} value{'s far off lie' if outside > 1 else ' far off lies'} outside." if outside else ""
    note = f"★ {len(best)} of {len(trials)} complete trials that no other beats in all objectives.{far}"
    return Chart(f"{search.objectives[second]} against {search.objectives[first]}", note, data, layout(*axes))
