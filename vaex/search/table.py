"""trials.csv, one row a trial, and what a person is told of a search when it ends."""

import csv
import io
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaex import files
from vaex.disk.sweep import TRIALS
from vaex.errors import printable
from vaex.search.plan import Plan
from vaex.search.study import Study, Trial
from vaex.terminal.tables import show

if TYPE_CHECKING:
    from vaex.disk.results import GrowingTable

MOST_SHOWN = 5
"""Trials of a Pareto front that are told."""


def growing(directory: Path, plan: Plan, study: Study) -> "GrowingTable":
    """trials.csv while trials end, which the owner of the study updates."""
    from vaex.disk.results import GrowingTable  # late: a lone run need not wait for pandas

    return GrowingTable(directory / TRIALS, lambda: write(directory, plan, study))


def write(directory: Path, plan: Plan, study: Study) -> None:
    """Write trials.csv of the study as it is."""
    text = io.StringIO()
    rows = [_row(directory, plan, trial) for trial in study.trials()]
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write(directory / TRIALS, text.getvalue().encode())


def _row(directory: Path, plan: Plan, trial: Trial) -> Mapping[str, object]:
    keys, seeds = plan.settings.objective, len(plan.seeds)
    values = dict(zip(keys, trial.values, strict=False)) if trial.state in ("complete", "stopped") else {}
    spread = dict(zip(keys, trial.spread, strict=False))
    several = len(keys) > 1
    numbers = map(str, range(trial.number * seeds, (trial.number + 1) * seeds))
    return {
        "trial": trial.number,
        "state": trial.state,
        **{each.key: trial.parameters.get(each.key, "") for each in plan.parameters},
        **{key if several else "value": values.get(key, "") for key in keys},
        **{f"spread/{key}" if several else "spread": spread.get(key, "") for key in keys},
        "jobs": " ".join(number for number in numbers if (directory / number).exists()),
        "reason": trial.reason,
    }


def told(directory: Path, plan: Plan, study: Study) -> list[str]:
    """The best trial, or those on the Pareto front, and the commands that train them again; else why there is none."""
    best, lines = study.best(), []
    kind = "on the Pareto front" if len(plan.directions) > 1 else "best"
    for trial in best[:MOST_SHOWN]:
        point = " ".join(each.override(trial.parameters[each.key]) for each in plan.parameters)
        lines.append(printable(f"{kind}: trial {trial.number}, {_values(plan, trial)}  {point}"))
        lines.append(printable(f"  again: {_again(directory, plan, trial)}"))
    if len(best) > MOST_SHOWN:
        lines.append(f"and {len(best) - MOST_SHOWN} more on the Pareto front: {TRIALS}")
    return lines or [_why_none(plan, study.trials())]


def headline(plan: Plan, states: Sequence[str], best: Sequence[Trial]) -> str:
    """How far a search is whose trials so far have these states."""
    text = f"trials {sum(state != 'running' for state in states)}/{plan.trials}"
    if len(plan.directions) > 1:
        text += f", {len(best)} on the Pareto front" if best else ""
    elif best:
        text += f", best {show(best[0].values[0])} (trial {best[0].number})"
    counts = {state: states.count(state) for state in ("stopped", "failed")}
    return text + "".join(f", {count} {state}" for state, count in counts.items() if count)


def _again(directory: Path, plan: Plan, trial: Trial) -> str:
    """The line for a shell that trains each of a trial's jobs again, with the plugins that have to be named again."""
    plugins = next(iter(plan.bases.values()))["plugins"]
    named = " " + shlex.quote(f"plugins=[{','.join(map(str, plugins))}]") if plugins else ""
    first, place = trial.number * len(plan.seeds), shlex.quote(str(directory))
    if len(plan.seeds) == 1:
        return f"vaex reproduce {place}/{first}{named}"
    jobs = " ".join(str(first + number) for number in range(len(plan.seeds)))
    return f"for job in {jobs}; do vaex reproduce {place}/$job{named}; done"


def _why_none(plan: Plan, trials: Sequence[Trial]) -> str:
    """Why there is no best: no trial has been complete so far, or none was when all had ended."""
    states = Counter(trial.state for trial in trials)
    running = states.pop("running", 0)
    if not states:
        return "no trial has come to its end yet"
    reasons = [f"trial {trial.number}: {trial.reason}" for trial in trials if trial.reason]
    why = f": {'; '.join(reasons[:MOST_SHOWN])}{'; …' if len(reasons) > MOST_SHOWN else ''}" if reasons else ""
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    if running or len(trials) < plan.trials:
        return printable(f"no trial is complete so far: {told}{why} ({TRIALS})")
    count = f"{len(trials)} trial{'s' * (len(trials) != 1)}"
    if states["failed"] == len(trials):
        return printable(f"{'all ' if len(trials) > 1 else ''}{count} failed{why} ({TRIALS})")
    return printable(f"none of {count} is complete: {told}{why} ({TRIALS})")


def _values(plan: Plan, trial: Trial) -> str:
    spread = trial.spread or (None,) * len(trial.values)
    parts = [
        f"{key} {show(value, 4)}" + ("" if each is None else f" ± {show(each, 4)} over {len(plan.seeds)} seeds")
        for key, value, each in zip(plan.settings.objective, trial.values, spread, strict=True)
    ]
    return ", ".join(parts)
