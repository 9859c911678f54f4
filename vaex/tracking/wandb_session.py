"""A run of Weights & Biases': its names and place, its beginning, and the forms in which W&B is told things.

Where a key is unset, W&B's own variable holds.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaex import files
from vaex.config import Tracking
from vaex.disk import metrics
from vaex.disk.recorder import Named
from vaex.errors import ConfigError
from vaex.tracking import wandb_media

LONGEST_PROJECT, LONGEST_TAG = 128, 64
"""Characters that W&B takes."""

NOT_IN_A_PROJECT = "/\\#?%:"
"""Characters that W&B refuses there."""

NOT_IN_AN_ID = ":;,#?/'"
"""Characters that W&B refuses in WANDB_RUN_ID."""

OF_A_NEW_RUN = (
    "WANDB_NAME", "WANDB_NOTES", "WANDB_TAGS", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_RUN_ID", "WANDB_SWEEP_ID",
    "WANDB_RESUME",
)  # fmt: skip
"""W&B's variables that say what a run is to be called, or which one it is."""


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
    run_id = os.environ.get("WANDB_RUN_ID") or "x"
    if run_id != run_id.strip() or set(run_id) & set(NOT_IN_AN_ID):
        taken = f"characters other than {' '.join(NOT_IN_AN_ID)}, no space at its ends"
        raise ConfigError(f"WANDB_RUN_ID: W&B takes {taken}; got {run_id!r}; unset it, vaex gives each run an id")


def start(tracking: Tracking, directory: Path, group: str | None, named: Named, config: Mapping[str, Any]) -> "Session":
    """Begin a run of W&B's, or go on with the one of this id; raises whatever W&B does."""
    run = _init(
        tracking,
        directory,
        named.run_id,
        resume="allow" if tracking.mode == "online" else None,
        group=tracking.group or os.environ.get("WANDB_RUN_GROUP") or group,
        name=tracking.name or os.environ.get("WANDB_NAME") or named.name,
        tags=tags(tracking),
        notes=tracking.notes or os.environ.get("WANDB_NOTES"),
        config=dict(config),
    )
    return Session(run, directory, named.run_id, place(directory) / "wandb" / "own")


def tell(tracking: Tracking, directory: Path, run_id: str, found: Mapping[str, Any]) -> None:
    """Add what was found to the summary of a finished run of W&B's, which stays as it is otherwise.

    Online, only of a run that is there: one that somebody sent us is not ours to make. Offline a further segment, which
    `wandb sync` puts in the place of configuration and summary: it has all of them.
    """
    for variable in OF_A_NEW_RUN:  # W&B would give them to this one
        os.environ.pop(variable, None)
    if tracking.mode == "online":
        run = _init(tracking, directory, run_id, resume="must")
    else:
        run = _init(tracking, directory, run_id, config=files.read_yaml(directory / "config.yaml"))
        kept = _kept_summary(directory, run_id)
        found = files.read_json(kept if kept.exists() else directory / "summary.json") | dict(found)
    run.summary.update({key: value for key, value in found.items() if not isinstance(value, list) and key != "_wandb"})
    run.finish(exit_code=0)


def _kept_summary(directory: Path, run_id: str) -> Path:
    """Where an offline run's summary is kept as W&B had it: with what it has of pictures and of the table."""
    return place(directory) / "wandb" / "own" / f"summary-{run_id}.json"


def _init(tracking: Tracking, directory: Path, run_id: str, **more: Any) -> Any:
    os.environ["WANDB_SILENT"] = "true"  # then it asks nobody to log in: a question would outlive the run
    os.environ.setdefault("WANDB_DISABLE_GIT", "true")  # the manifest has the commit; W&B would run git itself
    _give_places(place(directory) / "wandb" / "own")
    import wandb

    run = wandb.init(
        dir=str(place(directory).absolute()),  # W&B's own process may have been started elsewhere
        mode=tracking.mode,
        project=project(tracking),
        entity=tracking.entity or os.environ.get("WANDB_ENTITY"),
        id=run_id,
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
        **more,
    )
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    return run


class Session:
    """A run while W&B is told of it. Its methods are what a `Tracker` can be told."""

    def __init__(self, run: Any, directory: Path, run_id: str, own: Path):
        self._run, self._directory, self._id, self._own = run, directory, run_id, own
        self._pending = False
        self._last = self._catch_up(directory / "metrics.jsonl")

    def _catch_up(self, path: Path) -> int:
        """Send W&B's server the epochs on disk that it lacks; returns the last one it has, so that none comes twice.

        A killed run leaves it behind the disk, or ahead of the checkpoint from which the run goes on. An offline
        session knows nothing of the segments before it: each holds its own epochs, and `wandb sync` puts them together.
        """
        if self._run.offline:
            return 0
        known = self._run.summary.get("epoch")
        self._last = int(known) if isinstance(known, (int, float)) else 0
        for row in metrics.read_rows(path) if path.exists() else []:
            self.log(row)
        return self._last

    def log(self, row: Mapping[str, Any]) -> None:
        """An epoch, unless W&B has it."""
        import wandb

        if row["epoch"] <= self._last:
            return
        self._last = row["epoch"]
        values = {key: value for key, value in row.items() if not isinstance(value, list)}
        for key, value in row.items():
            if isinstance(value, list) and None not in value:
                values[key] = wandb.Histogram(value)
        # Every second step, and the rest between two: the parts of a run that went on then count on as one.
        self._run.log(values, step=2 * row["epoch"], commit=True)

    def images(self, paths: Mapping[str, Path]) -> None:
        """Figures."""
        self._between_rows(wandb_media.pictures(paths))

    def examples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Reconstructed images with what is known of each."""
        with wandb_media.staged_in(self._own):
            self._between_rows({"examples": wandb_media.table(rows)})

    def _between_rows(self, values: Mapping[str, Any]) -> None:
        """Log what belongs to the last row: one step, which the next row ends, or `finish`."""
        self._run.log(dict(values), step=2 * self._last + 1, commit=False)
        self._pending = True

    def model(self, told: Mapping[str, Any]) -> None:
        """The model's files on disk. `best` where the run's last epoch is its best one."""
        artifact = wandb_media.model(self._directory, self._own, self._id, told)
        best = told["epoch"] == told["best/epoch"]
        self._run.log_artifact(artifact, aliases=["latest", "best"] if best else ["latest"])

    def finish(self, summary: Mapping[str, Any]) -> None:
        """All single values but `epoch`: there W&B has that of the last row, and `_catch_up` relies on it."""
        values = {key: value for key, value in summary.items() if not isinstance(value, list) and key != "epoch"}
        if self._pending:
            self._run.log({}, step=2 * self._last + 1, commit=True)  # now, so that the summary has it
        self._run.summary.update(values)
        if (status := summary.get("status")) in ("diverged", "stopped"):
            self._run.tags = (*(self._run.tags or ()), status)
        if self._run.offline:
            kept = _kept_summary(self._directory, self._id)
            kept.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(kept, metrics.finite_or_null(_plain(self._run.summary)))
        self._run.finish(exit_code=0 if status in ("finished", "stopped") else 1)


def _plain(summary: Any) -> Any:
    """W&B's summary, or a part of it, as plain values."""
    return {key: _plain(summary[key]) for key in summary.keys()} if hasattr(summary, "keys") else summary  # noqa: SIM118


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
