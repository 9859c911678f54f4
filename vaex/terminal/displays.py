"""What a person sees: a progress bar on a terminal, plain lines elsewhere, a table at the end."""

import dataclasses
import math
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from vaex import config as configuration
from vaex.disk.directory import Job
from vaex.study import quantities
from vaex.terminal.screen import Screen, log_to
from vaex.terminal.tables import clock, how_it_ended, measured, measured_table, show, terms_table


@runtime_checkable
class Display(Protocol):
    """What a person is told while runs train. Called from the threads that train them."""

    def start(self, job: Job, epoch: int) -> None:
        """A run begins, or goes on after `epoch`."""

    def epoch(self, job: Job, row: Mapping[str, Any]) -> None:
        """A run's epoch is done."""

    def evaluating(self, job: Job, text: str) -> None:
        """A run has been trained, and its metrics are measured: which, or how far."""

    def end(self, job: Job, summary: Mapping[str, Any]) -> None:
        """A run has ended."""


class LoneDisplay:
    """Progress of one run, or of the jobs of a sweep one after the other (`hydra/launcher=basic`)."""

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
        self._begun: Path | None = None
        log_to(self.console)

    def start(self, job: Job, epoch: int) -> None:
        """A run begins, or goes on after `epoch`."""
        self.console.print(f"{job.label}  ->  {job.directory}", markup=False)
        self._seconds, self._begun = [], job.directory
        if self.console.is_terminal:
            epochs = job.config.training.epochs
            self._task = self._progress.add_task("", total=epochs, completed=epoch, numbers="compiling")
            self._progress.start()

    def epoch(self, job: Job, row: Mapping[str, Any]) -> None:
        """An epoch is done."""
        epochs = job.config.training.epochs
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

    def evaluating(self, job: Job, text: str) -> None:
        """Its metrics are measured."""
        if self._task is not None:
            self._progress.update(self._task, numbers=f"evaluating: {text}")

    def end(self, job: Job, summary: Mapping[str, Any]) -> None:
        """A run has ended: one line in a sweep, the table of its terms alone."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None
        if self._begun != job.directory:  # it has not come to its start, and why has been said
            return
        self.console.print(f"{how_it_ended(summary)} in {clock(summary['wall_seconds'])}")
        if job.group is None and "train/elbo" in summary:
            self.console.print(terms_table(summary))
            if measured(summary):
                self.console.print(measured_table({job.directory: measured(summary)}))
            self.console.print(f"run directory: {job.directory}", markup=False)
        if job.group is None and summary["status"] == "interrupted":
            self.console.print(f"to go on: vaex resume {shlex.quote(str(job.directory))}", markup=False)


class SweepDisplay:
    """Progress of a sweep whose jobs train side by side: a line for each that ends, and how far all are."""

    def __init__(self, jobs: Sequence[Job], ended: int) -> None:
        """`jobs` are those still to be made, of a sweep in which others have `ended` before."""
        self.console = Screen()
        log_to(self.console)
        self._lock = threading.Lock()
        self._ended, self._total = ended, ended + len(jobs)
        self._counted = Counter[str]()
        self._running: set[Path] = set()
        self._epochs = {job.directory: 0 for job in jobs}
        self._all_epochs = sum(job.config.training.epochs for job in jobs)
        self._made, self._started = 0, time.monotonic()
        self._best: tuple[float, str] | None = None
        sources = (quantities.of_configuration(configuration.dump(job.config)) for job in jobs)
        self._ranked = quantities.one(sources, "bound")
        self._progress = Progress(
            BarColumn(max(3, min(24, self.console.width - 78))), TextColumn("{task.description}"),
            console=self.console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("compiling", total=self._all_epochs)
        if self.console.is_terminal:
            self._progress.start()

    def start(self, job: Job, epoch: int) -> None:
        """A run begins, or goes on after `epoch`."""
        with self._lock:
            self._epochs[job.directory] = epoch
            self._running.add(job.directory)
            self._update()

    def epoch(self, job: Job, row: Mapping[str, Any]) -> None:
        """A run's epoch is done."""
        with self._lock:
            self._epochs[job.directory] = row["epoch"]
            self._made += 1
            if self._made == 1:
                self._started = time.monotonic()  # compiling, which came before, says nothing of the rest
            elbo = row["valid/elbo"]
            if self._ranked and math.isfinite(elbo) and (self._best is None or elbo > self._best[0]):
                self._best = elbo, job.directory.name
            self._update()

    def evaluating(self, job: Job, text: str) -> None:
        """Its metrics are measured: it counts as running."""

    def end(self, job: Job, summary: Mapping[str, Any]) -> None:
        """A run has ended."""
        with self._lock:
            status = summary["status"]
            self._running.discard(job.directory)
            self._ended += status != "interrupted"
            self._counted[status] += 1
            if status != "interrupted":
                self._epochs[job.directory] = job.config.training.epochs
            place = Text(f"{self._ended}/{self._total}  {job.label}  ")
            known = status in ("finished", "stopped")
            value = f", valid elbo {show(summary['valid/elbo'])}" if known else ""
            ended = Text.from_markup(how_it_ended(summary) + f"{value}, {clock(summary['wall_seconds'])}")
            left = "" if self.console.is_terminal else f"  ({self._best_so_far()}{self._left()})"
            self.console.print(place + ended + Text(left))
            self._update()

    def close(self) -> None:
        """The sweep is over."""
        if self.console.is_terminal:
            self._progress.stop()

    def _headline(self) -> str:
        """What comes before the time left."""
        bad = "".join(f", {count} {name}" for name in ("diverged", "stopped") if (count := self._counted[name]))
        best = f"  best elbo {show(self._best[0])} (job {self._best[1]})" if self._best else ""
        return f"{self._ended}/{self._total} jobs, {len(self._running)} running{bad}{best}"

    def _best_so_far(self) -> str:
        """What a line of a sweep whose results decide has beside the time left."""
        return ""

    def _update(self) -> None:
        text = f"{self._headline()}  {self._left()}"
        self._progress.update(self._task, completed=sum(self._epochs.values()), description=text)

    def _left(self) -> str:
        """Time left, by the epochs made in this process since the first."""
        if self._made < 2:
            return "compiling"
        remaining = self._all_epochs - sum(self._epochs.values())
        return f"{clock(remaining * (time.monotonic() - self._started) / (self._made - 1))} left"


