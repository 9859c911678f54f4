"""From command-line arguments to the configurations of all jobs, before anything is created.

Hydra composes; what it would only find out once a sweep has begun (a typo in one job of a grid) is found here, and
each of its errors becomes one line.
"""

import argparse
import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vaex import config as configuration
from vaex import files
from vaex.config import Config, nearest
from vaex.errors import ConfigError

PACKAGE = Path(__file__).parent


def conf_directory() -> Path:
    """`conf/`: inside the installed package (wheel), or beside it (checkout, editable install)."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


@dataclass(frozen=True)
class Command:
    """What a command line asks for: its jobs' configurations, and where Hydra would put them."""

    jobs: tuple[Config, ...]
    multirun: bool
    directory: Path
    subdirectories: tuple[str, ...]
    directory_is_default: bool


def compose(arguments: argparse.Namespace) -> Command:
    """Compose and parse every job; raises `ConfigError`, one line, for the first mistake."""
    with _hydra(arguments) as hydra:
        name = arguments.config_name or "config"
        mode = _mode(hydra, name, arguments)
        try:
            master = hydra.compose_config(name, arguments.overrides, mode)
            if mode is RunMode.MULTIRUN:
                jobs = [hydra.config_loader.load_sweep_config(master, job) for job in _grid(hydra, master, arguments)]
            else:
                _refuse_unasked_sweep(master, arguments)
                jobs = [master]
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # Hydra raises bare ValueErrors too
            raise ConfigError(_one_line(error, hydra, name, arguments)) from error
        parsed = [_parse(job, number) for number, job in enumerate(jobs)]
        section = master.hydra.sweep if mode is RunMode.MULTIRUN else master.hydra.run
        own = "hydra.sweep.dir" if mode is RunMode.MULTIRUN else "hydra.run.dir"
        return Command(
            jobs=tuple(config for config, _ in parsed),
            multirun=mode is RunMode.MULTIRUN,
            directory=Path(section.dir),
            subdirectories=tuple(subdirectory for _, subdirectory in parsed),
            directory_is_default=not any(item.lstrip("+").startswith(own) for item in arguments.overrides),
        )


def plain(job: DictConfig) -> dict[str, Any]:
    """A job's values, interpolations resolved, without Hydra's own section."""
    own = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def override(values: Mapping[str, Any], items: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Saved values with `key=value` overrides in Hydra's grammar, and the keys overridden.

    `group=option` takes the option's values from conf/; keys in `hydra.` are left to the caller. Raises `ConfigError`.
    """
    changed = copy.deepcopy(dict(values))
    keys = []
    for item in items:
        try:
            parsed = OverridesParser.create().parse_override(item)
        except HydraException as error:
            raise ConfigError(f"malformed override {item!r}: expected key=value") from error
        key = parsed.key_or_group
        if parsed.is_sweep_override() or parsed.is_delete():
            raise ConfigError(f"{item!r}: a saved run takes key=value only")
        keys.append(key)
        if key in configuration.GROUPS:
            changed[key] = _option_values(key, str(parsed.value()))
        elif not key.startswith("hydra."):
            _set(changed, key, parsed.value())
    return changed, keys


def _option_values(group: str, name: str) -> dict[str, Any]:
    options = sorted(path.stem for path in (conf_directory() / group).glob("*.yaml"))
    if name not in options:
        raise ConfigError(f"{group}: no option {name!r}{nearest(name, options)} (options: {', '.join(options)})")
    return files.read_yaml(conf_directory() / group / f"{name}.yaml")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    section: Any = values
    for name in path:
        section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"{key}: unknown key{nearest(key, _flat_keys(values))}")
    section[last] = value


@contextmanager
def _hydra(arguments: argparse.Namespace) -> Iterator[Hydra]:
    """Hydra's composer with our conf/ and the user's --config-dir; Hydra's global state is left as it was."""
    folder = arguments.config_path or conf_directory()
    search_path = create_automatic_config_search_path(None, None, str(Path(folder).absolute()))
    if arguments.config_dir:
        if not Path(arguments.config_dir).is_dir():
            raise ConfigError(f"--config-dir: no such directory: {arguments.config_dir}")
        folder = f"file://{Path(arguments.config_dir).absolute()}"
        search_path.prepend("command-line", folder, anchor=SearchPathQuery(provider="schema"))
    try:
        yield Hydra.create_main_hydra2("vaex", search_path)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def _mode(hydra: Hydra, name: str, arguments: argparse.Namespace) -> RunMode:
    if arguments.multirun:
        return RunMode.MULTIRUN
    try:
        return hydra.get_mode(name, arguments.overrides) or RunMode.RUN
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error, hydra, name, arguments)) from error


