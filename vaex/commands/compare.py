"""`vaex compare DIR…`: tables, figures and verdicts of sweeps and runs, from what is on disk.

Pairs runs that differ only in `--by` and compares every variant with `--against`; see study/questions.py for what is
asked, study/comparing.py for how it is answered. Leaves compare.json, compare.csv and report.html.
"""

import argparse
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from vaex.commands import flags
from vaex.disk.directory import reserve
from vaex.errors import InputError
from vaex.report import publish
from vaex.study import comparing, runs
from vaex.study.stability import number
from vaex.terminal.screen import Screen

log = logging.getLogger("vaex")


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.Parser("compare", __doc__)
    found.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    found.add_argument("--by", metavar="KEY", help="what is compared: loss, model.latent_dim (what the runs differ in)")
    found.add_argument("--against", metavar="VALUE", help="the variant that the others are compared with")
    found.add_argument("--target", type=float, metavar="NATS", help="an ELBO, steps to which are counted")
    found.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 whenever a report was written."""
    chosen = _parse(arguments)
    found = runs.read(chosen.directories, chosen.by, chosen.against)
    directory = chosen.out or _directory(chosen.directories)
    comparison = comparing.compare(found, chosen.target)
    screen = Screen()
    for problem in comparison["problems"]:
        screen.print(f"not as it should be: {problem}", markup=False)
    publish.tell(comparison, screen)
    publish.write(found, comparison, directory)
    screen.print(f"report: {directory / 'report.html'}", markup=False)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    chosen = parser().read(arguments)
    if chosen.target is not None and number(chosen.target) is None:
        raise InputError(f"vaex compare: --target: expected a finite number of nats, got {chosen.target}")
    return chosen


def _directory(directories: Sequence[Path]) -> Path:
    """The one directory that was named, else a new one for this comparison."""
    if len(directories) == 1:
        return directories[0]
    return reserve(Path(datetime.now().strftime("outputs/compare/%Y-%m-%d/%H-%M-%S")))
