"""How a command ends: its exit code, a sweep's table, and whether what came out was expected."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from vaex.checks import expectations
from vaex.errors import VaexError
from vaex.sweeping.task import shown
from vaex.terminal.screen import Screen, say
from vaex.terminal.tables import measured, measured_table, sweep_table
from vaex.training.run import Outcome

log = logging.getLogger("vaex")

EXIT_CODES = {"finished": 0, "diverged": 1, "refused": 2, "failed": 3, "interrupted": 130}
"""Of a lone run, by its status."""


def of_run(outcome: Outcome, checked: bool = False) -> int:
    """The exit code of a lone run, the only job of an outcome; `checked`: whether what came out was expected."""
    ((directory, status),) = outcome.statuses.items()
    if outcome.signal:
        return 128 + outcome.signal
    ended = status in ("finished", "diverged")
    bad = ended and not _as_expected(directory, checked)
    return int(bad) if checked and ended else EXIT_CODES[status]


def _as_expected(directory: Path, checked: bool) -> bool:
    """Whether what was expected of a run or sweep came out, which is told; a plain one is warned of what did not."""
    try:
        return tell(expectations.check(expectations.of_directory(directory), directory), checked)
    except (OSError, VaexError) as error:  # what was computed is on disk
        log.warning("%s: its expectations were not checked: %s", directory, error)
        return False


def tell(lines: Sequence[expectations.Line], checked: bool) -> bool:
    """Say of each expectation whether it holds; returns whether all do."""
    for line in lines:
        if line.ok or checked:
            say(str(line))
        else:
            log.warning("%s", line)
    return all(line.ok for line in lines)


def of_sweep(directory: Path, outcomes: Sequence[Outcome], checked: bool = False) -> int:
    """Write sweep.csv, show it, say how to go on if something is left; returns the exit code."""
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
    console.print(f"sweep directory: {shown(directory)}", markup=False)
    if signal:
        console.print(f"to go on: vaex resume {shlex.quote(str(shown(directory)))}", markup=False)
        return 128 + signal
    as_expected = _as_expected(directory, checked) or not checked
    bad = {"failed", "refused", "interrupted"}
    here = {status for outcome in outcomes for status in outcome.statuses.values()}
    failed = bad & (set(table["status"] if len(table) else ()) | here)
    return int(bool(failed) or any(outcome.ended_by_policy for outcome in outcomes) or not as_expected)
