"""A run of Weights & Biases': its names and place, its beginning, and the forms in which W&B is told things.

Where a key is unset, W&B's own variable holds.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaex.config import Tracking
from vaex.disk import metrics
from vaex.errors import ConfigError

LONGEST_PROJECT, LONGEST_TAG = 128, 64
"""Characters that W&B takes."""

NOT_IN_A_PROJECT = "/\\#?%:"
"""Characters that W&B refuses there."""


def project(tracking: Tracking) -> str:
    """The project's name."""
    return tracking.project or os.environ.get("WANDB_PROJECT") or "vaex"


def tags(tracking: Tracking) -> Sequence[str]:
    """The run's tags."""
    return tracking.tags or [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]


def place(directory: Path) -> Path:
    """Where W&B makes its folder `wandb`: in the run's directory."""
    return Path(os.environ.get("WANDB_DIR") or directory)


def refuse_unfit_names(tracking: Tracking) -> None:
    """Raise `ConfigError` for a project or a tag that W&B would refuse when the run has begun."""
    name = project(tracking)
    if len(name) > LONGEST_PROJECT or set(name) & set(NOT_IN_A_PROJECT):
        key = "tracking.project" if tracking.project else "WANDB_PROJECT"
        taken = f"at most {LONGEST_PROJECT} characters, none of {' '.join(NOT_IN_A_PROJECT)}"
        raise ConfigError(f"{key}: W&B takes {taken}; got {len(name)}: {name!r}")
    for tag in tags(tracking):
        if not 1 <= len(tag) <= LONGEST_TAG:
            key = "tracking.tags" if tracking.tags else "WANDB_TAGS"
            raise ConfigError(f"{key}: W&B takes 1 to {LONGEST_TAG} characters in a tag; got {len(tag)}: {tag!r}")


def start(tracking: Tracking, directory: Path, group: str | None, run_id: str, config: Mapping[str, Any]) -> Any:
    """Begin a run of W&B's, or go on with the one of this id; raises whatever W&B does."""
    os.environ["WANDB_SILENT"] = "true"  # then it asks nobody to log in: a question would outlive the run
    os.environ.setdefault("WANDB_DISABLE_GIT", "true")  # the manifest has the commit; W&B would run git itself
    _give_places(place(directory) / "wandb" / "own")
    import wandb

    mode = tracking.mode
    session = wandb.init(
        dir=str(place(directory).absolute()),  # W&B's own process may have been started elsewhere
        mode=mode,
        project=project(tracking),
        entity=tracking.entity or os.environ.get("WANDB_ENTITY"),
        group=tracking.group or os.environ.get("WANDB_RUN_GROUP") or group,
        name=tracking.name or os.environ.get("WANDB_NAME"),
        tags=tags(tracking),
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


def _give_places(other: Path) -> None:
    """Name W&B other places for its own files where the user's cannot be: it would fail, or write twenty lines."""
    try:
        Path.home()
        lacking = [] if _has_cache() else ["CACHE"]
    except RuntimeError:  # a user whom the system does not know, and no HOME
        lacking = ["CACHE", "CONFIG", "DATA"]
    for name in lacking:
        os.environ.setdefault(f"WANDB_{name}_DIR", str(other.absolute()))


def _has_cache() -> bool:
    """Whether W&B's server, which asks only these variables, will find a cache that it can write to."""
    home = os.environ.get("HOME")
    usual = os.environ.get("XDG_CACHE_HOME") or (Path(home) / ".cache" if home else None)
    if usual is None:
        return False
    folder = Path(usual) / "wandb"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def catch_up(session: Any, path: Path) -> int:
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
    """All single values but `epoch`: there W&B has that of the last row it was sent, and `catch_up` relies on it."""
    values = {key: value for key, value in summary.items() if not isinstance(value, list) and key != "epoch"}
    session.summary.update(values)
    session.finish(exit_code=0 if summary.get("status") == "finished" else 1)


SEND = {"log": _send_row, "images": _send_images, "finish": _send_summary}
