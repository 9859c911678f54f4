"""What a run leaves behind, written beside training by one thread: rows and steps first, then the checkpoint.

Because every checkpoint comes after the rows and steps it stands for, a resume only ever has to cut them back to it.
"""

import contextlib
import contextvars
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num, PyTree

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.disk import checkpoint, evaluation, metrics, provenance
from vaex.disk.journal import LogFile
from vaex.disk.metrics import Row
from vaex.disk.progress import Progress
from vaex.disk.saved import read_values
from vaex.errors import VaexError

log = logging.getLogger("vaex")

AHEAD = 8
"""Pieces of work that may wait for the disk before training waits for it too."""


class Named(NamedTuple):
    """What a run is known by, here and to W&B; runs of older versions have no name."""

    run_id: str
    name: str | None


class Recorder:
    """The files of one run directory, while its lock is held."""

    def __init__(self, directory: Path, config: Config):
        self.directory, self._config = directory, config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._pending: list[Future[None]] = []
        self._broken = False
        self._context = contextvars.copy_context()  # whose run it is, for what the thread logs
        self._handler = LogFile(directory)
        log.addHandler(self._handler)

    def begin(
        self,
        dataset_sha256: str,
        members: dict[str, Any] | None,
        name: str,
        program: dict[str, Any] | None,
        placement: str,
    ) -> Named:
        """Manifest first, config.yaml last: once that exists, the run can be resumed.

        `members` are the runs of a vmapped pack, which resume and reproduce rebuild; `program` is how it was compiled,
        `placement` where the images are.
        """
        run_id = provenance.new_id()
        with self._disk():
            identity = configuration.identity(self._config)
            manifest = provenance.manifest(
                dataset_sha256, self.directory, run_id, self._config.seed, identity, members, name, program, placement
            )
            (self.directory / "summary.json").unlink(missing_ok=True)  # of an attempt that failed
            files.write_json(self.directory / "manifest.json", manifest)
            files.write_yaml(self.directory / "config.yaml", configuration.dump(self._config))
        return Named(run_id, name)

    def go_on(self, placement: str) -> Named:
        """Note in the manifest that another process works on the run, and tidy up.

        A configuration other than the one so far (`training.epochs`, tracking, checkpoint) takes its place, and that
        one goes into config_history.json.
        """
        manifest = files.read_json(self.directory / "manifest.json")
        segment = provenance.segment(configuration.identity(self._config), placement)
        manifest["segments"] = [*manifest.get("segments", []), segment]
        with self._disk():
            for unfinished in (*self.directory.glob(".*.tmp"), *self.directory.glob("checkpoints/.*.tmp")):
                unfinished.unlink(missing_ok=True)
            (self.directory / "summary.json").unlink(missing_ok=True)
            # First: it vouches for what config.yaml becomes.
            files.write_json(self.directory / "manifest.json", manifest)
            self._keep_history()
        for line in provenance.changes(manifest):
            log.warning("not as when the run began, so bits may differ: %s", line)
        name = manifest.get("name")
        return Named(str(manifest.get("run_id") or provenance.new_id()), name if isinstance(name, str) else None)

    def _keep_history(self) -> None:
        before, now = read_values(self.directory / "config.yaml"), configuration.dump(self._config)
        if before == now:
            return
        path = self.directory / "config_history.json"
        history = files.read_json(path)["history"] if path.exists() else []
        entry = {
            "changed": datetime.now(UTC).isoformat(timespec="seconds"),
            "differences": provenance.differences(before, now),
            "config_before": before,
        }
        files.write_json(path, {"history": [*history, entry]})
        files.write_yaml(self.directory / "config.yaml", now)

    def row(self, row: Row) -> None:
        """Queue an epoch's line of metrics.jsonl."""
        self._submit(self._append, metrics.as_line(row))

    def checkpoint(self, progress: Progress, arrays: dict[str, np.ndarray]) -> None:
        """Queue steps.npz and a checkpoint of the rows so far. All steps so far are written each time."""
        elbo = {row["epoch"]: row.get("valid/elbo") for row in progress.rows}
        self._submit(self._save, progress.record(), list(progress.steps), arrays, elbo)

    def wait(self) -> None:
        """Until all that is queued is on disk."""
        self._wait(0)

    def finish(self, summary: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Wait for what is queued; write the model and the summary."""
        self.wait()
        content = model_bytes(arrays)
        summary["parameters_sha256"] = files.sha256(content)
        with self._disk():
            files.write(self.directory / "model.safetensors", content)
            files.write_json(self.directory / "summary.json", metrics.finite_or_null(summary))
            evaluation.drop_stale(self.directory, summary["parameters_sha256"])

    def close(self) -> None:
        """Release thread and log file."""
        self._thread.shutdown(wait=True)
        log.removeHandler(self._handler)

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        self._wait(AHEAD)
        self._pending.append(self._thread.submit(self._context.run, self._unless_broken, function, *arguments))

    def _wait(self, left: int) -> None:
        """Until at most `left` pieces of work are pending; raises the error of the first that failed."""
        while self._pending and (len(self._pending) > left or self._pending[0].done()):
            with self._disk():
                self._pending.pop(0).result()

    def _unless_broken(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._broken:  # nothing may follow a line that is not whole
            return
        try:
            function(*arguments)
        except BaseException:
            self._broken = True
            raise

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """What the disk refuses becomes one line."""
        try:
            yield
        except OSError as error:
            raise VaexError(f"{self.directory}: cannot write results ({files.first_line(error)})") from error

    def _append(self, line: str) -> None:
        with (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())  # on disk before the checkpoint that stands for it

    def _save(
        self,
        record: dict[str, Any],
        steps: list[dict[str, np.ndarray]],
        arrays: dict[str, np.ndarray],
        elbo: dict[int, float | None],
    ) -> None:
        files.write(self.directory / "steps.npz", metrics.steps_bytes(steps))
        (self.directory / "checkpoints").mkdir(exist_ok=True)
        checkpoint.save(checkpoint.path_of(self.directory, record["epoch"]), arrays, record)
        checkpoint.prune(self.directory, self._config.checkpoint.keep, elbo)


def model_arrays(parameters: PyTree) -> dict[str, Num[np.ndarray, "..."]]:
    """The parameters by the names they have in model.safetensors."""
    likelihood = checkpoint.flatten({"likelihood": parameters["likelihood"]})
    arrays = checkpoint.flatten(parameters["model"]) | likelihood
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def model_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """The content of model.safetensors: parameters by flat name, the same bytes for the same numbers."""
    import safetensors.numpy

    return safetensors.numpy.save({name: arrays[name] for name in sorted(arrays)})
