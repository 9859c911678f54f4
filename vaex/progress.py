"""How far a run has come, and how to come back to it from the newest checkpoint that is whole."""

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaex import checkpoint, files, metrics
from vaex.errors import InputError
from vaex.metrics import Row
from vaex.step import TrainState

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
        self.steps.append(steps)
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


def restore(directory: Path, fresh: TrainState, run_id: str) -> tuple[TrainState, Progress]:
    """State and progress of the newest usable checkpoint, or a fresh start; metrics.jsonl is cut back to it.

    Neither the order of the data nor the noise needs a key of its own: both follow from the seed and `state.step`.
    """
    path = directory / "metrics.jsonl"
    rows = metrics.read_rows(path) if path.exists() else []
    found = checkpoint.newest(directory, range(1, len(rows) + 1))
    if found is None:
        if rows:
            log.warning("%s: no usable checkpoint; the run starts from its beginning", directory)
        path.unlink(missing_ok=True)
        return fresh, Progress(run_id)
    arrays, record = found
    state = checkpoint.unflatten(jax.eval_shape(lambda: fresh), arrays, checkpoint.path_of(directory, record["epoch"]))
    steps = metrics.read_steps(directory / "steps.npz")
    if len(steps["loss"]) < record["steps"]:
        raise InputError(f"{directory / 'steps.npz'}: ends before the checkpoint of epoch {record['epoch']}")
    steps = {name: array[: record["steps"]] for name, array in steps.items()}
    rows = rows[: record["epoch"]]
    files.write(path, "".join(map(metrics.as_line, rows)).encode())
    progress = Progress(
        run_id=run_id,
        rows=rows,
        steps=[steps | {"taken": np.ones(record["steps"], bool)}],
        best_epoch=record["best_epoch"],
        best_elbo=-math.inf if record["best_elbo"] is None else record["best_elbo"],
        earlier_seconds=record["seconds"],
    )
    return jax.tree.map(jax.device_put, state), progress
