"""`vaex resume RUN`: go on with a run that was cut off, exactly, or train a finished one for longer."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaex import files
from vaex.commands import flags
from vaex.config import PLACED, Config, compose
from vaex.config.hydra_errors import flat_keys
from vaex.config.overrides import among
from vaex.config.validation import nearest
from vaex.device import backend, compilation, hosts
from vaex.disk import saved, sweep
from vaex.disk.alterations import refuse_altered
from vaex.disk.directory import Job, named_path, refuse_links
from vaex.disk.saved import parse_saved
from vaex.errors import ConfigError, printable
from vaex.sweeping import going_on
from vaex.terminal.screen import say
from vaex.tracking import tracker

log = logging.getLogger("vaex")

MAY_CHANGE = (
    "training.epochs",
    saved.PLACE,
    PLACED,
    "tracking",
    "figures",
    "checkpoint",
    "sweep",
    "evaluation",
    "expect",
    "plugins",
)
"""Keys, or sections, that do not change what the epochs so far have computed."""


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    flags.refuse("resume", arguments)
    if arguments and (Path(arguments[0]) / sweep.NAME).exists():
        return going_on.resume(Path(arguments[0]), arguments[1:])
    return resume(named_path("resume", arguments), arguments[1:])


def resume(directory: Path, overrides: Sequence[str]) -> int:
    """Train `directory`'s run to its end; raises `InputError` when there is nothing to go on with."""
    refuse_links(directory)
    written = saved.read_values(directory / "config.yaml")
    changed, keys = compose.override(written, overrides)
    _refuse_changes(keys, list(flat_keys(written)))
    changed = saved.with_data_found(changed, keys, directory)
    config = tracker.resolved(parse_saved(directory / "config.yaml", changed, keys))
    before = parse_saved(directory / "config.yaml", written | {"plugins": changed.get("plugins")}, keys)
    manifest = files.read_json(directory / "manifest.json")
    summary = files.read_json(directory / "summary.json") if (directory / "summary.json").exists() else {}
    status, done = summary.get("status"), summary.get("epoch")
    if config.training.epochs != before.training.epochs:
        _refuse_schedule(config)
        if not any(among(key, ["expect"]) for key in keys):
            config = replace(config, expect=())  # of the run as it was begun
    refuse_altered(directory, manifest, summary, before)
    if status == "diverged" or (status == "finished" and config.training.epochs == done):
        say(printable(f"{directory}: {status} after epoch {done}; nothing to do"))
        return 1 if status == "diverged" else 0
    if status == "stopped" and "training.epochs" not in keys:
        end = (
            f"`vaex resume {shlex.quote(str(directory))} training.epochs={config.training.epochs}` takes it to its end"
        )
        say(printable(f"{directory}: stopped after epoch {done} by the rule of its sweep; {end}"))
        return 0
    if status == "stopped" and isinstance(done, int) and config.training.epochs <= done:
        raise ConfigError(
            f"training.epochs: expected more than the {done} epochs after which the run was stopped, "
            f"got {config.training.epochs}"
        )
    backend.start(manifest, config.training.devices)
    return _go_on(directory, config, manifest)


def _refuse_changes(keys: Sequence[str], known: Sequence[str]) -> None:
    for key in keys:
        if key not in known:
            raise ConfigError(f"{key}: unknown key{nearest(key, known)}")
        if not among(key, MAY_CHANGE):
            raise ConfigError(
                f"{key}: cannot change in a run that goes on (may change: {', '.join(MAY_CHANGE)}); "
                f"`vaex reproduce RUN {key}=...` makes a variation"
            )


def _refuse_schedule(config: Config) -> None:
    if config.optimizer.schedule != "constant":
        raise ConfigError(
            "training.epochs: this run's learning rate follows a schedule over all of its epochs, "
            "so a longer run is another run: `vaex reproduce RUN training.epochs=...`"
        )


def _go_on(directory: Path, config: Config, manifest: dict[str, Any]) -> int:
    from vaex.disk import checkpoint, progress  # late: with them comes jax, after the thread count is set
    from vaex.sweeping import ending
    from vaex.training import run
    from vaex.vae import step

    with saved.telling_where_data_were_sought(config, directory):
        run.check(config)
    if not hosts.leads():  # the first process has the files from here on
        return ending.of_run(run.run([[Job(config, directory, "", resumed=True)]]))
    saved.refuse_other_data(directory, config.dataset, run.load(config.dataset).digest, manifest.get("dataset_sha256"))
    done = checkpoint.latest(directory)
    if config.training.epochs < done:
        raise ConfigError(f"training.epochs: the run has {done} epochs already, got {config.training.epochs}")
    progress.refuse_unfit(directory, step.shapes(run.program_of(config)))
    for line in compilation.doubts(manifest):
        log.warning("bits may differ from here on: %s", line)
    job = Job(config, directory, printable(f"resume {directory.name}"), resumed=True)
    return ending.of_run(run.run([run.with_its_pack(job, manifest)]))
