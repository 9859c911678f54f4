"""Weights & Biases, which gets a copy of what is on disk, from a thread of its own: it cannot stop a run.

None of a tracker's methods waits for W&B but `finish`, and that not for long.
"""

import contextlib
import contextvars
import dataclasses
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vaex import files
from vaex.config import Config, Tracking
from vaex.disk.recorder import Named
from vaex.errors import ConfigError
from vaex.tracking import wandb_session

log = logging.getLogger("vaex")

FINISH_SECONDS = 15.0
"""The longest that a finished run waits for W&B."""


MOST_OPEN = 64
"""W&B runs open at once in this process, three files each; what others have to tell waits in their queues."""

EXTRAS = ("images", "examples", "model")
"""What a run can do without: the rest is sent where one of them cannot be."""

places = threading.BoundedSemaphore(MOST_OPEN)


@runtime_checkable
class Tracker(Protocol):
    """What the loop tells the outside world."""

    def start(self, config: Mapping[str, Any]) -> None:
        """The run begins."""

    def log(self, row: Mapping[str, Any]) -> None:
        """The row of an epoch."""

    def images(self, paths: Mapping[str, Path]) -> None:
        """Figures, by name."""

    def examples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Images of the data with their reconstructions and numbers; what is an array is a picture."""

    def model(self, told: Mapping[str, Any]) -> None:
        """The model's files are on disk; what is told with them."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run has ended; returns when all is delivered or given up."""


MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""The values of WANDB_MODE, two of them W&B's old names."""


def resolve_mode(mode: str | None) -> Any:
    """`tracking.mode`, else WANDB_MODE, else offline; raises `ConfigError` for a WANDB_MODE that is none of W&B's."""
    named = mode or os.environ.get("WANDB_MODE") or "offline"
    if named not in MODES:
        raise ConfigError(f"WANDB_MODE: expected {', '.join(MODES)}, got {named!r}")
    return MODES[named]


def resolved(config: Config) -> Config:
    """The configuration with its `tracking.mode` decided; raises `ConfigError` for what W&B would not take."""
    mode = resolve_mode(config.tracking.mode)
    if mode != "disabled":
        wandb_session.refuse_unfit_names(config.tracking)
    return dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, mode=mode))


def leave_agent(configs: Iterable[Config]) -> None:
    """Make the jobs of a sweep runs of their own where a W&B agent started it: it has one run id, which all would take.

    W&B prefers the variables of its agent to what it is told.
    """
    agent = os.environ.pop("WANDB_SWEEP_ID", None)
    if agent is None:
        return
    os.environ.pop("WANDB_RUN_ID", None)
    if any(config.tracking.mode != "disabled" for config in configs):
        log.warning("WANDB_SWEEP_ID=%s: an agent has one run; the jobs of `vaex -m` are W&B runs of their own", agent)


def open_tracker(tracking: Tracking, directory: Path, group: str | None, named: Named) -> Tracker:
    """The tracker that a configuration asks for, its mode decided by `resolved`; where nobody has, nothing is sent."""
    if tracking.mode in (None, "disabled"):
        return Silent()
    return WeightsAndBiases(partial(wandb_session.start, tracking, directory, group, named), directory)


class Silent:
    """`tracking.mode=disabled`: everything is on disk all the same."""

    def start(self, config: Mapping[str, Any]) -> None:
        """Nothing."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def images(self, paths: Mapping[str, Path]) -> None:
        """Nothing."""

    def examples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing."""

    def model(self, told: Mapping[str, Any]) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Nothing."""


class WeightsAndBiases:
    """Sends to W&B what it is told, in order, from one thread; the first failure is a warning, the rest silence.

    `begin` starts a run of W&B's with a configuration.
    """

    def __init__(self, begin: Callable[[Mapping[str, Any]], wandb_session.Session], directory: Path):
        self._begin, self._directory = begin, directory
        self._messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        work = contextvars.copy_context().run  # so that what the thread logs is known to be of this run
        self._thread = threading.Thread(target=work, args=(self._work,), name="wandb", daemon=True)
        self._given_up = False

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin importing and starting W&B while the first epoch compiles."""
        self._messages.put(("start", config))
        self._thread.start()

    def log(self, row: Mapping[str, Any]) -> None:
        """Queue the row of an epoch; the KL per latent is also sent as a histogram."""
        self._messages.put(("log", row))

    def images(self, paths: Mapping[str, Path]) -> None:
        """Queue figures."""
        self._messages.put(("images", dict(paths)))

    def examples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Queue a table."""
        self._messages.put(("examples", rows))

    def model(self, told: Mapping[str, Any]) -> None:
        """Queue the files' names: they are read when it is their turn."""
        self._messages.put(("model", dict(told)))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Queue the summary and wait, but never longer than `FINISH_SECONDS`."""
        self._messages.put(("finish", summary))
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            self._given_up = True
            log.warning("W&B did not finish within %.0f s; everything is on disk: %s", FINISH_SECONDS, self._directory)
            leave = threading.Thread(target=leave_wandb, args=(1,), name="leave wandb", daemon=True)
            leave.start()
            leave.join(1.0)  # long enough to take back what W&B would wait for when the process exits

    def _work(self) -> None:
        session = None
        try:
            with places, among_the_open():
                while True:
                    kind, content = self._messages.get()
                    if session is None:  # the first message is that the run starts
                        session = self._begin(content)
                    else:
                        self._send(session, kind, content)
                    if kind == "finish":
                        return
        except BaseException as error:  # W&B raises what it likes, SystemExit included: none of it may reach training
            self._warn(error)
            leave_wandb()

    def _send(self, session: wandb_session.Session, kind: str, content: Any) -> None:
        try:
            getattr(session, kind)(content)
        except Exception as error:
            if kind not in EXTRAS:
                raise
            self._warn(error)

    def _warn(self, error: BaseException) -> None:
        """Say so, once."""
        if not self._given_up:
            self._given_up = True
            log.warning("W&B failed (%s); training goes on, all is on disk", described(error))


def described(error: BaseException) -> str:
    """What W&B raised, on one line."""
    return f"{type(error).__name__}: {files.first_line(error)}"


_open = 0
_open_lock = threading.Lock()


@contextlib.contextmanager
def among_the_open() -> Iterator[None]:
    """Count this run among those that talk to W&B just now."""
    global _open
    with _open_lock:
        _open += 1
    try:
        yield
    finally:
        with _open_lock:
            _open -= 1


def leave_wandb(own: int = 0) -> None:
    """End W&B's own process, or what is left of it: the next job starts a new one, and the exit does not wait.

    All runs of this process share it: while others than the caller's `own` talk to it, it is theirs.
    """
    if _open > own:
        return
    with contextlib.suppress(BaseException):
        import wandb

        wandb.teardown()
