"""`vaex compare DIR…`: tables, figures and verdicts of sweeps and runs, from what is on disk.

Pairs runs that differ only in `--by` and compares every variant with `--against`; see questions.py for what is asked
and how it is answered. Leaves compare.json, compare.csv and report.html.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from vaex import files
from vaex.errors import InputError, printable
from vaex.study import questions, study
from vaex.study.answers import NOT_COMPARABLE, percent, show
from vaex.study.stability import number
from vaex.study.study import Study
from vaex.terminal.screen import Screen

log = logging.getLogger("vaex")


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"vaex compare: {message}")


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 whenever a report was written."""
    chosen = _parse(arguments)
    found = study.read(chosen.directories, chosen.by, chosen.against)
    directory = chosen.out or _directory(chosen.directories)
    comparison = questions.compare(found, chosen.target)
    screen = Screen()
    for problem in comparison["problems"]:
        screen.print(f"not as it should be: {problem}", markup=False)
    tell(comparison, screen)
    write(found, comparison, directory)
    screen.print(f"report: {directory / 'report.html'}", markup=False)
    return 0


def sweep(directory: Path) -> None:
    """The comparison of a sweep that has just ended, with its verdicts printed; what goes wrong is one warning."""
    try:
        found = study.read([directory])
        comparison = questions.compare(found)
        write(found, comparison, directory)
        screen = Screen()
        for verdict in comparison["verdicts"] if len(found.variants) > 1 else comparison["apart"]:
            screen.print(verdict, markup=False)
        screen.print(f"report: {directory / 'report.html'}", markup=False)
    except Exception as error:  # the runs are on disk: their report must not turn a sweep into a failure
        log.warning("%s: no report (%s: %s)", directory, type(error).__name__, files.first_line(error))


def write(found: Study, comparison: dict[str, Any], directory: Path) -> None:
    """compare.json, compare.csv and report.html in `directory`; raises `InputError` where it cannot be written to."""
    from vaex.report import report  # late: the figures' library takes long to import

    try:
        directory.mkdir(parents=True, exist_ok=True)
        files.write_json(directory / "compare.json", comparison)
        files.write(directory / "compare.csv", _table(comparison).to_csv(index=False).encode())
        report.write(directory / "report.html", found, comparison)
    except OSError as error:
        raise InputError(f"{directory}: cannot be written to: {files.first_line(error)}") from error


def tell(comparison: Mapping[str, Any], screen: Screen) -> None:
    """One row a variant, then the verdicts."""
    screen.print(_rows(comparison))
    for verdict in comparison["verdicts"]:
        screen.print(f"- {verdict}", markup=False)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="vaex compare", add_help=False, allow_abbrev=False)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--by")
    parser.add_argument("--against")
    parser.add_argument("--target", type=float, metavar="NATS")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.target is not None and number(chosen.target) is None:
        raise InputError(f"vaex compare: --target: expected a finite number of nats, got {chosen.target}")
    return chosen


def _directory(directories: Sequence[Path]) -> Path:
    """The one directory that was named, else a new one for this comparison."""
    if len(directories) == 1:
        return directories[0]
    from vaex.commands.train import reserve

    return reserve(Path(datetime.now().strftime("outputs/compare/%Y-%m-%d/%H-%M-%S")))


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
    for name in ("variant", "runs", "finished", "diverged", "loss spikes", "valid/elbo"):
        table.add_column(Text(name), justify="left" if name == "variant" else "right", overflow="fold")
    for question in asked:
        sign = "×" if question["scale"] == "ratio" else "Δ"
        table.add_column(Text(f"{sign} {question['title']}"), justify="right", overflow="fold")
    for name, row in comparison["by_variant"].items():
        rate = row["divergence"]
        share = f"{rate['count']} ({percent(rate['low'])} to {percent(rate['high'])})" if rate else "–"
        means = [show(row["means"].get(key, {}).get("mean")) for key in ("loss_spikes", "valid/elbo")]
        cells = [name, str(row["runs"]), str(row["finished"]), share, *means]
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
