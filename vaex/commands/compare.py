"""`vaex compare DIR…`: tables, figures and verdicts of sweeps and runs, from what is on disk.

Pairs runs that differ only in `--by` and compares every variant with `--against`; see questions.py for what is asked
and how it is answered. Leaves compare.json, compare.csv and report.html.
"""

import argparse
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from typing_extensions import override

from vaex.disk.directory import reserve
from vaex.errors import InputError
from vaex.report import comparison as report
from vaex.study import questions, study
from vaex.study.stability import number
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
    report.tell(comparison, screen)
    report.write(found, comparison, directory)
    screen.print(f"report: {directory / 'report.html'}", markup=False)
    return 0


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
    return reserve(Path(datetime.now().strftime("outputs/compare/%Y-%m-%d/%H-%M-%S")))
