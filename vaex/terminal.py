"""What a person sees: a progress bar on a terminal, plain lines elsewhere, a table at the end."""

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

TERMS = ("elbo", "reconstruction", "kl")
SPLITS = ("train", "valid", "test")

COLOR = {"finished": "green", "diverged": "magenta", "interrupted": "yellow", "failed": "red"}


WIDE = 200
"""Characters in a line of a table that goes to a file or a pipe."""


class Screen(Console):
    """Standard output. When its reader goes away (`vaex | head`, a lost terminal), the run goes on in silence."""

    def __init__(self) -> None:
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        super().__init__(file=sys.stdout, width=wide, soft_wrap=True, highlight=False)

    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Display:
    """Progress of one run, or of the jobs of a sweep one after the other."""

    def __init__(self) -> None:
        self.console = Screen()
        self._task: TaskID | None = None
        self._progress = Progress(
            BarColumn(max(3, min(24, self.console.width - 78))),  # the text beside it needs that much
            TextColumn("epoch {task.completed}/{task.total}  {task.fields[numbers]}"),
            console=self.console,
            transient=True,
        )
        self._seconds: list[float] = []
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        if self.console.is_terminal:
            handler = RichHandler(console=self.console, show_path=False, show_time=False)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("vaex: %(message)s"))
        logger = logging.getLogger("vaex")
        for old in [old for old in logger.handlers if not isinstance(old, logging.FileHandler)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def start(self, label: str, directory: Path, epoch: int, epochs: int) -> None:
        """A run begins, or goes on after `epoch`."""
        self.console.print(f"{label}  ->  {directory}", markup=False)
        self._seconds = []
        if self.console.is_terminal:
            self._task = self._progress.add_task("", total=epochs, completed=epoch, numbers="compiling")
            self._progress.start()

    def epoch(self, row: Mapping[str, Any], epochs: int) -> None:
        """An epoch is done."""
        self._seconds = [*self._seconds[-4:], row["seconds"]]
        left = (epochs - row["epoch"]) * sum(self._seconds) / len(self._seconds)
        numbers = (
            f"elbo train {show(row['train/elbo'])} valid {show(row['valid/elbo'])}  "
            f"{row['examples_per_second']:,.0f} examples/s  {clock(left)} left"
        )
        if self.console.is_terminal:
            assert self._task is not None  # `start` made it
            self._progress.update(self._task, completed=row["epoch"], numbers=numbers)
        else:
            self.console.print(f"epoch {row['epoch']}/{epochs}  {numbers}", markup=False)

    def end(self, summary: Mapping[str, Any], directory: Path, alone: bool) -> None:
        """A run has ended: one line in a sweep, the table of its terms alone."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None
        status = summary["status"]
        text = f"{status} at epoch {summary.get('epoch', 0)}, step {summary.get('step', 0)}"
        if status == "diverged":
            text += f": {summary['culprit']} not finite at step {summary['first_nonfinite_step']}"
        self.console.print(f"[{COLOR[status]}]{text}[/] in {clock(summary['wall_seconds'])}")
        if alone and "train/elbo" in summary:
            self.console.print(terms_table(summary))
            self.console.print(f"run directory: {directory}", markup=False)
        if status == "interrupted":
            self.console.print(f"to go on: vaex resume {shlex.quote(str(directory))}", markup=False)


def terms_table(summary: Mapping[str, Any]) -> Table:
    """ELBO and its terms for each split, nats per image."""
    table = Table(title="nats per image", title_justify="left")
    table.add_column("")
    for name in (*TERMS, "elbo_per_pixel"):
        table.add_column(name, justify="right")
    for split in SPLITS:
        if f"{split}/elbo" in summary:
            values = [show(summary[f"{split}/{term}"]) for term in TERMS]
            table.add_row(split, *values, show(summary[f"{split}/elbo_per_pixel"], 4))
    return table


def sweep_table(rows: Sequence[Mapping[Any, Any]], overrides: Sequence[str]) -> Table:
    """One row a job: what differs between the jobs, how it ended, its final numbers in nats per image."""
    varied = [name for name in overrides if len({str(row.get(name)) for row in rows}) > 1]
    table = Table(title="nats per image", title_justify="left")
    for name in ("job", *varied, "status", "valid/elbo", "test/elbo", "seconds"):
        table.add_column(Text(name), justify="right", overflow="fold")
    for row in rows:
        values = [Text(str(row.get(name, ""))) for name in varied]
        numbers = [show(row.get("valid/elbo")), show(row.get("test/elbo")), show(row.get("wall_seconds"), 1)]
        status = str(row["status"])
        table.add_row(str(row["job"]), *values, Text(status, style=COLOR.get(status, "red")), *numbers)
    return table


def show(value: float | None, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def clock(seconds: float) -> str:
    """12 s, 3 min 20 s, 1 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )
