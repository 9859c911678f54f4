"""From command-line arguments to the configurations of all jobs, before anything is created.

Hydra composes; what it would only find out once a sweep has begun (a typo in one job of a grid) is found here, and
each of its errors becomes one line.
"""

import argparse
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from vaex import config as configuration
from vaex import files
from vaex.config import Config, grid, hydra_errors, overrides
from vaex.config.hydra_errors import flat_keys
from vaex.config.validation import NotTextError, nearest
from vaex.errors import ConfigError

PACKAGE = Path(__file__).parent.parent

OUR_LAUNCHER = "hydra/launcher=packed"
"""The launcher of a sweep that names none."""

NOW = re.compile(r"\$\{now:[^{}]*\}")
"""A time in Hydra's notation, which each composition fills in anew."""


def conf_directory() -> Path:
    """`conf/`: inside the installed package (wheel), or beside it (checkout, editable install)."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


@dataclass(frozen=True)
class Command:
    """What a command line asks for: its jobs' configurations, and where Hydra would put them.

    `composed` has Hydra's configuration of each job of a sweep by its overrides: composing takes Hydra a tenth of a
    second, so each job is composed once.
    """

    jobs: tuple[Config, ...]
    overrides: tuple[tuple[str, ...], ...]
    composed: dict[tuple[str, ...], DictConfig]
    multirun: bool
    directory: Path
    subdirectories: tuple[str, ...]
    directory_is_default: bool
    asked: tuple[str, ...]
    """The overrides that Hydra is given: those that were typed, settled where it would decide anew."""
    sweeper_decides: bool
    """Whether a sweeper of the user's makes up the jobs as it goes; `jobs` is then only what they have in common."""
    sweeper: dict[str, Any]
    """Hydra's section of the sweeper, as it is written."""
    launcher: dict[str, Any]
    """Hydra's section of the launcher."""
    packed: bool
    """Whether our own launcher trains the jobs in this process."""
    checked: bool
    """Whether the exit code says that the outcome is what was expected."""
    search: grid.Asked | None
    """What our own sweeper searches; `jobs` are then a trial for each combination of options."""


def compose(arguments: argparse.Namespace, checked: bool = False) -> Command:
    """Compose and parse every job; raises `ConfigError`, one line, for the first mistake.

    `checked`: what an experiment expects is asked of it whatever was overridden. Where `arguments.multirun` is None an
    experiment that is a sweep needs no `-m`.
    """
    arguments.overrides = overrides.spelled_out(arguments.overrides)
    with _hydra(arguments) as hydra:
        name = arguments.config_name or "config"
        try:
            return _compose(hydra, name, arguments, checked)
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # Hydra raises bare ValueErrors too
            raise ConfigError(hydra_errors.one_line(error, hydra, name, arguments.overrides)) from error


def _compose(hydra: Hydra, name: str, arguments: argparse.Namespace, checked: bool) -> Command:
    mode = RunMode.MULTIRUN if arguments.multirun else hydra.get_mode(name, arguments.overrides) or RunMode.RUN
    if arguments.multirun is None and _swept(hydra.compose_config(name, arguments.overrides, RunMode.MULTIRUN)):
        mode = RunMode.MULTIRUN
    overrides.check(hydra, arguments.overrides, overrides.as_sweep(arguments) if mode is RunMode.RUN else None)
    master, asked = _master(hydra, name, arguments.overrides, mode)
    composed = {}
    if mode is RunMode.MULTIRUN:
        split = grid.split(hydra, master)
        jobs = list(grid.jobs(hydra, master, split))
        grid.refuse_sweeps_in(hydra, master, jobs)
        composed = dict(zip(map(tuple, split), jobs, strict=True)) if grid.is_grid(master) else {}
    else:
        _refuse_unasked_sweep(master, arguments)
        jobs = [master]
    search = grid.asked(hydra, master) if mode is RunMode.MULTIRUN and grid.is_search(master) else None
    parsed = [_parse(job, number, arguments.overrides) for number, job in enumerate(jobs)]
    overrides.check_stopping(master, mode, [config for config, _ in parsed])
    section = master.hydra.sweep if mode is RunMode.MULTIRUN else master.hydra.run
    own = "hydra.sweep.dir" if mode is RunMode.MULTIRUN else "hydra.run.dir"
    return Command(
        jobs=tuple(overrides.as_expected([config for config, _ in parsed], arguments.overrides, checked)),
        overrides=tuple(tuple(overrides.written(job.hydra.overrides.task)) for job in jobs),
        composed=composed,
        multirun=mode is RunMode.MULTIRUN,
        directory=Path(section.dir),
        subdirectories=tuple(subdirectory for _, subdirectory in parsed),
        directory_is_default=not any(item.lstrip("+").startswith(own) for item in arguments.overrides),
        asked=tuple(asked),
        sweeper_decides=mode is RunMode.MULTIRUN and not grid.is_grid(master),
        sweeper=_as_written(master.hydra.sweeper),
        launcher=_as_written(master.hydra.launcher),
        packed=overrides.is_packed(master),
        checked=checked,
        search=search,
    )


