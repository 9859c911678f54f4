"""`vaex resume RUN`: go on with a run that was cut off, exactly, or train a finished one for longer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaex import compilation_cache, compose, files, provenance, tracking
from vaex import config as configuration
from vaex.config import Config
from vaex.errors import ConfigError, InputError, printable

MAY_CHANGE = ("training.epochs", "tracking", "checkpoint", "plugins")
"""Keys, or sections, that do not change what the epochs so far have computed."""


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    return resume(named_path("resume", arguments), arguments[1:])


def named_path(verb: str, arguments: Sequence[str]) -> Path:
    """The run directory (or file) that a verb's first argument names; `InputError` when it names none."""
    if not arguments or ("=" in arguments[0] and not Path(arguments[0]).exists()):
        raise InputError(f"vaex {verb}: expected a run directory, as in `vaex {verb} outputs/<date>/<time>`")
    path = Path(arguments[0])
    if path.is_dir() and not (path / "config.yaml").exists():
        if (path / "multirun.yaml").exists():
            raise InputError(f"{path} is a sweep: name one of its jobs, as in `vaex {verb} {path / '0'}`")
        raise InputError(f"{path} is not a run directory: it has no config.yaml")
    if not path.exists():
        raise InputError(f"{path}: no such run directory")
    return path


def resume(directory: Path, overrides: Sequence[str]) -> int:
    """Train `directory`'s run to its end; raises `InputError` when there is nothing to go on with."""
    saved = files.read_yaml(directory / "config.yaml")
    changed, keys = compose.override(saved, overrides)
    _refuse_changes(keys)
    config = tracking.resolved(parse_saved(directory, changed, keys))
    before = parse_saved(directory, saved | {"plugins": changed.get("plugins")}, keys)
    manifest = files.read_json(directory / "manifest.json")
    summary = files.read_json(directory / "summary.json") if (directory / "summary.json").exists() else {}
    status, done = summary.get("status"), summary.get("epoch")
    if config.training.epochs != before.training.epochs:
        _refuse_schedule(config)
    if status == "diverged" or (status == "finished" and config.training.epochs == done):
        print(printable(f"{directory}: {status} after epoch {done}; nothing to do"))
        return 1 if status == "diverged" else 0
    provenance.restore(manifest)
    compilation_cache.start()
    return _go_on(directory, config, before, manifest, list(overrides))


def parse_saved(directory: Path, plain: dict[str, Any], keys: Sequence[str]) -> Config:
    """Parse a saved configuration. Plugins run code, so they are never taken from it: the user names them again."""
    named = plain.get("plugins") if "plugins" in keys else []
    try:
        return configuration.parse(plain | {"plugins": named})
    except ConfigError as error:
        hint = (
            f"; the run names plugins: if you trust them, add plugins={plain['plugins']}"
            if plain.get("plugins") and not named
            else ""
        )
        raise ConfigError(f"{directory / 'config.yaml'}: {error}{hint}") from error


def _refuse_changes(keys: Sequence[str]) -> None:
    for key in keys:
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE):
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


def _go_on(directory: Path, config: Config, before: Config, manifest: dict[str, Any], overrides: list[str]) -> int:
    from vaex import checkpoint, run
    from vaex.train import EXIT_CODES  # late: with it comes jax, after the thread count is set

    run.check(config)
    digest = run.load(config.dataset).digest
    if digest != manifest.get("dataset_sha256"):
        raise InputError(f"dataset={config.dataset.name} is not what {directory} was trained on (SHA-256 differs)")
    with files.locked(directory):
        done = checkpoint.latest(directory)
        if config.training.epochs < done:
            raise ConfigError(f"training.epochs: the run has {done} epochs already, got {config.training.epochs}")
        (directory / "summary.json").unlink(missing_ok=True)
        if configuration.dump(config) != configuration.dump(before):
            _keep_history(directory, before, overrides)
            files.write_yaml(directory / "config.yaml", configuration.dump(config))
        outcome = run.run([run.Job(config, directory, printable(f"resume {directory.name}"), resumed=True)])
    return 128 + outcome.signal if outcome.signal else EXIT_CODES[outcome.statuses[0]]


def _keep_history(directory: Path, before: Config, overrides: list[str]) -> None:
    """Add the configuration that held so far to config_history.json."""
    path = directory / "config_history.json"
    history = files.read_json(path)["history"] if path.exists() else []
    entry = {
        "changed": datetime.now(UTC).isoformat(timespec="seconds"),
        "overrides": overrides,
        "config_before": configuration.dump(before),
    }
    files.write_json(path, {"history": [*history, entry]})
