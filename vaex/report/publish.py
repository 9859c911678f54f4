"""A comparison as a person gets it: on the screen, in compare.json, compare.csv and report.html."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from vaex import files
from vaex.errors import InputError, printable
from vaex.study import comparing, runs
from vaex.study.run import OTHER_LENGTH
from vaex.study.runs import Study
from vaex.study.sentences import NOT_COMPARABLE, percent, show
from vaex.terminal.screen import Screen

log = logging.getLogger("vaex")

STOPPED = "* over the runs that were not stopped early, chosen by results: not to be held against the others"


def of_sweep(directory: Path) -> None:
    """The comparison of a sweep that has just ended, with its verdicts printed; what goes wrong is one warning."""
    try:
        found = runs.read([directory])
        comparison = comparing.compare(found)
        write(found, comparison, directory)
        screen = Screen()
        for verdict in comparison["verdicts"] if len(found.variants) > 1 else comparison["apart"]:
            screen.print(verdict, markup=False)
        screen.print(f"report: {directory / 'report.html'}", markup=False)
    except Exception as error:  # the runs are on disk: their report must not turn a sweep into a failure
        log.warning("%s: no report (%s: %s)", directory, type(error).__name__, files.first_line(error))


def write(found: Study, comparison: dict[str, Any], directory: Path) -> None:
    """compare.json, compare.csv and report.html in `directory`; raises `InputError` where it cannot be written to."""
    from vaex.report import document  # late: the figures' library takes long to import

    try:
        directory.mkdir(parents=True, exist_ok=True)
        files.write_json(directory / "compare.json", comparison)
        files.write(directory / "compare.csv", _table(comparison).to_csv(index=False).encode())
        document.write(directory / "report.html", found, comparison)
    except OSError as error:
        raise InputError(f"{directory}: cannot be written to: {files.first_line(error)}") from error


def tell(comparison: Mapping[str, Any], screen: Screen) -> None:
    """One row a variant, then the verdicts."""
    screen.print(_rows(comparison))
    for verdict in comparison["verdicts"]:
        screen.print(f"- {verdict}", markup=False)


def _table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """One row a comparison: every single number of it."""
    return pd.DataFrame(
        [
            {"question": question["key"]} | {key: value for key, value in item.items() if not isinstance(value, list)}
            for question in comparison["questions"]
            for item in question["comparisons"]
        ]
    )


def _rows(comparison: Mapping[str, Any]) -> Table:
    """A variant's counts and means over its finished runs; beside them its paired differences from `against`."""
    asked = [
        question for question in comparison["questions"] if question["headline"] and question["key"] != "divergence"
    ]
    table = Table(title=f"by {printable(comparison['by'])}, against {comparison['against']}", title_justify="left")
    stopped = any(row["stopped"] for row in comparison["by_variant"].values())
    others = any(row[OTHER_LENGTH] for row in comparison["by_variant"].values())
    own = [*(["stopped"] if stopped else []), *([OTHER_LENGTH] if others else [])]
    counts = ("runs", "finished", *own, "diverged")
    if stopped:
        table.caption, table.caption_justify = STOPPED, "left"
    for name in ("variant", *counts, "loss spikes", "valid/elbo"):
        table.add_column(Text(name), justify="left" if name == "variant" else "right", overflow="fold")
    for question in asked:
        sign = "×" if question["scale"] == "ratio" else "Δ"
        table.add_column(Text(f"{sign} {question['title']}"), justify="right", overflow="fold")
    for name, row in comparison["by_variant"].items():
        rate = row["divergence"]
        share = f"{rate['count']} ({percent(rate['low'])} to {percent(rate['high'])})" if rate else "–"
        means = [show(row["means"].get(key, {}).get("mean")) for key in ("loss_spikes", "valid/elbo")]
        if row["stopped"]:
            means = [f"{mean} *" for mean in means]
        ended = [str(row[key]) for key in counts[:-1]]
        cells = [name, *ended, share, *means]
        table.add_row(*map(Text, [*cells, *(_effect(question, name) for question in asked)]))
    return table


def _effect(question: Mapping[str, Any], variant: str) -> str:
    for item in question["comparisons"]:
        if item["variant"] == variant:
            if item["answer"] == NOT_COMPARABLE:
                return NOT_COMPARABLE
            bounds = "too few" if item["p"] is None else f"{show(item['low'])} to {show(item['high'])}"
            return f"{show(item['estimate'])} ({bounds})"
    return ""
