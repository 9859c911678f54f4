"""How a command ends: its exit code, and a sweep's table."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from vaex.sweeping.task import shown
from vaex.terminal.screen import Screen
from vaex.terminal.tables import measured, measured_table, sweep_table
from vaex.training.run import Outcome

EXIT_CODES = {"finished": 0, "diverged": 1, "refused": 2, "failed": 3, "interrupted": 130}
"""Of a lone run, by its status."""


def of_run(outcome: Outcome) -> int:
    """The exit code of a lone run, the only job of an outcome."""
    (status,) = outcome.statuses.values()
    return 128 + outcome.signal if outcome.signal else EXIT_CODES[status]


def of_sweep(directory: Path, outcomes: Sequence[Outcome]) -> int:
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
    bad = {"failed", "refused", "interrupted"}
    here = {status for outcome in outcomes for status in outcome.statuses.values()}
    return (
        1
        if bad & (set(table["status"] if len(table) else ()) | here)
        or any(outcome.ended_by_policy for outcome in outcomes)
        else 0
    )
