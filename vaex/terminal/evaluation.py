"""What a person sees of `vaex evaluate`: how far it is and how long the rest takes, then every value with its error."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from vaex.errors import printable
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.subject import Found
from vaex.terminal.screen import Screen, log_to
from vaex.terminal.tables import clock, show

MOST_SIDE_BY_SIDE = 3
"""Runs with a column each; of more runs each is a row."""


class EvaluationDisplay:
    """Progress of runs that are measured side by side, and the table at the end. Called from their threads."""

    def __init__(self, runs: int):
        self.console = Screen()
        log_to(self.console)
        self._lock = threading.Lock()
        self._ended, self._runs, self._started = 0, runs, time.monotonic()
        self._told: dict[Path, str] = {}
        self._found: dict[Path, Found] = {}
        self._progress = Progress(
            BarColumn(max(3, min(24, self.console.width - 78))), TextColumn("{task.description}"),
            console=self.console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("reading", total=runs)
        if self.console.is_terminal:
            self._progress.start()

    def start(self, directory: Path, metrics: Sequence[str]) -> None:
        """A run's metrics are measured from now on."""
        if not self.console.is_terminal:
            self.console.print(f"{directory}: {', '.join(metrics)}", markup=False)

    def tell(self, directory: Path, text: str) -> None:
        """What is measured, or how far it is."""
        with self._lock:
            self._told[directory] = text
            self._update()

    def end(self, directory: Path, found: Found) -> None:
        """A run is done, with what could be measured."""
        with self._lock:
            self._told.pop(directory, None)
            self._ended += 1
            if found:
                self._found[directory] = found
            self._update()

    def close(self) -> None:
        """All is done: the table."""
        if self.console.is_terminal:
            self._progress.stop()
        if self._found:
            self.console.print(table(self._found))
            for line in missing(self._found):
                self.console.print(line, markup=False)

    def _update(self) -> None:
        texts = "  ".join(f"{directory.name}: {text}" for directory, text in self._told.items())
        passed = time.monotonic() - self._started
        left = f"  {clock(passed / self._ended * (self._runs - self._ended))} left" if self._ended else ""
        ended = f"{self._ended}/{self._runs} runs{left}  " if self._runs > 1 else ""
        self._progress.update(self._task, completed=self._ended, description=printable(ended + texts))


def table(found: dict[Path, Found]) -> Table:
    """Value ± standard error of every metric of some runs: few runs side by side, of many each in a row."""
    runs = sorted(found, key=lambda path: (path.parent, len(path.name), path.name))
    names = list(dict.fromkeys(name for each in found.values() for name, value in each.items() if not _is_list(value)))
    few = len(runs) <= MOST_SIDE_BY_SIDE
    shown = Table(title="value ± standard error over images", title_justify="left")
    for title in ("", *(map(str, runs) if few else names)):
        shown.add_column(Text(printable(title)), justify="right" if title else "left", overflow="fold")
    if few:
        for name in names:
            shown.add_row(Text(name), *(_cell(found[run].get(name)) for run in runs))
    else:
        alone = len({run.parent for run in runs}) == 1
        for run in runs:
            shown.add_row(Text(printable(run.name if alone else run)), *(_cell(found[run].get(name)) for name in names))
    return shown


def missing(found: dict[Path, Found]) -> list[str]:
    """Why a value has a dash in the table, each reason once."""
    lines = (f"{name}: {each.reason}" for some in found.values() for name, each in some.items() if _is_missing(each))
    return [printable(line) for line in dict.fromkeys(lines)]


def _is_missing(value: object) -> TypeGuard[Missing]:
    return isinstance(value, Missing)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _cell(value: object) -> Text:
    if not isinstance(value, Estimate):
        return Text("–")
    if value.error is None:
        return Text(f"{value.value:.4g}")
    digits = 2 if abs(value.value) >= 10 else 4
    return Text(f"{show(value.value, digits)} ± {show(value.error, digits)}")
