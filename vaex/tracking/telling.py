"""What `vaex evaluate` found, for the W&B runs of the runs it judged: beside the evaluations, and never for long."""

import contextvars
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaex.config import Config, Tracking
from vaex.errors import ConfigError
from vaex.tracking import tracker, wandb_session

log = logging.getLogger("vaex")


class Teller:
    """Tells W&B of finished runs. What goes wrong is a warning: the verb goes on, and all is on disk."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._given_up = False

    def tell(self, config: Config, directory: Path, run_id: Any, values: Mapping[str, Any]) -> None:
        """Begin to put values into the summary of a run, where it has one of W&B's."""
        try:
            tracking = tracker.resolved(config).tracking
        except ConfigError as error:
            log.warning("%s: W&B is not told (%s)", directory, error)
            return
        if tracking.mode == "disabled" or not isinstance(run_id, str):
            return
        run = contextvars.copy_context().run
        told = run, self._work, tracking, directory, run_id, values
        self._threads.append(threading.Thread(target=told[0], args=told[1:], name="wandb", daemon=True))
        self._threads[-1].start()

    def wait(self) -> None:
        """Until all is delivered or given up, `FINISH_SECONDS` at most."""
        end = time.monotonic() + tracker.FINISH_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        late = sum(thread.is_alive() for thread in self._threads)
        if late:
            self._given_up = True
            log.warning("W&B did not answer within %.0f s; what was found is on disk", tracker.FINISH_SECONDS)
            leave = threading.Thread(target=tracker.leave_wandb, args=(late,), name="leave wandb", daemon=True)
            leave.start()
            leave.join(1.0)

    def _work(self, tracking: Tracking, directory: Path, run_id: str, values: Mapping[str, Any]) -> None:
        try:
            with tracker.places, tracker.among_the_open():
                wandb_session.tell(tracking, directory, run_id, values)
        except BaseException as error:  # as in training: W&B raises what it likes
            if not self._given_up:
                log.warning("%s: W&B is not told (%s); all is on disk", directory, tracker.described(error))