class SearchDisplay(SweepDisplay):
    """Progress of a search, whose jobs are not known beforehand."""

    def __init__(self, jobs: int, ended: int, epochs: int, headline: Callable[[], str]) -> None:
        """So many `jobs` are still to be made, of `epochs` each; `headline` says how far the search is."""
        super().__init__((), ended)
        self._told = headline
        self._total, self._all_epochs = ended + jobs, jobs * epochs
        self._progress.update(self._task, total=self._all_epochs)

    def _headline(self) -> str:
        return f"{self._told()}, {len(self._running)} running"

    def _best_so_far(self) -> str:
        return f"{self._told()}, "


class PopulationDisplay(SweepDisplay):
    """Progress of a population: its members are put aside and taken up again, one that has diverged is replaced."""

    def end(self, job: Job, summary: Mapping[str, Any]) -> None:
        """A member has ended, or is put aside, which is not worth a line."""
        job = dataclasses.replace(job, label=f"job {job.directory.name}")  # what it began with it no longer has
        status = summary["status"]
        if job.until is None or status not in ("interrupted", "diverged"):
            super().end(job, summary)
            return
        with self._lock:
            self._running.discard(job.directory)
            if status == "diverged" or summary.get("epoch") != job.until:
                self.console.print(Text(f"{job.label}  ") + Text.from_markup(how_it_ended(summary)))
            self._update()
