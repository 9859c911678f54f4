"""`vaex diff A [B]`: in what two runs or sweeps differ; exit code 1 where it is anything that decides numbers.

A and B are directories of runs or sweeps, overrides as one types them for `vaex` (experiment=book, "loss=sigma seed=3")
or `defaults`, which B is unless it is named. Compared are configuration, data, versions and machine, code, results, and
the first step at which the two part.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from vaex import files
from vaex.checks import differences
from vaex.checks.differences import Difference, Side
from vaex.commands import flags, train
from vaex.config.compose import conf_directory
from vaex.config.validation import nearest
from vaex.device import backend
from vaex.disk import provenance
from vaex.errors import InputError, printable
from vaex.terminal.screen import Screen
from vaex.tracking import tracker

DEFAULTS = "defaults"
"""The word for what `vaex` alone would run."""


def main(arguments: Sequence[str]) -> int:
    """The verb; exit code 0 when nothing that decides numbers differs, else 1."""
    flags.refuse("diff", arguments)
    if not 1 <= len(arguments) <= 2:
        raise InputError(f"vaex diff: expected two runs, sweeps or experiments, got {len(arguments)}: vaex diff A B")
    words = [*arguments, DEFAULTS][:2]
    here = [not files.exists(Path(word)) for word in words]
    surroundings: dict[str, object] = {}
    if any(here) and not all(here):  # what would be run here and now has versions and a machine too
        backend.start()
        surroundings = provenance.surroundings()
    first, second = (_side(word, surroundings) for word in words)
    found = differences.between(first, second)
    screen = Screen()
    for line in (*first.problems, *second.problems):
        screen.print(f"not as it should be: {line}", markup=False)
    if found:
        screen.print(_table(found, first, second))
    deciding = sum(each.decides for each in found)
    screen.print(f"differences that decide numbers, or are some: {deciding or 'none'}", markup=False)
    return 1 if deciding else 0


def _side(word: str, surroundings: dict[str, object]) -> Side:
    path = Path(word)
    if files.exists(path):
        return differences.of_directory(path)
    if word != DEFAULTS and "=" not in word:
        known = [DEFAULTS, *(f"experiment={file.stem}" for file in (conf_directory() / "experiment").glob("*.yaml"))]
        hint = nearest(f"experiment={word}", known)
        raise InputError(f"{word}: no such run or sweep directory, and neither overrides nor {DEFAULTS}{hint}")
    try:
        overrides = [] if word == DEFAULTS else shlex.split(word)
    except ValueError as error:
        raise InputError(f"{word}: cannot be read as overrides ({error})") from error
    jobs = train.composed(overrides, checked=False).jobs
    return differences.of_configurations(word, map(tracker.resolved, jobs), surroundings)


def _table(found: Sequence[Difference], first: Side, second: Side) -> Table:
    """One row a difference; what decides no number is dim."""
    table = Table()
    for title in ("", first.name, second.name):
        table.add_column(Text(printable(title)), overflow="fold")
    for each in found:
        cells = map(Text, (each.key if each.decides else f"{each.key} (decides no number)", each.first, each.second))
        table.add_row(*cells, style=None if each.decides else "dim")
    return table
