"""How a run ended, and its numbers, in lines and tables for people."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from vaex.disk.evaluation import PREFIX
from vaex.errors import printable
from vaex.judging.estimate import Estimate

TERMS = ("elbo", "reconstruction", "kl")
SPLITS = ("train", "valid", "test")

MOST_SIDE_BY_SIDE = 3
"""Runs that were measured, with a column each; of more runs each is a row."""

MANY_DIGITS = re.compile(r"(?<![\w.])-?\d+\.\d{6,}(?:e[-+]?\d+)?(?![\w.])")

COLOR = {
    "finished": "green",
    "diverged": "magenta",
    "stopped": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "refused": "red",
}


def how_it_ended(summary: Mapping[str, Any]) -> str:
    """The end of a run in a few words, in rich's markup."""
    status = summary["status"]
    text = f"{status} at epoch {summary.get('epoch', 0)}, step {summary.get('step', 0)}"
    if status == "diverged":
        text += f": {_why_it_diverged(summary)}"
    if status == "stopped":
        text += f": {_why_it_was_stopped(summary['stopped'])}"
    return f"[{COLOR[status]}]{text}[/]"


def _why_it_diverged(summary: Mapping[str, Any]) -> str:
    """What was first not finite and where, or that too many gradients in a row were too large."""
    if summary["culprit"] == "skip_above":
        return "too many steps in a row above training.skip_above"
    return f"{summary['culprit']} first not finite at step {summary['first_nonfinite_step']}"


def _why_it_was_stopped(stopped: Mapping[str, Any]) -> str:
    """The rule, and what the run's value was held against."""
    value, threshold = show(stopped["value"]), show(stopped["threshold"])
    against = "its best" if stopped["rule"] == "patience" else f"of {stopped['of']} runs"
    return f"{stopped['rule']}, {stopped['metric']} {value} against {threshold} {against}"


def terms_table(summary: Mapping[str, Any]) -> Table:
    """ELBO and its terms for each split, nats per image; of a diverged run that it diverged comes first."""
    diverged = [ended_as(summary)] if summary["status"] == "diverged" else []
    table = Table(title="; ".join([*diverged, "nats per image"]), title_justify="left")
    table.add_column("")
    for name in (*TERMS, "elbo_per_pixel"):
        table.add_column(name, justify="right")
    for split in SPLITS:
        if f"{split}/elbo" in summary:
            values = [show(summary[f"{split}/{term}"]) for term in TERMS]
            table.add_row(split, *values, show(summary[f"{split}/elbo_per_pixel"], 4))
    return table


def sweep_table(rows: Sequence[Mapping[Any, Any]], overrides: Sequence[str]) -> Table:
    """One row a job: what differs between the jobs, how it ended, its final numbers in nats per image."""
    varied = [name for name in overrides if len({str(row.get(name)) for row in rows}) > 1]
    table = Table(title="nats per image", title_justify="left")
    for name in ("job", *varied, "status", "valid/elbo", "test/elbo", "seconds"):
        table.add_column(Text(name), justify="right", overflow="fold")
    for row in rows:
        values = [Text(str(row.get(name, ""))) for name in varied]
        numbers = [show(row.get("valid/elbo")), show(row.get("test/elbo")), show(row.get("wall_seconds"), 1)]
        status = str(row["status"])
        table.add_row(str(row["job"]), *values, Text(ended_as(row), style=COLOR.get(status, "red")), *numbers)
    return table


def measured(summary: Mapping[Any, Any]) -> dict[str, Estimate]:
    """What `vaex evaluate` measured, of a summary or a row of sweep.csv, by the names of the values."""
    numbers = {str(key).removeprefix(PREFIX): value for key, value in summary.items() if str(key).startswith(PREFIX)}
    found = {name: value for name, value in numbers.items() if isinstance(value, int | float) and value == value}
    return {
        name: Estimate(value, found.get(f"{name}_se"))
        for name, value in found.items()
        if not (name.endswith("_se") and name.removesuffix("_se") in found)
    }


def measured_table(found: Mapping[Path, Mapping[str, Estimate | None]]) -> Table:
    """Value ± standard error of every metric of some runs: few runs side by side, of many each in a row."""
    runs = sorted(found, key=lambda path: (path.parent, len(path.name), path.name))
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    few = len(runs) <= MOST_SIDE_BY_SIDE
    alone = len({run.parent for run in runs}) == 1
    shown = Table(title="value ± standard error over images", title_justify="left")
    for title in ("", *(map(str, runs) if few else names)):
        shown.add_column(Text(printable(title)), justify="right" if title else "left", overflow="fold")
    if few:
        for name in names:
            shown.add_row(Text(name), *(_with_error(found[run].get(name)) for run in runs))
    else:
        for run in runs:
            cells = (_with_error(found[run].get(name)) for name in names)
            shown.add_row(Text(printable(run.name if alone else run)), *cells)
    return shown


def _with_error(each: Estimate | None) -> Text:
    if each is None:
        return Text("–")
    if each.error is None:
        return Text(f"{each.value:.4g}")
    digits = 2 if abs(each.value) >= 10 else 4
    return Text(f"{show(each.value, digits)} ± {show(each.error, digits)}")


def ended_as(row: Mapping[Any, Any]) -> str:
    """`finished`, or `diverged at step 12 (kl)`, of a summary or a row of sweep.csv."""
    culprit = row.get("culprit")
    step = row.get("step" if culprit == "skip_above" else "first_nonfinite_step")
    if row["status"] != "diverged" or not isinstance(step, int | float) or step != step:
        return str(row["status"])
    return f"diverged at step {step:.0f} ({culprit})"


def show(value: float | None, digits: int = 2) -> str:
    """A number for people, short where nobody would read all its digits; a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:.3g}" if abs(value) >= 1e9 else f"{value:.{digits}f}"


def brief(text: str) -> str:
    """A text for a narrow place: numbers that a search has drawn with three digits of their sixteen."""
    return MANY_DIGITS.sub(lambda found: f"{float(found[0]):.3g}", text)


def clock(seconds: float) -> str:
    """12 s, 3 min 20 s, 1 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )
