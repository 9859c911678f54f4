"""How far a run has come, and how to come back to it from the newest checkpoint that is whole."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaex import files
from vaex.disk import checkpoint, metrics
from vaex.disk.metrics import Row
from vaex.errors import InputError
from vaex.vae.step import TrainState

log = logging.getLogger("vaex")


@dataclass
class Progress:
    """How far a run has come: its rows and steps so far, and what the next segment must know."""

    run_id: str
    rows: list[Row] = field(default_factory=list)
    steps: list[dict[str, np.ndarray]] = field(default_factory=list)
    best_epoch: int = 0
    best_elbo: float = -math.inf
    earlier_seconds: float = 0.0
    started: float = 0.0

    def add(self, row: Row, steps: dict[str, np.ndarray]) -> None:
        """Take in an epoch; the best one has the highest finite valid/elbo."""
        self.rows.append(row)
        self.steps.append(metrics.taken_steps(steps))
        elbo = row["valid/elbo"]
        if math.isfinite(elbo) and elbo > self.best_elbo:
            self.best_epoch, self.best_elbo = row["epoch"], elbo

    def wall_seconds(self) -> float:
        """Wall time of all segments of the run so far, compilation included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def record(self) -> dict[str, Any]:
        """What goes into a checkpoint beside the arrays."""
        return {
            "run_id": self.run_id,
            "epoch": len(self.rows),
            "steps": self.rows[-1]["step"] if self.rows else 0,
            "best_epoch": self.best_epoch,
            "best_elbo": metrics.finite_or_null(self.best_elbo),
            "seconds": self.wall_seconds(),
        }


Found = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Arrays and record of a checkpoint."""


def newest_common(directories: Sequence[Path], most: int | None = None) -> list[Found]:
    """Checkpoints of the newest epoch from which all these runs can go on; empty when there is none.

    With `most`, of the newest that is not after this epoch.

    A run that has diverged stays as it was, so its last checkpoint serves for every later epoch. Each damaged
    checkpoint is named in a warning.
    """
    usable = [[epoch for epoch in _usable_epochs(each) if most is None or epoch <= most] for each in directories]
    for epoch in sorted({epoch for epochs in usable for epoch in epochs}, reverse=True):
        found = [_at(directory, epochs, epoch) for directory, epochs in zip(directories, usable, strict=True)]
        if all(found):
            return [checkpoint for checkpoint in found if checkpoint]
    return []


def newest_of_pack(directories: Sequence[Path], ghosts: Sequence[bool], most: int | None = None) -> list[Found | None]:
    """The checkpoint of each run to go on from: of the newest epoch that all have which are no ghosts.

    A ghost that has none of that epoch (it was stopped before) may begin anew: lanes do not see each other.
    """
    going = [index for index, ghost in enumerate(ghosts) if not ghost]
    found = newest_common([directories[index] for index in going], most)
    if not found:
        return []
    of = dict(zip(going, found, strict=True))
    epoch = max(record["epoch"] for _, record in found)
    of_ghosts = ([] if index in of else newest_common([each], epoch) for index, each in enumerate(directories))
    return [of.get(index) or next(iter(ghost), None) for index, ghost in enumerate(of_ghosts)]


def _usable_epochs(directory: Path) -> list[int]:
    """Epochs with a checkpoint and with their rows on disk, newest first."""
    rows = metrics.read_rows(directory / "metrics.jsonl") if (directory / "metrics.jsonl").exists() else []
    return [epoch for epoch in checkpoint.epochs(directory) if epoch <= len(rows)]


def _at(directory: Path, epochs: list[int], epoch: int) -> Found | None:
    """The run's state at `epoch`; a damaged file is warned of and taken off the list."""
    before = [earlier for earlier in epochs if earlier <= epoch]
    if not before:
        return None
    try:
        arrays, record = checkpoint.load(checkpoint.path_of(directory, before[0]))
    except InputError as error:
        log.warning("%s; using an earlier one", error)
        epochs.remove(before[0])
        return None
    return (arrays, record) if before[0] == epoch or bool(arrays.get("frozen", False)) else None


def state_of(directory: Path, found: Found, fresh: TrainState) -> TrainState:
    """The state in a checkpoint; raises `InputError` when it is of another configuration than `fresh`.

    Neither the order of the data nor the noise needs a key of its own: both follow from the seed and `state.step`.
    """
    arrays, record = found
    place = checkpoint.path_of(directory, record["epoch"])
    return jax.tree.map(jax.device_put, checkpoint.unflatten(jax.eval_shape(lambda: fresh), arrays, place))


def refuse_unfit(directory: Path, template: TrainState) -> None:
    """Raise `InputError`, before anything of a run is changed, when it cannot go on from what its files hold.

    `template` has shapes and dtypes of the state. Damaged checkpoints are passed over, as they are when it goes on.
    """
    for epoch in _usable_epochs(directory):
        path = checkpoint.path_of(directory, epoch)
        try:
            arrays, record = checkpoint.load(path)
        except InputError:
            continue
        checkpoint.unflatten(template, arrays, path)
        _steps_until(directory, record)
        return


def start_over(directory: Path) -> None:
    """Forget the epochs of a run that has no checkpoint to go on from."""
    path = directory / "metrics.jsonl"
    if path.exists() and metrics.read_rows(path):
        log.warning("%s: no usable checkpoint; the run starts from its beginning", directory)
    path.unlink(missing_ok=True)


def cut_back(directory: Path, record: dict[str, Any], run_id: str) -> Progress:
    """The progress at a checkpoint; metrics.jsonl and steps.npz are cut back to it, as a summary may soon vouch for."""
    path = directory / "metrics.jsonl"
    steps = _steps_until(directory, record)
    if len(steps["loss"]) < len(metrics.read_steps(directory / "steps.npz")["loss"]):
        files.write(directory / "steps.npz", metrics.steps_bytes([steps]))
    rows = metrics.read_rows(path)[: record["epoch"]]
    files.write(path, "".join(map(metrics.as_line, rows)).encode())
    return Progress(
        run_id=run_id,
        rows=rows,
        steps=[steps],
        best_epoch=record["best_epoch"],
        best_elbo=-math.inf if record["best_elbo"] is None else record["best_elbo"],
        earlier_seconds=record["seconds"],
    )


def _steps_until(directory: Path, record: dict[str, Any]) -> dict[str, np.ndarray]:
    """The steps that a checkpoint stands for."""
    steps = metrics.read_steps(directory / "steps.npz")
    if len(steps["loss"]) < record["steps"]:
        raise InputError(f"{directory / 'steps.npz'}: ends before the checkpoint of epoch {record['epoch']}")
    return {name: array[: record["steps"]] for name, array in steps.items()}
