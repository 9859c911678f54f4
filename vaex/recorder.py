"""What a run leaves behind, written beside training by one thread: rows and steps first, then the checkpoint.

Because every checkpoint comes after the rows and steps it stands for, a resume only ever has to cut them back to it.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaex import checkpoint, files, metrics, provenance
from vaex import config as configuration
from vaex.config import Config
from vaex.errors import InputError, VaexError
from vaex.metrics import Row

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


class Recorder:
    """The files of one run directory, while its lock is held."""

    def __init__(self, directory: Path, config: Config):
        self.directory, self._config = directory, config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._pending: list[Future[None]] = []
        handler = logging.FileHandler(directory / "vaex.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        self._handler = handler

    def begin(self, dataset_sha256: str) -> str:
        """Manifest first, config.yaml last: once that exists, the run can be resumed. Returns the run's id."""
        run_id = provenance.new_id()
        manifest = provenance.manifest(dataset_sha256, self.directory, run_id, self._config.seed)
        files.write_json(self.directory / "manifest.json", manifest)
        files.write_yaml(self.directory / "config.yaml", configuration.dump(self._config))
        return run_id

    def go_on(self) -> str:
        """Note in the manifest that another process works on the run; returns the run's id."""
        manifest = files.read_json(self.directory / "manifest.json")
        manifest["segments"] = [*manifest.get("segments", []), provenance.segment()]
        files.write_json(self.directory / "manifest.json", manifest)
        for line in provenance.differences(manifest.get("environment", {}), provenance.environment()):
            log.warning("not as when the run began, so bits may differ: %s", line)
        return str(manifest.get("run_id") or provenance.new_id())

    def row(self, row: Row) -> None:
        """Queue an epoch's line of metrics.jsonl."""
        self._submit(self._append, metrics.as_line(row))

    def checkpoint(self, progress: Progress, arrays: dict[str, np.ndarray]) -> None:
        """Queue steps.npz and a checkpoint of the rows so far."""
        self._submit(self._save, progress.record(), list(progress.steps), arrays)

    def finish(self, summary: dict[str, Any], arrays: dict[str, np.ndarray] | None) -> None:
        """Wait for what is queued; write the model, if there is one, and the summary."""
        while self._pending:
            _result(self._pending.pop(0), self.directory)
        if arrays is not None:
            content = model_bytes(arrays)
            files.write(self.directory / "model.safetensors", content)
            summary["parameters_sha256"] = files.sha256(content)
        files.write_json(self.directory / "summary.json", metrics.finite_or_null(summary))

    def close(self) -> None:
        """Release thread and log file."""
        self._thread.shutdown(wait=True)
        log.removeHandler(self._handler)
        self._handler.close()

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        while self._pending and self._pending[0].done():
            _result(self._pending.pop(0), self.directory)
        self._pending.append(self._thread.submit(function, *arguments))

    def _append(self, line: str) -> None:
        with (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())  # on disk before the checkpoint that stands for it

    def _save(self, record: dict[str, Any], steps: list[dict[str, np.ndarray]], arrays: dict[str, np.ndarray]) -> None:
        files.write(self.directory / "steps.npz", metrics.steps_bytes(steps))
        (self.directory / "checkpoints").mkdir(exist_ok=True)
        checkpoint.save(checkpoint.path_of(self.directory, record["epoch"]), arrays, record)
        checkpoint.prune(self.directory, self._config.checkpoint.keep, record["best_epoch"])


def holds_a_run(directory: Path) -> bool:
    """Whether training here would overwrite something."""
    return any(
        (directory / name).exists() for name in ("config.yaml", "manifest.json", "metrics.jsonl", "summary.json")
    )


def refuse_existing(directory: Path) -> None:
    """Raise `InputError` if `directory` holds a run already."""
    if holds_a_run(directory):
        raise InputError(f"{directory} holds a run already: choose another directory, or go on with `vaex resume`")


def model_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """The content of model.safetensors: parameters by flat name, the same bytes for the same numbers."""
    import safetensors.numpy

    return safetensors.numpy.save({name: arrays[name] for name in sorted(arrays)})


def _result(future: "Future[None]", directory: Path) -> None:
    try:
        future.result()
    except OSError as error:
        raise VaexError(f"{directory}: cannot write results ({files.first_line(error)})") from error
