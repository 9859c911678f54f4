"""Runs and what surrounds them: worker thread, signals, failures.

`run` is behind every door: a lone run, a job of a sweep, a resumed or reproduced run. A worker thread trains while the
main thread waits, so that a signal is heard at once: the first asks the running epoch to be the last one and saves it,
the second ends the process on the spot (every file is whole, so that run can be resumed too).
"""

import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import numpy as np

from vaex import checkpoint, files, objective, step
from vaex.config import Config, implementation
from vaex.errors import VaexError, printable
from vaex.loop import Job, Run, Stop, image_shape, load
from vaex.recorder import Recorder, refuse_existing
from vaex.terminal import Display

log = logging.getLogger("vaex")


class Outcome(NamedTuple):
    """How the jobs ended (finished, diverged, interrupted, failed), and the signal that ended them, if one did."""

    statuses: list[str]
    signal: int | None
    ended_by_policy: bool


class Signals(Stop):
    """Whether the user or the machine asked for an end."""

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: remember the first, obey the second at once."""
        if self.signal is not None:
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the cursor, which the progress bar has hidden
            os._exit(128 + number)
        self.signal = number
        log.warning("stopping at the end of this epoch; once more to stop now")


def check(config: Config) -> None:
    """Everything that can be known before a directory exists: the data, its range, the shapes of the model."""
    dataset = load(config.dataset)
    for name, split in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        where = f"dataset={config.dataset.name} ({name})"
        implementation(config.likelihood).check(config.likelihood, split.images, where)
    jax.eval_shape(functools.partial(step.init, objective.program(config, image_shape(dataset))), np.uint32(0))


def run(jobs: Sequence[Job]) -> Outcome:
    """Train the jobs one after the other; a failed one does not stop the others."""
    stop, display, statuses = Signals(), Display(), []

    def work() -> None:
        for job in jobs:
            statuses.append(_train(job, display, stop, alone=len(jobs) == 1 and job.group is None))
            if stop.signal or _ends_command(job, statuses[-1]):
                return

    worker = threading.Thread(target=work, name="train")
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        worker.start()
        while worker.is_alive():
            worker.join(0.1)  # with a time-out: a signal's handler runs between two waits
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Outcome(statuses, stop.signal, any(map(_ends_command, jobs, statuses)))


def _ends_command(job: Job, status: str) -> bool:
    return status == "diverged" and job.config.training.on_nonfinite == "raise"


def _train(job: Job, display: Display, stop: Stop, alone: bool) -> str:
    """One run from opening its directory to its summary; returns its status."""
    display.start(job.label, job.directory, checkpoint.latest(job.directory), job.config.training.epochs)
    try:
        summary = _in_directory(job, display, stop)
    except (VaexError, OSError) as error:  # no directory, or somebody else's: nothing may be written there
        log.error("%s", error if isinstance(error, VaexError) else f"{job.directory}: {files.first_line(error)}")
        summary = {"status": "failed", "wall_seconds": 0.0}
    display.end(summary, job.directory, alone)
    return summary["status"]


def _in_directory(job: Job, display: Display, stop: Stop) -> dict[str, Any]:
    """The run in its directory, which nobody else writes to meanwhile; a resumed run's is locked already."""
    started = time.monotonic()
    job.directory.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext() if job.resumed else files.locked(job.directory):
        if not job.resumed:
            refuse_existing(job.directory)
        recorder = Recorder(job.directory, job.config)
        try:
            return Run(job, recorder, display, stop).train()
        except Exception as error:
            return _report_failure(job.directory, error, time.monotonic() - started)
        finally:
            recorder.close()


def _report_failure(directory: Path, error: Exception, seconds: float) -> dict[str, Any]:
    """Say on one line what happened, and return the summary that says it on disk."""
    known = isinstance(error, VaexError)
    message = str(error) if known else printable(f"{type(error).__name__}: {files.first_line(error)}")
    log.info("failed\n%s", traceback.format_exc())
    log.error("%s%s", message, "" if known else f" (traceback in {directory / 'vaex.log'})")
    summary = {"status": "failed", "wall_seconds": seconds, "error": message}
    with contextlib.suppress(OSError):  # a directory that cannot be written to has been reported just now
        files.write_json(directory / "summary.json", summary)
    return summary
