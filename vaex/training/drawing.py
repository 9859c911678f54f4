"""The figures of a run while it trains and when it has ended. What goes wrong with a picture is one warning."""

import contextlib
import contextvars
import functools
import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from jaxtyping import PyTree

from vaex import files
from vaex.data.dataset import Dataset
from vaex.disk.directory import Job
from vaex.disk.metrics import Row
from vaex.tracking.tracker import Tracker

log = logging.getLogger("vaex")

_drawing = threading.Lock()
"""Matplotlib is not made for two threads, and two must not compile the same pictures."""


class Figures:
    """What a run shows of itself. W&B gets each picture, and at the end a table of reconstructions."""

    def __init__(self, job: Job, dataset: Dataset, tracker: Tracker):
        self._job, self._dataset, self._tracker = job, dataset, tracker
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._latest: Future[None] | None = None

    def epoch(self, rows: Sequence[Row], parameters: Callable[[], PyTree]) -> None:
        """Where the last epoch is one of `figures.every`, begin to draw it, beside the next one.

        While one is still drawn none is begun: training does not wait, and its pictures cost it nothing.
        """
        if not self._job.figures:
            return
        _import_pictures()
        every, number = self._job.config.figures.every, len(rows)
        if every is None or number % every or number == self._job.config.training.epochs:
            return
        if self._latest is not None and not self._latest.done():
            log.info("no figures of epoch %d: those before it are still drawn", number)
            return
        run = contextvars.copy_context().run
        self._latest = self._thread.submit(run, self._guarded, self._draw_epoch, parameters(), list(rows))

    def end(self, parameters: PyTree, rows: Sequence[Row], digest: str) -> None:
        """Draw a run that has ended."""
        if self._job.figures and rows:
            self._guarded(self._draw, parameters, rows, digest)

    def wait(self) -> None:
        """Until what was begun is drawn."""
        if self._latest is not None:
            self._latest.result()

    def close(self) -> None:
        """Release the thread."""
        self._thread.shutdown(wait=True)

    def _guarded(self, draw: Callable[..., None], *arguments: Any) -> None:
        try:
            with _drawing:
                draw(*arguments)
        except Exception as error:  # the results are on disk by now: a picture must not cost them
            log.warning("%s: no figures (%s: %s)", self._job.directory, type(error).__name__, files.first_line(error))

    def _draw_epoch(self, parameters: PyTree, rows: Sequence[Row]) -> None:
        from vaex.trained.model import Model
        from vaex.trained.pictures import beside_training  # late: matplotlib takes half a second

        model = Model(self._job.config, parameters, self._dataset, "")
        folder = self._job.directory / "figures" / f"epoch_{len(rows)}"
        self._tracker.images(beside_training(folder, model, rows))

    def _draw(self, parameters: PyTree, rows: Sequence[Row], digest: str) -> None:
        from vaex.trained import examples
        from vaex.trained.model import Model
        from vaex.trained.pictures import at_the_end

        model = Model(self._job.config, parameters, self._dataset, digest)
        tracked = self._job.config.tracking.mode not in (None, "disabled")
        bounds = self._thread.submit(examples.bounds, model) if tracked else None  # beside matplotlib
        self._tracker.images(at_the_end(self._job.directory, model, rows, self._job.label))
        if bounds is not None:
            self._tracker.examples(examples.table(model, bounds.result()))


@functools.cache
def _import_pictures() -> None:
    """Begin to import what draws them, while the second epoch trains. What goes wrong is said when they are drawn."""

    def work() -> None:
        with contextlib.suppress(Exception):
            importlib.import_module("vaex.trained.pictures")

    threading.Thread(target=work, name="pictures").start()
