"""Who stops: the history of a sweep while its runs train, in whatever threads, and the rule asked after each epoch."""

import logging
import math
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from vaex import files
from vaex.config import Config, dump
from vaex.config.schema import Stopping
from vaex.disk import metrics, provenance, stops, sweep
from vaex.disk.directory import Job, read_manifest
from vaex.disk.stops import Decision
from vaex.errors import InputError
from vaex.stopping import asha, hyperband, median, patience
from vaex.stopping.history import Asked, Held, History, Scores
from vaex.study import quantities
from vaex.study.quantities import Kind, Quantity

log = logging.getLogger("vaex")

WITHOUT_RUNGS = ("median", "patience")
"""Rules that are asked at every epoch."""


def judging(directory: Path, config: Config) -> "Judge | None":
    """The judge of a sweep of such jobs, with what its directory says so far; None where none may be stopped."""
    return Judge(directory, config.sweep.stop) if config.sweep.stop.stops else None


class Judge:
    """Takes in what every run reports, and says which is to stop. A run is judged among those of the same quantity.

    A decision that stops.jsonl has already is not made again: a run that goes on does as it was told then. Of rules
    without rungs only what stops is there; where a run has a later epoch than the one in question, it went on.
    """

    def __init__(self, directory: Path, settings: Stopping):
        self._directory, self._settings, self._lock = directory, settings, threading.Lock()
        meaning = quantities.better(settings.metric)
        assert meaning is not None  # refusals.py has seen to it
        self._kind: Kind = meaning[0]
        self._better: Literal["high", "low"] = meaning[1]
        self._groups: dict[int, Quantity] = {}
        self._histories: dict[Quantity, dict[int, Scores]] = defaultdict(lambda: defaultdict(Scores))
        stops.cut_back(directory)
        self._made = {(each.rule, each.job, each.epoch): each for each in stops.read(directory)}
        self._told_before: dict[int, int] = {}
        for job in sweep.read(directory)[1] if (directory / sweep.NAME).exists() else ():
            try:
                self._read(job, directory / job.directory)
            except (InputError, OSError) as error:
                log.warning("%s; no other run is held against this one", files.first_line(error))

    def _read(self, job: sweep.Noted, directory: Path) -> None:
        """What a job has reported before, to this process or to another."""
        scores = self._history(job.number, job.config)
        if not (directory / "metrics.jsonl").exists():
            return
        known = provenance.identities(read_manifest(directory))
        if known and job.identity not in known:
            raise InputError(f"{directory}: holds another run than job {job.number}")
        rows = metrics.read_rows(directory / "metrics.jsonl")
        told = Scores((row["epoch"], self._score(row)) for row in rows)
        if told and sweep.status_of(directory) == "diverged":
            told[max(told)] = -math.inf
        scores[job.number], self._told_before[job.number] = told, max(told, default=0)

    def tell(self, job: Job, row: Mapping[str, Any], diverged: bool) -> None:
        """Take in a run's epoch."""
        with self._lock:
            self._of(job)[_number(job)][row["epoch"]] = -math.inf if diverged else self._score(row)

    def ask(self, job: Job, epoch: int) -> Decision | None:
        """What stops a run after an epoch that was told; None where it goes on."""
        asked = Asked(_number(job), epoch, job.config.training.epochs)
        if epoch >= asked.epochs:
            return None
        with self._lock:
            names = ("patience",) if self._settings.rule == "none" else (self._settings.rule, "patience")
            found = [each for name in names if (each := self._decide(name, self._of(job), asked))]
            kept = [each for each in found if each.stopped or each.rung is not None]  # without rungs: all epochs of all
            new = {key: each for each in kept if (key := (each.rule, each.job, each.epoch)) not in self._made}
            if new:
                stops.append(self._directory, new.values())
                self._made |= new
        return next((each for each in found if each.stopped), None)

    def _decide(self, rule: str, history: History, asked: Asked) -> Decision | None:
        known = self._made.get((rule, asked.job, asked.epoch))
        went_on = rule in WITHOUT_RUNGS and asked.epoch < self._told_before.get(asked.job, 0)
        held = None if known or went_on else _held(rule, self._settings, history, asked)
        if held is None:
            return known
        value, threshold = map(self._value, (history[asked.job][asked.epoch], held.threshold))
        return Decision(
            job=asked.job,
            epoch=asked.epoch,
            rung=held.rung,
            bracket=held.bracket,
            rule=rule,
            metric=self._settings.metric,
            value=value,
            threshold=threshold,
            of=held.of,
            stopped=held.stops,
        )

    def _of(self, job: Job) -> dict[int, Scores]:
        number = _number(job)
        return (
            self._histories[self._groups[number]] if number in self._groups else self._history(number, dump(job.config))
        )

    def _history(self, number: int, config: Mapping[str, Any]) -> dict[int, Scores]:
        """The scores of all runs whose metric is the same quantity as this one's."""
        group = self._groups[number] = quantities.quantity(quantities.of_configuration(config), self._kind)
        return self._histories[group]

    def _score(self, row: Mapping[str, Any]) -> float:
        """The metric of a row, higher is better; −∞ for what is not finite."""
        value = row.get(self._settings.metric)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return -math.inf
        return value if self._better == "high" else -value

    def _value(self, score: float | None) -> float | None:
        """The metric from its score; None where it was not finite."""
        if score is None or not math.isfinite(score):
            return None
        return score if self._better == "high" else -score


def _held(rule: str, settings: Stopping, history: History, asked: Asked) -> Held | None:
    if rule == "asha":
        return asha.hold(history, asked, settings.min_epochs, settings.factor)
    if rule == "hyperband":
        return hyperband.hold(history, asked, settings.min_epochs, settings.factor)
    if rule == "median":
        return median.hold(history, asked, settings.min_epochs)
    return patience.hold(history, asked, settings.min_epochs, settings.patience) if settings.patience else None


def _number(job: Job) -> int:
    assert job.number is not None  # a job of a sweep has one
    return job.number
