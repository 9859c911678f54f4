"""Judging a trained model: its metrics one after the other, each on disk as soon as it is there."""

import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import PyTree

from vaex import config as configuration
from vaex import files
from vaex.config import Config, Evaluation
from vaex.config.evaluation import Common
from vaex.data.dataset import Dataset
from vaex.disk import evaluation
from vaex.errors import VaexError, printable
from vaex.judging.label_probes import holds_classes
from vaex.judging.subject import Found
from vaex.terminal.stop import Stop
from vaex.terminal.tables import clock
from vaex.trained.model import Model
from vaex.trained.subject import ModelSubject

log = logging.getLogger("vaex")


class Evaluated(NamedTuple):
    """What the summary has of all metrics by now, what those asked for said, and how many could not be measured."""

    columns: dict[str, Any]
    found: Found
    failed: int


class Ended(BaseException):
    """Somebody asked for an end. Not an `Exception`, which would be the metric's own."""


def evaluate(model: Model, section: Evaluation, directory: Path, stop: Stop, tell: Callable[[str], None]) -> Evaluated:
    """Measure what the section asks for; what cannot be measured is one line in the log, and the others go on.

    Whoever calls holds the run's directory.
    """
    subject = ModelSubject(model, section.common, _Progress(stop, tell))
    columns, everything, failed = {}, {}, 0
    for name, config in section.metrics.items():
        if stop.asked:
            break
        tell(name)
        try:
            found, entry = _measured(name, config, subject, section.common)
            columns = evaluation.write(directory, model.digest, name, entry)
            everything |= found
            remark = getattr(configuration.implementation(config), "remark", lambda found: None)(found)
            if remark:
                log.warning("%s: %s", directory, remark)
            log.info("evaluated %s in %s", name, clock(entry["seconds"]))
        except Ended:
            break
        except Exception as error:  # the run's results are on disk: a metric, perhaps of a plugin, must not cost them
            failed += 1
            known = isinstance(error, VaexError)
            reason = str(error) if known else printable(f"{type(error).__name__}: {files.first_line(error)}")
            log.warning("%s: %s", directory, reason if reason.startswith(f"{name}: ") else f"{name}: {reason}")
    return Evaluated(columns, everything, failed)


def at_the_end(
    config: Config,
    parameters: PyTree,
    dataset: Dataset,
    digest: str,
    directory: Path,
    stop: Stop,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Evaluate a run that has just been trained, by its own section; never an error. What its summary has of it."""
    try:
        model = Model(config, parameters, dataset, digest)
        return evaluate(model, config.evaluation, directory, stop, tell).columns
    except Exception as error:  # the results are on disk by now
        log.warning("%s: not evaluated (%s: %s)", directory, type(error).__name__, files.first_line(error))
        return {}


def _measured(name: str, config: Any, subject: ModelSubject, common: Common) -> tuple[Found, dict[str, Any]]:
    """What a metric says, and its entry for evaluation.json; raises whatever it does."""
    module = configuration.implementation(config)
    started = time.monotonic()
    for need in module.NEEDS:
        lacking = NEEDED[need](subject.dataset, common.split)
        if lacking:
            raise VaexError(f"{name}: needs {need}, and {subject.named}{lacking}")
    found = module.measure(config, subject)
    told = dataclasses.asdict(common) | {"options": dataclasses.asdict(config)}
    del told["metrics"]
    told |= {"examples": subject.count(), "seconds": round(time.monotonic() - started, 3)}
    return found, evaluation.record(found, told)


def _no_labels(dataset: Dataset, split: str) -> str:
    return " has none" if getattr(dataset, split).labels is None else ""


def _no_factors(dataset: Dataset, split: str) -> str:
    """Factors are several columns of levels."""
    labels = getattr(dataset, split).labels
    if labels is None:
        return " has none"
    if labels.shape[1] < 2:
        return f" has one, {dataset.labels_named[0]!r}, where several are compared"
    unfit = [name for name, column in zip(dataset.labels_named, labels.T, strict=True) if not holds_classes(column)]
    return f" has {unfit[0]!r} in numbers that hardly repeat, not in levels" if unfit else ""


NEEDED = {"labels": _no_labels, "factors": _no_factors}
"""What a metric may not do without (`NEEDS` of its module): what a dataset's split lacks of it, or nothing."""


class _Progress:
    """Tells how far the draws are and how long the rest takes; ends them when somebody asks."""

    def __init__(self, stop: Stop, tell: Callable[[str], None]):
        self._stop, self._tell, self._started = stop, tell, 0.0

    def __call__(self, done: int, of: int) -> None:
        if self._stop.asked:
            raise Ended
        if done == 1:
            self._started = time.monotonic()  # compiling, which came before, says nothing of the rest
            return
        left = (time.monotonic() - self._started) / (done - 1) * (of - done)
        self._tell(f"draws of z for {100 * done // of} % of the images, {clock(left)} left")
