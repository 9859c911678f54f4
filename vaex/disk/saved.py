"""What a run left of its configuration and surroundings, read as data: nothing named in it is imported or executed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import PLACE, Config, compose, later
from vaex.errors import ConfigError, DataError, InputError


def parse_saved(file: Path, plain: dict[str, Any], keys: Sequence[str]) -> Config:
    """Parse a saved configuration. Plugins run code, so they are never taken from it: the user names them again."""
    named = plain.get("plugins") if "plugins" in keys else []
    try:
        return configuration.parse(completed(plain) | {"plugins": named})
    except ConfigError as error:
        hint = (
            f"; the run names plugins: if you trust them, add plugins={plain['plugins']}"
            if plain.get("plugins") and not named
            else ""
        )
        raise ConfigError(f"{file}: {error}{hint}") from error


def read_saved(directory: Path, overrides: Sequence[str]) -> Config:
    """The configuration of a run directory with overrides in Hydra's grammar."""
    changed, keys = compose.override(read_values(directory / "config.yaml"), overrides)
    return parse_saved(directory / "config.yaml", with_data_found(changed, keys, directory), keys)


def read_as_written(directory: Path, plugins: Sequence[str] = ()) -> Config:
    """A run's configuration as it wrote it, wherever its data are now: what its recorded identity is of."""
    named, keys = compose.override(read_values(directory / "config.yaml"), plugins)
    return parse_saved(directory / "config.yaml", named, keys)


def read_values(file: Path) -> dict[str, Any]:
    """The plain values in a config.yaml, with those that an older version did not save."""
    return completed(files.read_yaml(file))


def completed(plain: dict[str, Any]) -> dict[str, Any]:
    """Saved values with those added that came after the version that saved them."""
    return later.with_sections(later.with_keys(plain), files.read_yaml(compose.conf_directory() / "config.yaml"))


def with_data_found(plain: dict[str, Any], keys: Sequence[str], directory: Path) -> dict[str, Any]:
    """Saved values in which a relative `dataset.path` that is not here is the one from where the run was started."""
    path = path_of_data(plain)
    if path is None or {"dataset", PLACE} & set(keys) or files.exists(files.expanded(path)):
        return plain
    start = started_in(directory)
    return with_path(plain, str(start / path)) if start and files.exists(start / path) else plain


@contextmanager
def telling_where_data_were_sought(config: Config, directory: Path) -> Iterator[None]:
    """What a loader says of data that are not there, with the places looked at, and how to name another."""
    try:
        yield
    except DataError as error:
        path = getattr(config.dataset, "path", None)
        if not isinstance(path, str) or files.exists(files.expanded(path)):
            raise
        places = dict.fromkeys(str(place) for place in (Path.cwd(), started_in(directory)) if place)
        looked = "" if files.expanded(path).is_absolute() else f" (looked in {' and '.join(places)})"
        raise DataError(f"{error}{looked}; if the data are elsewhere now, add {PLACE}=NEW") from error


def path_of_data(plain: dict[str, Any]) -> str | None:
    """The `dataset.path` of plain values, if the dataset has one."""
    section = plain.get("dataset")
    path = section.get("path") if isinstance(section, dict) else None
    return path if isinstance(path, str) else None


def with_path(plain: dict[str, Any], path: str) -> dict[str, Any]:
    """Plain values with another `dataset.path`."""
    return plain | {"dataset": plain["dataset"] | {"path": path}}


def started_in(directory: Path) -> Path | None:
    """Where the command was typed that made a run or a sweep, by the manifest or by Hydra's record, if either says."""
    records = (
        (directory / "manifest.json", files.read_json, ("segments", 0, "cwd")),
        (directory / ".hydra" / "hydra.yaml", files.read_yaml, ("hydra", "runtime", "cwd")),
        (directory / "multirun.yaml", files.read_yaml, ("hydra", "runtime", "cwd")),
    )
    for path, read, keys in records:
        with suppress(InputError, LookupError, TypeError):  # no such file, an older one, or a damaged one
            found: Any = read(path)
            for key in keys:
                found = found[key]
            if Path(found).is_absolute():
                return Path(found)
    return None


def refuse_other_data(directory: Path, dataset: Any, digest: str, recorded: Any) -> None:
    """Raise `InputError` unless the data are those that the run in `directory` recorded, wherever they lie."""
    if digest != recorded:
        raise InputError(f"{named_data(dataset)} is not what {directory} was trained on (SHA-256 differs)")


def named_data(dataset: Any) -> str:
    """What a dataset is called in a message: by its path, where it has one."""
    path = getattr(dataset, "path", None)
    return f"dataset={dataset.name}" if path is None else f"{PLACE}={path}"