def _grid(hydra: Hydra, master: DictConfig, arguments: argparse.Namespace) -> list[list[str]]:
    """The overrides of every job, as the basic sweeper splits them. Another sweeper decides as it goes: one job."""
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    if not str(master.hydra.sweeper._target_).endswith(".BasicSweeper"):
        overrides = [item for item in arguments.overrides if not parser.parse_override(item).is_sweep_override()]
        return [overrides]
    params = [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]
    overrides = parser.parse_overrides([*params, *arguments.overrides])
    return [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


def _refuse_unasked_sweep(master: DictConfig, arguments: argparse.Namespace) -> None:
    if master.hydra.sweeper.get("params"):
        line = " ".join(arguments.overrides)
        raise ConfigError(f"{line or 'this configuration'} is a sweep: run it with `vaex -m {line}`")


def _parse(job: DictConfig, number: int) -> tuple[Config, str]:
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    HydraConfig.instance().set_config(job)
    try:
        return configuration.parse(plain(job)), str(job.hydra.sweep.subdir)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'configuration'}: {_sentence(error)}") from error


def _one_line(error: Exception, hydra: Hydra, name: str, arguments: argparse.Namespace) -> str:
    """Hydra's message without its advice over several lines, with the nearest known key or option."""
    text = _sentence(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or [])
        listed = f" (options: {', '.join(options)})" if options else ""
        return f"{group or 'config'}: no option {option!r}{nearest(option, options)}{listed}"
    unknown = re.search(r"Could not (?:override|delete(?: from config)?)\.? ?'([^']+)'", text)
    if unknown:
        return _unknown_key(unknown[1], hydra, name, arguments)
    group = re.search(r"Could not override '([^']+)'\. No match in the defaults list", text)
    if group:
        return _unknown_key(group[1], hydra, name, arguments)
    if isinstance(error, OverrideParseException):
        return f"malformed override {error.override!r}: {_sentence(error.__cause__ or error)}; expected key=value"
    key = getattr(error, "full_key", None)
    return f"{key}: {text}" if key else text


def _unknown_key(key: str, hydra: Hydra, name: str, arguments: argparse.Namespace) -> str:
    others = [item for item in arguments.overrides if re.split(r"[=@]", item.lstrip("+~"))[0] != key]
    try:
        known = list(_flat_keys(plain(hydra.compose_config(name, others, RunMode.MULTIRUN))))
    except Exception:  # another mistake besides this one: the key alone must do
        known = []
    prefix, dot, last = key.rpartition(".")
    section = [choice.rpartition(".")[2] for choice in known if choice.rpartition(".")[0] == prefix]
    if not section:
        return f"{key}: unknown key{nearest(key, known)}"
    listed = ", ".join(prefix + dot + choice for choice in section)
    return f"{key}: unknown key{nearest(last, section, prefix + dot)} (keys: {listed})"


def _flat_keys(values: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat_keys(value, f"{prefix}{key}.")
        yield f"{prefix}{key}"


def _sentence(error: BaseException) -> str:
    """An exception's message on one line, without OmegaConf's notes on where it arose."""
    lines = (line.strip() for line in str(error).splitlines())
    return "; ".join(
        line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_"))
    )
