"""Weights & Biases, which gets a copy of what is on disk, from a thread of its own: it cannot stop a run.

A tracker has four methods: `start`, `log`, `images`, `finish`. None of them waits for W&B but `finish`, and that not
for long.
"""

import contextlib
import contextvars
import dataclasses
import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from vaex import metrics
from vaex.config import Config, Tracking
from vaex.errors import ConfigError

log = logging.getLogger("vaex")

FINISH_SECONDS = 15.0
"""The longest that a finished run waits for W&B."""


MOST_OPEN = 64
"""W&B runs open at once in this process, three files each; what others have to tell waits in their queues."""

_places = threading.BoundedSemaphore(MOST_OPEN)


@runtime_checkable
class Tracker(Protocol):
    """What the loop tells the outside world."""

    def start(self, config: Mapping[str, Any]) -> None:
        """The run begins."""

    def log(self, row: Mapping[str, Any]) -> None:
        """The row of an epoch."""

    def images(self, paths: Mapping[str, Path]) -> None:
        """Figures, by name."""

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
    """The configuration with its `tracking.mode` decided."""
    mode = resolve_mode(config.tracking.mode)
    return dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, mode=mode))


def open_tracker(tracking: Tracking, directory: Path, group: str | None, run_id: str) -> Tracker:
    """The tracker that a configuration asks for."""
    if resolve_mode(tracking.mode) == "disabled":
        return Silent()
    return WeightsAndBiases(tracking, directory, group, run_id)


class Silent:
    """`tracking.mode=disabled`: everything is on disk all the same."""

    def start(self, config: Mapping[str, Any]) -> None:
        """Nothing."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def images(self, paths: Mapping[str, Path]) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Nothing."""


class WeightsAndBiases:
    """Sends to W&B what it is told, in order, from one thread; the first failure is a warning, the rest silence."""

    def __init__(self, tracking: Tracking, directory: Path, group: str | None, run_id: str):
        self._tracking, self._directory, self._group, self._id = tracking, directory, group, run_id
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

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Queue the summary and wait, but never longer than `FINISH_SECONDS`."""
        self._messages.put(("finish", summary))
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            self._given_up = True
            log.warning("W&B did not finish within %.0f s; everything is on disk: %s", FINISH_SECONDS, self._directory)
            leave = threading.Thread(target=_leave_wandb, args=(1,), name="leave wandb", daemon=True)
            leave.start()
            leave.join(1.0)  # long enough to take back what W&B would wait for when the process exits

    def _work(self) -> None:
        session, last = None, 0
        try:
            with _places, _among_the_open():
                while True:
                    kind, content = self._messages.get()
                    if kind == "start":
                        session = _open_session(self._tracking, self._directory, self._group, self._id, content)
                        last = _catch_up(session, self._directory / "metrics.jsonl")
                    elif session is not None and (kind != "log" or content["epoch"] > last):
                        _SEND[kind](session, content)
                    if kind == "finish":
                        return
        except BaseException as error:  # W&B raises what it likes, SystemExit included: none of it may reach training
            if not self._given_up:
                log.warning("W&B failed (%s: %s); training goes on, all is on disk", type(error).__name__, error)
            _leave_wandb()


_open = 0
_open_lock = threading.Lock()


@contextlib.contextmanager
def _among_the_open() -> Iterator[None]:
    """Count this run among those that talk to W&B just now."""
    global _open
    with _open_lock:
        _open += 1
    try:
        yield
    finally:
        with _open_lock:
            _open -= 1


def _leave_wandb(own: int = 0) -> None:
    """End W&B's own process, or what is left of it: the next job starts a new one, and the exit does not wait.

    All runs of this process share it: while others than the caller's `own` talk to it, it is theirs.
    """
    if _open > own:
        return
    with contextlib.suppress(BaseException):
        import wandb

        wandb.teardown()


def _open_session(
    tracking: Tracking, directory: Path, group: str | None, run_id: str, config: Mapping[str, Any]
) -> Any:
    os.environ.setdefault("WANDB_DISABLE_GIT", "true")  # the manifest has the commit; W&B would run git itself
    import wandb

    mode = resolve_mode(tracking.mode)
    session = wandb.init(
        dir=str(directory.absolute()),  # W&B's own process may have been started elsewhere
        mode=mode,
        project=tracking.project or os.environ.get("WANDB_PROJECT") or "vaex",
        entity=tracking.entity or os.environ.get("WANDB_ENTITY"),
        group=tracking.group or os.environ.get("WANDB_RUN_GROUP") or group,
        name=tracking.name or os.environ.get("WANDB_NAME"),
        tags=tracking.tags or [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag],
        config=dict(config),
        id=run_id,
        resume="allow" if mode == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_save_requirements=False,
            x_disable_machine_info=True,
            init_timeout=60,
            finish_timeout=10,  # it may wait for ever otherwise
        ),
    )
    session.define_metric("epoch")
    session.define_metric("*", step_metric="epoch")
    return session


def _catch_up(session: Any, path: Path) -> int:
    """Send W&B's server the epochs on disk that it lacks; returns the last one that it has, so that none comes twice.

    A killed run leaves it behind the disk, or ahead of the checkpoint from which the run goes on. An offline session
    knows nothing of the segments before it: each holds its own epochs, and `wandb sync` puts them together.
    """
    if session.offline:
        return 0
    known = session.summary.get("epoch")
    last = int(known) if isinstance(known, (int, float)) else 0
    for row in metrics.read_rows(path) if path.exists() else []:
        if row["epoch"] > last:
            _send_row(session, row)
            last = row["epoch"]
    return last


def _send_row(session: Any, row: Mapping[str, Any]) -> None:
    import wandb

    values = {key: value for key, value in row.items() if not isinstance(value, list)}
    for key, value in row.items():
        if isinstance(value, list) and None not in value:
            values[key] = wandb.Histogram(value)
    # Every second step, and the figures between two: the parts of a run that went on then count on as one.
    session.log(values, step=2 * row["epoch"], commit=True)


def _send_images(session: Any, paths: Mapping[str, Path]) -> None:
    import wandb

    session.log({name: wandb.Image(str(path)) for name, path in paths.items()})


def _send_summary(session: Any, summary: Mapping[str, Any]) -> None:
    """All single values but `epoch`: there W&B has that of the last row it was sent, and `_catch_up` relies on it."""
    values = {key: value for key, value in summary.items() if not isinstance(value, list) and key != "epoch"}
    session.summary.update(values)
    session.finish(exit_code=0 if summary.get("status") == "finished" else 1)


_SEND = {"log": _send_row, "images": _send_images, "finish": _send_summary}
