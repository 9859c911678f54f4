"""`vaex diff A [B]`: in what two runs or sweeps differ; exit code 0 where it is nothing that decides results.

A and B are directories of runs or sweeps, overrides as one types them for `vaex` (experiment=book, "loss=sigma seed=3")
or `defaults`, which B is unless it is named. Compared are configuration, data, versions and machine, code, results, and
the first step at which the two part. Exit code 1 where any of it differs, was altered since, or could not be compared.
--config-dir=DIR says where experiments and options of your own are.
"""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from rich.table import Table
from rich.text import Text

from vaex import files
from vaex.checks import differences, sides
from vaex.checks.differences import Difference
from vaex.checks.sides import Side
from vaex.commands import flags, train
from vaex.config.compose import conf_directory
from vaex.device import backend
from vaex.disk import provenance
from vaex.errors import InputError, printable
from vaex.terminal.screen import Screen
from vaex.tracking import tracker

DEFAULTS = "defaults"
"""The word for what `vaex` alone would run."""


def main(arguments: Sequence[str]) -> int:
    """The verb; exit code 0 when nothing that decides results differs and all could be compared, else 1."""
    typed, flag = flags.with_config_dir(arguments)
    flags.refuse("diff", typed, [flags.CONFIG_DIR])
    if not 1 <= len(typed) <= 2:
        raise InputError(f"vaex diff: expected two runs, sweeps or experiments, got {len(typed)}: vaex diff A B")
    words = [*typed, DEFAULTS][:2]
    here = [not files.exists(Path(word)) for word in words]
    surroundings: dict[str, object] = {}
    if any(here) and not all(here):  # what would be run here and now has versions and a machine too
        backend.start()
        surroundings = provenance.surroundings()
    first, second = (_side(word, flag, surroundings) for word in words)
    return _tell(first, second)


def _tell(first: Side, second: Side) -> int:
    found, lacking = differences.between(first, second), sides.not_compared(first, second)
    altered = [*first.altered, *second.altered]
    screen = Screen()
    for title, lines in (
        ("not as it should be", (*first.problems, *second.problems)),
        ("not as the run left it", altered),
        ("not compared", lacking),
    ):
        for line in lines:
            screen.print(f"{title}: {line}", markup=False)
    if found:
        screen.print(_table(found, first, second))
    deciding = sum(each.decides for each in found)
    screen.print(_verdict(deciding, [*altered, *lacking]), markup=False)
    return 1 if deciding or altered or lacking else 0


def _verdict(deciding: int, doubts: Sequence[str]) -> str:
    if deciding:
        return f"{deciding} difference{'s' * (deciding > 1)} in what decides results, or in results"
    if doubts:
        return "no difference found, but not everything could be compared as the runs left it"
    return "no difference in what decides results, nor in results"


def _side(word: str, flag: Sequence[str], surroundings: dict[str, object]) -> Side:
    path = Path(word)
    if files.exists(path):
        return sides.of_directory(path)
    if word != DEFAULTS and "=" not in word:
        raise InputError(f"{word}: no such run or sweep directory, and neither overrides nor {DEFAULTS}{_hint(word)}")
    try:
        overrides = [] if word == DEFAULTS else shlex.split(word)
    except ValueError as error:
        raise InputError(f"{word}: cannot be read as overrides ({error})") from error
    jobs = train.composed([*flag, *overrides], checked=False).jobs
    return sides.of_configurations(word, map(tracker.resolved, jobs), surroundings)


def _hint(word: str) -> str:
    """What was meant: `DEFAULTS`, or an experiment whose name alone was typed."""
    known = [DEFAULTS, *(file.stem for file in (conf_directory() / "experiment").glob("*.yaml"))]
    meant = get_close_matches(word.lower(), known, n=1)
    return "".join(f"; did you mean {name if name == DEFAULTS else f'experiment={name}'!r}?" for name in meant)


def _table(found: Sequence[Difference], first: Side, second: Side) -> Table:
    """One row a difference; what decides no result is dim."""
    table = Table()
    for title in ("", first.name, second.name):
        table.add_column(Text(printable(title)), overflow="fold")
    for each in found:
        cells = map(Text, (each.key if each.decides else f"{each.key} (decides no result)", each.first, each.second))
        table.add_row(*cells, style=None if each.decides else "dim")
    return table