def _master(hydra: Hydra, name: str, typed: list[str], mode: RunMode) -> tuple[DictConfig, list[str]]:
    """Hydra's configuration of the whole command, and the overrides that give it.

    A sweep's are more than those that were typed: our launcher where none is chosen; what its shuffles have drawn, for
    Hydra draws again; the time in a `hydra.sweep.subdir` that has one: most launchers compose each job when its turn
    comes, and would put it elsewhere than sweep.json says.
    """
    if mode is not RunMode.MULTIRUN:
        return hydra.compose_config(name, typed, mode), typed
    asked = typed if _chooses_launcher(hydra, name, typed) else [*typed, OUR_LAUNCHER]
    master = hydra.compose_config(name, asked, mode)
    settled = grid.with_draws(hydra, master, asked) if grid.is_grid(master) else [*asked]
    sweep = OmegaConf.to_container(master.hydra.sweep, resolve=False)
    assert isinstance(sweep, dict)
    subdirectory = str(sweep["subdir"])
    if NOW.search(subdirectory):
        now = NOW.sub(lambda found: str(OmegaConf.create([found[0]])[0]), subdirectory)
        settled.append(overrides.pinned("hydra.sweep.subdir", now))
    return (master if settled == asked else hydra.compose_config(name, settled, mode)), settled


def launcher_of(items: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The section of the launcher that overrides choose, empty where they choose none; and the other overrides."""
    own = [item for item in items if overrides.among(overrides.key_of(item).replace("/", "."), ["hydra.launcher"])]
    if not own:
        return {}, list(items)
    with _hydra(argparse.Namespace(config_path=None, config_dir=None)) as hydra:
        try:
            master = hydra.compose_config("config", [OUR_LAUNCHER, *own], RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(hydra_errors.one_line(error, hydra, "config", own)) from error
        overrides.refuse_foreign(master)
        return _as_written(master.hydra.launcher), [item for item in items if item not in own]


def plain(job: DictConfig) -> dict[str, Any]:
    """A job's values, interpolations resolved, without Hydra's own section."""
    return {str(key): _resolved(job, str(key)) for key in job if key != "hydra"}


def _as_written(section: DictConfig) -> dict[str, Any]:
    """The plain values of a section, interpolations as they are."""
    values = OmegaConf.to_container(section, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _resolved(job: DictConfig, key: str) -> Any:
    """A section's or key's values, in place: copying all first makes composing a ninth slower."""
    value = job[key]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def override(values: Mapping[str, Any], items: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Saved values with `key=value` overrides in Hydra's grammar, and the keys overridden.

    `group=option` takes the option's values from conf/; keys in `hydra.` are left to the caller. Raises `ConfigError`.
    """
    changed = copy.deepcopy(dict(values))
    keys = []
    for item in overrides.spelled_out(items):
        try:
            (parsed,) = OverridesParser.create().parse_overrides([item])
        except OverrideParseException as error:
            raise ConfigError(hydra_errors.malformed(error)) from error
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
        raise ConfigError(f"{key}: unknown key{nearest(key, flat_keys(values))}")
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
    version.setbase("1.3")  # as `cli` starts Hydra itself
    try:
        yield Hydra.create_main_hydra2("vaex", search_path)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None


def _chooses_launcher(hydra: Hydra, name: str, overrides: list[str]) -> bool:
    """Whether the command line, an experiment or a configuration of the user's names one, be it Hydra's default."""
    chosen = hydra.config_loader.compute_defaults_list(name, overrides, RunMode.MULTIRUN).overrides.override_choices
    return "hydra/launcher" in chosen


def _refuse_unasked_sweep(master: DictConfig, arguments: argparse.Namespace) -> None:
    if _swept(master):
        line = " ".join(arguments.overrides)
        told = f"{line or 'this configuration'} is a sweep"
        raise ConfigError(f"{told}: run it with `{overrides.as_sweep(arguments)}`")


def _swept(master: DictConfig) -> bool:
    """Whether an experiment is a sweep by itself."""
    return bool(master.hydra.sweeper.get("params"))


def _parse(job: DictConfig, number: int, typed: Sequence[str]) -> tuple[Config, str]:
    with read_write(job.hydra), open_dict(job.hydra):
        job.hydra.job.id = job.hydra.job.num = number
    HydraConfig.instance().cfg = job  # pyright: ignore[reportAttributeAccessIssue]  # `set_config` would copy it
    values = plain(job)
    _refuse_misplaced(job, values)
    try:
        return configuration.parse(values), str(job.hydra.sweep.subdir)
    except NotTextError as error:
        raise ConfigError(overrides.as_typed(error, typed)) from error


def _refuse_misplaced(job: DictConfig, values: Mapping[str, Any]) -> None:
    """Refuse a file of a group of the user's, an experiment mostly, whose keys went below the group's own name."""
    for group, option in job.hydra.runtime.choices.items():
        section = str(group).partition("/")[0]
        if section in values and section not in configuration.KEYS:
            raise ConfigError(hydra_errors.misplaced_option(str(group), str(option)))
