"""One run on the host: open, epochs, close. Its device work is compiled, its disk work is the recorder's."""

import functools
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Num, PyTree

from vaex import checkpoint, compiled, files, metrics, objective, stability, step, tracking
from vaex import config as configuration
from vaex.compiled import Compiled
from vaex.config import Config, implementation
from vaex.dataset import Dataset
from vaex.progress import Progress, restore
from vaex.recorder import Recorder
from vaex.step import TrainState
from vaex.terminal import Display
from vaex.tracking import Tracker

log = logging.getLogger("vaex")

SHOWN = 24
"""Images in a figure."""


@dataclass(frozen=True)
class Job:
    """One run to be made: its configuration, where it goes, what it is called, whether it is there in part."""

    config: Config
    directory: Path
    label: str
    group: str | None = None
    resumed: bool = False


class Stop:
    """Whether somebody asked for an end: the signal that did."""

    signal: int | None = None


@functools.lru_cache(maxsize=4)
def load(dataset: Any) -> Dataset:
    """The dataset of a configuration's section, kept for the next job that wants the same one."""
    return implementation(dataset).load(dataset)


class Run:
    """One run while it trains: compiled functions, state, progress."""

    def __init__(self, job: Job, recorder: Recorder, display: Display, stop: Stop):
        self.job, self.config, self.directory = job, job.config, job.directory
        self.recorder, self.display, self.stop = recorder, display, stop
        self.dataset = load(self.config.dataset)
        self.program = objective.program(self.config, image_shape(self.dataset))
        self.hyper = objective.hyper(self.config)
        self.pixels = int(np.prod(self.program.shape))
        self.started = time.monotonic()

    def train(self) -> dict[str, Any]:
        """Open, epochs, close; the tracker is told how it ended, whatever happens."""
        functions = Compiled(self.program, self.hyper, self.dataset)
        run_id = self.recorder.go_on() if self.job.resumed else self.recorder.begin(self.dataset.digest)
        tracker = tracking.open_tracker(self.config.tracking, self.directory, self.job.group, run_id)
        tracker.start(configuration.dump(self.config))
        try:
            summary = self._train(functions, tracker, run_id)
        except BaseException:
            tracker.finish({"status": "failed"})
            raise
        tracker.finish(metrics.finite_or_null(summary))
        log.info("run %s is %s", run_id, summary["status"])
        return summary

    def _train(self, functions: Compiled, tracker: Tracker, run_id: str) -> dict[str, Any]:
        state, progress = compiled.init(self.program, self.hyper.seed), Progress(run_id)
        if self.job.resumed:
            state, progress = restore(self.directory, state, run_id)
        progress.started = self.started
        epochs, saved = self.config.training.epochs, len(progress.rows)
        log.info("run %s starts after epoch %d", run_id, saved)
        if self.config.precision.posterior != "float32":
            log.warning(
                "precision.posterior=%s is there to be studied, not to be used", self.config.precision.posterior
            )
        images = {name: jax.device_put(getattr(self.dataset, name).images) for name in ("train", "valid")}
        while len(progress.rows) < epochs and not self.stop.signal and not bool(state.frozen):
            state = self._epoch(functions, images, state, progress)
            epoch = len(progress.rows)
            self.recorder.row(progress.rows[-1])
            if epoch % self.config.checkpoint.every == 0:
                self.recorder.checkpoint(progress, _host_arrays(state))
                saved = epoch
            self.display.epoch(progress.rows[-1], epochs)
            tracker.log(metrics.finite_or_null(progress.rows[-1]))
        if len(progress.rows) > saved:  # the last epoch, or the one that a signal or a divergence made the last
            self.recorder.checkpoint(progress, _host_arrays(state))
        summary = self._summary(functions, state, progress)
        model = _host_arrays(state.parameters["model"]) | _host_arrays({"likelihood": state.parameters["likelihood"]})
        self.recorder.finish(summary, model)
        if progress.rows and not self.stop.signal:
            self._draw(tracker, state.parameters, progress)
        return summary

    def _draw(self, tracker: Tracker, parameters: PyTree, progress: Progress) -> None:
        try:
            tracker.images(self._figures(parameters, progress))
        except Exception as error:  # the results are on disk by now: a picture must not cost them
            log.warning("%s: no figures (%s: %s)", self.directory, type(error).__name__, files.first_line(error))

    def _epoch(
        self, functions: Compiled, images: dict[str, jax.Array], state: TrainState, progress: Progress
    ) -> TrainState:
        """One epoch and its validation, taken into `progress`."""
        train, valid = functions.train, functions.valid  # waits for the compiler, which no epoch's time includes
        started = time.perf_counter()
        state, steps = train(self.hyper, state, images["train"])
        jax.block_until_ready(steps)
        trained = time.perf_counter() - started
        last = np.float32((int(state.step) - 1) / len(steps["loss"]))
        means = jax.device_get(valid(self.hyper, state.parameters, images["valid"], last))
        steps = jax.device_get(steps)
        seconds = time.perf_counter() - started
        row = {
            "epoch": len(progress.rows) + 1,
            "step": int(state.step),
            "seconds": seconds,
            "examples_per_second": float(steps["examples"].sum()) / trained,
        }
        row |= metrics.epoch_row(steps, self.pixels) | metrics.evaluation_row("valid", means, self.pixels)
        progress.add(row, steps)
        return state

    def _summary(self, functions: Compiled, state: TrainState, progress: Progress) -> dict[str, Any]:
        done = len(progress.rows) == self.config.training.epochs
        status = "diverged" if bool(state.frozen) else "finished" if done else "interrupted"
        summary: dict[str, Any] = {"status": status} | (progress.rows[-1] if progress.rows else {})
        if status == "finished":
            images = jax.device_put(self.dataset.test.images)
            last = np.float32((int(state.step) - 1) / -(-len(self.dataset.train.images) // self.program.batch_size))
            means = jax.device_get(functions.test(self.hyper, state.parameters, images, last))
            summary |= metrics.evaluation_row("test", means, self.pixels)
        first = int(state.first_nonfinite)
        columns = metrics.step_columns(progress.steps)
        return summary | {
            "best/epoch": progress.best_epoch or None,
            "best/valid/elbo": progress.best_elbo if progress.best_epoch else None,
            "first_nonfinite_step": first or None,
            "culprit": step.CULPRITS[int(state.culprit)] or None,
            "loss_spikes": metrics.loss_spikes(columns["loss"], self.config.training.spike_nats),
            **stability.measures(progress.rows, columns),
            "skipped_steps": sum(row["skipped_steps"] for row in progress.rows),
            "wall_seconds": progress.wall_seconds(),
            "run_id": progress.run_id,
            "identity": configuration.identity(self.config),
            "dataset_sha256": self.dataset.digest,
            "steps_sha256": files.sha256(metrics.steps_bytes(progress.steps)) if progress.steps else None,
            "epoch_sha256": [metrics.digest(row) for row in progress.rows],
        }

    def _figures(self, parameters: PyTree, progress: Progress) -> dict[str, Path]:
        from vaex import figures  # late: matplotlib takes half a second, in which the first epoch could begin

        originals = self.dataset.valid.images[:SHOWN]
        reconstructed = compiled.reconstructions(self.program, parameters, originals)
        drawn = compiled.samples(self.program, parameters, self.hyper.seed, SHOWN)
        return figures.draw(
            self.directory,
            progress.rows,
            np.asarray(objective.as_float(jax.numpy.asarray(originals))),
            np.asarray(reconstructed),
            np.asarray(drawn),
            self.job.label,
        )


def image_shape(dataset: Dataset) -> tuple[int, int, int]:
    """(H, W, C) of a dataset's images."""
    height, width, channels = dataset.train.images.shape[1:]
    return height, width, channels


def _host_arrays(tree: PyTree) -> dict[str, Num[np.ndarray, "..."]]:
    """Leaves by flat name, copied: the device's own buffers are given to the next epoch."""
    return {name: np.array(array) for name, array in checkpoint.flatten(tree).items()}
