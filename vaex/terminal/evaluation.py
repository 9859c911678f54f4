"""What a person sees of `vaex evaluate`: how far it is and how long the rest takes, then every value with its error."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from rich.progress import BarColumn, Progress, TextColumn

from vaex.errors import printable
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.subject import Found
from vaex.terminal.screen import Screen, log_to
from vaex.terminal.tables import clock, measured_table


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
            self.console.print(measured_table({run: _values(found) for run, found in self._found.items()}))
            for line in missing(self._found):
                self.console.print(line, markup=False)

    def _update(self) -> None:
        texts = "  ".join(f"{directory.name}: {text}" for directory, text in self._told.items())
        passed = time.monotonic() - self._started
        left = f"  {clock(passed / self._ended * (self._runs - self._ended))} left" if self._ended else ""
        ended = f"{self._ended}/{self._runs} runs{left}  " if self._runs > 1 else ""
        self._progress.update(self._task, completed=self._ended, description=printable(ended + texts))


def _values(found: Found) -> dict[str, Estimate | None]:
    """What a metric measured, None for what it could not; its lists are for files."""
    measured = {name: each for name, each in found.items() if not isinstance(each, list)}
    return {name: each if isinstance(each, Estimate) else None for name, each in measured.items()}


def missing(found: dict[Path, Found]) -> list[str]:
    """Why a value has a dash in the table, each reason once."""
    lines = (f"{name}: {each.reason}" for some in found.values() for name, each in some.items() if _is_missing(each))
    return [printable(line) for line in dict.fromkeys(lines)]


def _is_missing(value: object) -> TypeGuard[Missing]:
    return isinstance(value, Missing)
