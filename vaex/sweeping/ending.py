"""How a command ends: its exit code, a sweep's table, and whether what came out was expected."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from vaex.checks import expectations
from vaex.device import hosts
from vaex.errors import InputError
from vaex.files import first_line
from vaex.searched import populations
from vaex.sweeping import searching
from vaex.sweeping.task import shown
from vaex.terminal.screen import Screen, say
from vaex.terminal.tables import measured, measured_table, sweep_table
from vaex.training.run import Outcome

log = logging.getLogger("vaex")

EXIT_CODES = {"finished": 0, "diverged": 1, "stopped": 0, "refused": 2, "failed": 3, "interrupted": 130}
"""Of a lone run, by its status."""


def of_run(outcome: Outcome, checked: bool = False) -> int:
    """The exit code of a lone run, the only job of an outcome; `checked`: whether what came out was expected."""
    ((directory, status),) = outcome.statuses.items()
    if outcome.signal:
        return 128 + outcome.signal
    if not hosts.leads():  # the first process has the files
        return EXIT_CODES[status]
    if status not in ("finished", "diverged") or expectations.is_a_job(directory):
        return EXIT_CODES[status]
    code = _as_expected(directory, checked)
    return code if checked else EXIT_CODES[status]


def _as_expected(directory: Path, checked: bool) -> int:
    """0 where what was expected of a run or sweep came out, which is told; a plain one is warned of what did not.

    1 where not, 2 where it is to be checked and nothing was recorded of what is expected.
    """
    try:
        lines = expectations.check(directory)
    except Exception as error:  # what was computed is on disk
        log.warning("%s: its expectations were not checked: %s", directory, first_line(error))
        return 1
    if checked and not lines:
        log.error("%s: was begun without expectations; `vaex check %s experiment=NAME`", directory, directory)
        return 2
    return 0 if tell(lines, checked) else 1


def tell(lines: Sequence[expectations.Line], checked: bool) -> bool:
    """Say of each expectation whether it holds; returns whether all do."""
    for line in lines:
        if line.ok or checked:
            say(str(line))
        else:
            log.warning("%s", line)
    return all(line.ok for line in lines)


def _of_population(directory: Path) -> list[str]:
    """The best member of a population, and the command that trains it again; none of a sweep that is none."""
    if not populations.there(directory):
        return []
    try:
        found = populations.read(directory)
    except InputError as error:  # what was computed is on disk
        log.warning("%s", error)
        return []
    lines = [f"best: {found.told()}"]
    if found.best:
        lines.append(f"  again: vaex reproduce {shlex.quote(str(shown(directory / str(found.best[0]))))}")
    return lines


def of_sweep(directory: Path, outcomes: Sequence[Outcome], checked: bool = False) -> int:
    """Write sweep.csv, show it, say how to go on if something is left; returns the exit code."""
    if any("submitted" in outcome.statuses.values() for outcome in outcomes):
        return _submitted(directory, outcomes)
    from vaex.disk import results  # late: pandas takes longer to import than a lone run may wait

    console = Screen()
    signal = next((outcome.signal for outcome in outcomes if outcome.signal), None)
    table = results.write_sweep_csv(directory)
    if len(table):
        rows = table.to_dict("records")
        console.print(sweep_table(rows, results.override_columns(table)))
        found = {Path(str(row["job"])): measured(row) for row in rows}
        if any(found.values()):
            console.print(measured_table(found))
    if not signal:  # who interrupts wants the prompt, and there is more to come
        from vaex.report import publish  # late: so do statistics and charts

        publish.of_sweep(shown(directory))
    for line in [*searching.told(directory), *_of_population(directory)]:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"sweep directory: {shown(directory)}", markup=False)
    by_policy = any(outcome.ended_by_policy for outcome in outcomes)
    if by_policy and not signal:
        diverged = " ".join(str(row) for row in table.loc[table["status"] == "diverged", "job"]) if len(table) else ""
        console.print(f"ended by training.on_nonfinite=raise: diverged: job {diverged}", markup=False)
        console.print(_to_go_on(directory), markup=False, soft_wrap=True)
    if signal:
        console.print(_to_go_on(directory), markup=False, soft_wrap=True)
        return 128 + signal
    code = _as_expected(directory, checked)
    if checked:  # also of jobs that failed, if that is what was expected
        return code
    bad = {"failed", "refused", "interrupted"}
    here = {status for outcome in outcomes for status in outcome.statuses.values()}
    failed = bad & (set(table["status"] if len(table) else ()) | here)
    return int(bool(failed) or by_policy)


def _submitted(directory: Path, outcomes: Sequence[Outcome]) -> int:
    """Of a sweep that trains when this command is long over; how it comes along, and its table, are asked for later."""
    jobs = sum(status == "submitted" for outcome in outcomes for status in outcome.statuses.values())
    place = shlex.quote(str(shown(directory)))
    say(
        f"submitted: {jobs} jobs",
        f"sweep directory: {shown(directory)}",
        f"how far it is: vaex status {place}",
        f"its table, when all have ended, and what is left to do: vaex resume {place}",
    )
    return 0


def _to_go_on(directory: Path) -> str:
    return f"to go on: vaex resume {shlex.quote(str(shown(directory)))}"
