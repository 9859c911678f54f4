"""What a run left of its configuration and surroundings, read as data: nothing named in it is imported or executed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaex import compose, files
from vaex import config as configuration
from vaex.config import Config
from vaex.errors import ConfigError, InputError


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


def parse_saved(file: Path, plain: dict[str, Any], keys: Sequence[str]) -> Config:
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
        raise ConfigError(f"{file}: {error}{hint}") from error


def read_saved(directory: Path, overrides: Sequence[str]) -> Config:
    """The configuration of a run directory with overrides in Hydra's grammar."""
    changed, keys = compose.override(files.read_yaml(directory / "config.yaml"), overrides)
    return parse_saved(directory / "config.yaml", changed, keys)


def read_manifest(directory: Path) -> dict[str, Any]:
    """A run's manifest.json; empty without one."""
    path = directory / "manifest.json"
    return files.read_json(path) if path.exists() else {}


def refuse_links(directory: Path) -> None:
    """Raise `InputError` where a directory that somebody sent would make a run write or delete elsewhere."""
    for path in (
        directory / "vaex.log",
        directory / ".lock",
        directory / "checkpoints",
        directory / "figures",
        directory / "wandb",
    ):
        if path.is_symlink():
            raise InputError(f"{path}: is a link to another place; remove it to go on")
