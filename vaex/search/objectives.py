"""What a search is for: numbers of a run's summary.json or metrics.jsonl, and which way is better."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.config.expect import EVALUATED, OF_RUN
from vaex.config.validation import nearest
from vaex.disk import metrics, sweep
from vaex.errors import ConfigError, InputError
from vaex.study import quantities
from vaex.study.questions import OF_CODES

Direction = Literal["maximize", "minimize"]

ENDED = ("finished", "stopped")
"""Statuses of runs that nothing went wrong with; only what is measured at each epoch is known of a stopped one."""

NO_NUMBERS = ("status", "culprit", "first_nonfinite_step")
"""Of a summary.json, what is no number, or none of a run that nothing went wrong with."""

OF_THE_MACHINE = ("wall_seconds", "seconds", "examples_per_second")

LARGER = ("elbo", "elbo_per_pixel", "accuracy", "precision", "recall", "density", "coverage")
SMALLER = ("loss", "nll", "bits_per_dimension", "loss_spikes", "skipped_steps", "wall_seconds", "seconds")
"""Last parts of keys of which more, or less, is better whoever asks."""


def known(configs: Iterable[Config]) -> list[str]:
    """The numbers that a run of these configurations has, what `vaex evaluate` measures apart."""
    return [*(key for key in OF_RUN if key not in NO_NUMBERS), *OF_THE_MACHINE]


def check(
    keys: Sequence[str], directions: Sequence[Direction] | None, configs: Sequence[Config]
) -> tuple[Direction, ...]:
    """The direction of each objective; `ConfigError` for one that no run of these will have, or of no known way."""
    if len(set(keys)) < len(keys):
        raise ConfigError(f"hydra.sweeper.objective: names one twice: {', '.join(keys)}")
    for key in keys:
        _refuse_unknown("hydra.sweeper.objective", key, configs)
    if directions is None:
        return tuple(_meant(key) for key in keys)
    if len(directions) != len(keys):
        got = f"{len(directions)} for {len(keys)} objectives"
        raise ConfigError(f"hydra.sweeper.direction: expected one for each objective, got {got}")
    return tuple(directions)


def refuse_apart(keys: Sequence[str], configs: Sequence[Config]) -> None:
    """Raise `ConfigError` where an objective is not the same quantity in all these: no best of them is the best."""
    sources = [quantities.of_configuration(configuration.dump(config)) for config in configs]
    for key in keys:
        kind = _kind(key)
        if kind and not quantities.one(sources, kind):
            raise ConfigError(
                f"hydra.sweeper.objective: {key} is not the same quantity in {quantities.between(sources, kind)}; "
                "make a search of each"
            )


def _kind(key: str) -> quantities.Kind | None:
    """What kind of number an objective is; None for one that is the same in all runs, as far as is known."""
    last = key.rpartition("/")[2]
    if key.startswith(EVALUATED):
        return "data" if any(key.startswith(f"{EVALUATED}{metric}") for metric in OF_CODES) else "bound"
    return quantities.BETTER[last][0] if last in quantities.BETTER else "spikes" if last == "loss_spikes" else None


def check_of_sweep(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` for a `sweep.objective`, what another sweeper is told, that no run of these will have."""
    for config in configs:
        wanted = config.sweep.objective
        for key in [wanted] if isinstance(wanted, str) else wanted:
            _refuse_unknown("sweep.objective", key, [config])


def _refuse_unknown(setting: str, key: str, configs: Sequence[Config]) -> None:
    if key.startswith(EVALUATED):
        for config in configs:
            asked = config.evaluation.common.metrics
            if not any(key == f"{EVALUATED}{name}" or key.startswith(f"{EVALUATED}{name}") for name in asked):
                has = f"evaluation.metrics is [{','.join(asked)}]"
                raise ConfigError(f"{setting}: {key} is of a metric that no run measures: {has}")
    elif key not in known(configs):
        raise ConfigError(
            f"{setting}: no run has the number {key!r}{nearest(key, known(configs))} "
            "(numbers of summary.json and metrics.jsonl; eval/... with evaluation.metrics)"
        )


def _meant(key: str) -> Direction:
    last = key.rpartition("/")[2]
    if last in LARGER:
        return "maximize"
    if last in SMALLER:
        return "minimize"
    raise ConfigError(
        f"hydra.sweeper.direction: {key} may be wanted large or small; say maximize or minimize, for each objective"
    )


class Result(NamedTuple):
    """What a trial came to: mean and standard deviation over its seeds, of each objective, and why it has none.

    `epoch` is the one of which a stopped trial's values are.
    """

    state: Literal["complete", "stopped", "failed"]
    values: list[float]
    spread: list[float]
    reason: str = ""
    epoch: int = 0


def of_trial(folders: Mapping[int, Path], keys: Sequence[str]) -> Result:
    """What became of a trial whose jobs, by number, have all ended: it is stopped as soon as one of them is.

    Where its runs have come to different epochs, its values are of the last one that all of them have.
    """
    statuses = {job: sweep.status_of(folder) or "failed" for job, folder in folders.items()}
    for job, status in statuses.items():
        if status not in ENDED:
            return Result("failed", [], [], f"job {job} {status}")
    stopped = "stopped" in statuses.values()
    epochs = {int(of_run(folder, "epoch") or 0) for folder in folders.values()} if stopped else {0}
    state, epoch, apart = "stopped" if stopped else "complete", min(epochs), len(epochs) > 1
    values: list[list[float]] = []
    for job, folder in folders.items():
        found = {key: _at(folder, key, epoch) if apart else of_run(folder, key) for key in keys}
        lacking = next((key for key, value in found.items() if value is None), None)
        if lacking:
            where = f" at epoch {epoch}, the last that all its runs have" if apart else ""
            return Result(
                "stopped" if stopped else "failed", [], [], f"job {job} has no finite {lacking}{where}", epoch
            )
        values.append([value for value in found.values() if value is not None])
    columns = list(zip(*values, strict=True))
    spread = [statistics.stdev(column) for column in columns] if len(values) > 1 else []
    return Result(state, [statistics.fmean(column) for column in columns], spread, epoch=epoch)


def _at(directory: Path, key: str, epoch: int) -> float | None:
    """The number of a run after an epoch; None where it has none that is finite."""
    try:
        rows = metrics.read_rows(directory / "metrics.jsonl")
    except InputError:
        return None
    return _finite(rows[epoch - 1].get(key)) if 0 < epoch <= len(rows) else None


def of_run(directory: Path, key: str) -> float | None:
    """The number of a run that has ended, of its summary or last row; None where it has none that is finite."""
    try:
        summary = files.read_json(directory / "summary.json")
        value = summary.get(key)
        if value is None and (directory / "metrics.jsonl").exists():
            value = _last_row(directory).get(key)
    except InputError:
        return None
    return _finite(value)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _last_row(directory: Path) -> Mapping[str, Any]:
    rows = metrics.read_rows(directory / "metrics.jsonl")
    return rows[-1] if rows else {}
