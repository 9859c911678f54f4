"""One run on the host: its directory, progress, tracker and end. The device work is `training/loop.py`'s.

A run of a sweep is one of many: what goes wrong for it on the host (its directory, its disk) ends it alone.
"""

import contextlib
import functools
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from vaex import config as configuration
from vaex import files
from vaex.config import naming
from vaex.data.dataset import Dataset
from vaex.device import hosts
from vaex.disk import checkpoint, journal, metrics, progress
from vaex.disk.directory import Job, refuse_existing
from vaex.disk.progress import Found, Progress
from vaex.disk.recorder import Recorder, model_arrays
from vaex.disk.stops import Decision
from vaex.errors import InputError, VaexError, printable
from vaex.study import stability
from vaex.terminal.displays import Display
from vaex.terminal.stop import Stop
from vaex.tracking import tracker
from vaex.training import drawing, remarks
from vaex.vae import objective, step
from vaex.vae.step import TrainState

log = logging.getLogger("vaex")

OF_THE_MODEL = ("epoch", "valid/elbo", "test/elbo", "best/epoch", "best/valid/elbo", "parameters_sha256")
"""What is told with a model."""


class Member:
    """One run while it trains. `summary` is there when it has ended."""

    def __init__(self, job: Job, dataset: Dataset, display: Display):
        self.job, self.config, self.directory = job, job.config, job.directory
        self.program = objective.program(job.config, dataset.shape)
        self.hyper = objective.hyper(job.config)
        self.progress = Progress("")
        self.frozen = False
        self.stopped: Decision | None = None
        self.summary: dict[str, Any] | None = {"status": "ghost"} if job.ghost else None
        self._dataset, self._display = dataset, display
        self._started = time.monotonic()
        self._recorder: Recorder | None = None
        self._tracker: tracker.Tracker = tracker.Silent()
        self._figures: drawing.Figures | None = None
        self._held = contextlib.ExitStack()

    @property
    def going(self) -> bool:
        """Whether it has epochs before it."""
        if self.summary is not None or self.frozen or self.stopped:
            return False
        return len(self.progress.rows) < (self.job.until or self.config.training.epochs)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Host work of this run: what it logs goes to its vaex.log, what goes wrong ends this run alone."""
        with journal.speaking(self.directory):
            try:
                yield
            except Exception as error:
                self.fail(error)

    def open(self) -> None:
        """Take the directory, which nobody else writes to meanwhile."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(files.locked(self.directory))
        if not self.job.resumed:
            refuse_existing(self.directory)
        self._recorder = Recorder(self.directory, self.config)
        hosts.trains(self.directory)
        self._display.start(self.job, checkpoint.latest(self.directory))

    def begin(self, members: dict[str, Any] | None, program: dict[str, Any] | None, placement: str) -> None:
        """Write the starting files, or note that the run goes on; tell the tracker.

        `members` are of its pack, `program` says how that was compiled, `placement` where the images are.
        """
        recorder = self._opened()
        name = self.job.name or naming.of_lone(self.config)
        begin = functools.partial(recorder.begin, self._dataset.digest, members, name, program, placement)
        named = recorder.go_on(placement) if self.job.resumed else begin()
        self.progress = Progress(named.run_id, started=self._started)
        self._tracker = tracker.open_tracker(self.config.tracking, self.directory, self.job.group, named)
        self._tracker.start(configuration.dump(self.config))
        self._figures = drawing.Figures(self.job, self._dataset, self._tracker)

    def state(self, found: Found | None, fresh: TrainState) -> TrainState:
        """The state to go on from, a checkpoint's or a fresh one; the files are cut back to it."""
        if self.summary is not None and not self.job.ghost:  # refused, or failed already: its files are left alone
            return fresh
        if found is None:
            if self.job.resumed and not self.job.ghost:
                progress.start_over(self.directory)
            return fresh
        state = progress.state_of(self.directory, found, fresh)
        self.frozen = bool(state.frozen)
        if not self.job.ghost:
            self.progress = progress.cut_back(self.directory, found[1], self.progress.run_id)
            self.progress.started = self._started
        return state

    def say_start(self, program: Mapping[str, Any] | None, placed: str) -> None:
        """What its log begins with."""
        log.info("run %s starts after epoch %d", self.progress.run_id, len(self.progress.rows))
        log.info("%s", placed)
        if program:
            log.info("compiled with %s", ", ".join(f"{key} {value}" for key, value in program.items()))
        for line in remarks.of(self.config.dataset, self._dataset, self.config.likelihood):
            log.info("%s", line)  # on the screen it has been said before
        posterior = self.config.precision.posterior
        if posterior != "float32":
            log.warning("precision.posterior=%s is there to be studied, not to be used", posterior)

    def epoch(
        self,
        steps: dict[str, np.ndarray],
        means: Mapping[str, np.ndarray],
        trained: float,
        seconds: float,
        state: Callable[[], TrainState],
    ) -> None:
        """Take in an epoch: its steps' statistics, its validation, and when it is due the state for a checkpoint."""
        pixels = int(np.prod(self.program.shape))
        before = self.progress.rows[-1]["step"] if self.progress.rows else 0
        row = {
            "epoch": len(self.progress.rows) + 1,
            "step": before + int(steps["taken"].sum()),
            "seconds": seconds,
            "examples_per_second": float(steps["examples"].sum()) / trained,
        }
        row |= metrics.epoch_row(steps, pixels) | metrics.evaluation_row("valid", means, pixels)
        self.progress.add(row, steps)
        self.frozen = bool(steps["diverged"].any())
        recorder = self._opened()
        recorder.row(row)
        if row["epoch"] % self.config.checkpoint.every == 0 or self.frozen:
            recorder.checkpoint(self.progress, checkpoint.flatten(state()))
        self._display.epoch(self.job, row)
        self._tracker.log(metrics.finite_or_null(row))
        self._drawn().epoch(self.progress.rows, lambda: state().parameters)

    def settle(self) -> None:
        """Wait until the epochs so far are on disk."""
        self._opened().wait()

    def close(self, state: TrainState, test: Mapping[str, np.ndarray] | None, stop: Stop) -> None:
        """Write what a run leaves when it ends: last checkpoint, model, summary, evaluation, figures."""
        recorder, figures = self._opened(), self._drawn()
        figures.wait()
        rows = self.progress.rows
        if len(rows) % self.config.checkpoint.every and not self.frozen:
            recorder.checkpoint(self.progress, checkpoint.flatten(state))  # of an epoch that had no turn
        summary, artifact = self._summarize(state, test), self.config.tracking.artifact
        recorder.finish(summary, model_arrays(state.parameters))
        if summary["status"] == "finished" and self.config.evaluation.metrics:
            from vaex.trained import evaluation  # late: most runs do without

            digest, tell = summary["parameters_sha256"], functools.partial(self._display.evaluating, self.job)
            judged = self.config, state.parameters, self._dataset, digest
            summary |= evaluation.at_the_end(*judged, self.directory, stop, tell)
        if summary["status"] != "interrupted":
            figures.end(state.parameters, rows, summary["parameters_sha256"])
        if summary["status"] == "finished" and (self.job.figures if artifact is None else artifact):
            self._tracker.model(metrics.finite_or_null({key: summary[key] for key in OF_THE_MODEL}))
        self._end(summary)

    def fail(self, error: Exception) -> None:
        """Say on one line what happened, here and in summary.json."""
        if self.summary is not None:
            return
        known = isinstance(error, VaexError)
        message = str(error) if known else printable(f"{type(error).__name__}: {files.first_line(error)}")
        reached = {key: self.progress.rows[-1][key] for key in ("epoch", "step") if self.progress.rows}
        seconds = time.monotonic() - self._started
        summary = {"status": "failed", **reached, "wall_seconds": seconds, "error": message}
        if self._recorder is None:  # no directory, or somebody else's: nothing may be written there
            log.error("%s", message if known else f"{self.directory}: {files.first_line(error)}")
            self._end(summary | {"status": "refused" if isinstance(error, InputError) else "failed"})
            return
        log.info("failed\n%s", "".join(traceback.format_exception(error)))
        log.error("%s%s", message, "" if known else f" (traceback in {self.directory / 'vaex.log'})")
        with contextlib.suppress(OSError):  # a directory that cannot be written to has been reported just now
            files.write_json(self.directory / "summary.json", summary)
        self._end(summary)

    def release(self) -> None:
        """Let go of the directory."""
        if self._figures is not None:
            self._figures.close()
        if self._recorder is not None:
            self._recorder.close()
        self._held.close()

    def _end(self, summary: dict[str, Any]) -> None:
        self.summary = summary
        self._tracker.finish(metrics.finite_or_null(summary))
        log.info("run %s is %s", self.progress.run_id, summary["status"])
        self._display.end(self.job, summary)

    def _opened(self) -> Recorder:
        assert self._recorder is not None  # `open` made it
        return self._recorder

    def _drawn(self) -> drawing.Figures:
        assert self._figures is not None  # `begin` made it
        return self._figures

    def _summarize(self, state: TrainState, test: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
        done = len(self.progress.rows) == self.config.training.epochs
        ended = "finished" if done else "stopped" if self.stopped else "interrupted"
        status = "diverged" if bool(state.frozen) else ended
        summary: dict[str, Any] = {"status": status} | (self.progress.rows[-1] if self.progress.rows else {})
        if status == "stopped" and self.stopped:
            summary["stopped"] = self.stopped.in_summary()
        if status == "finished" and test is not None:
            summary |= metrics.evaluation_row("test", test, int(np.prod(self.program.shape)))
        columns = metrics.step_columns(self.progress.steps)
        return summary | {
            "best/epoch": self.progress.best_epoch or None,
            "best/valid/elbo": self.progress.best_elbo if self.progress.best_epoch else None,
            "first_nonfinite_step": int(state.first_nonfinite) or None,
            "culprit": step.CULPRITS[int(state.culprit)] or None,
            "loss_spikes": metrics.loss_spikes(columns["loss"], self.config.training.spike_nats),
            **stability.measures(self.progress.rows, columns),
            "skipped_steps": sum(row["skipped_steps"] for row in self.progress.rows),
            "wall_seconds": self.progress.wall_seconds(),
            "run_id": self.progress.run_id,
            "identity": configuration.identity(self.config),
            "dataset_sha256": self._dataset.digest,
            "steps_sha256": files.sha256(metrics.steps_bytes(self.progress.steps)) if self.progress.steps else None,
            "epoch_sha256": [metrics.digest(row) for row in self.progress.rows],
        }


def host_copy(tree: PyTree) -> PyTree:
    """The tree with its leaves copied: the device's own buffers are given to the next epoch."""
    return jax.tree.map(np.array, tree)
