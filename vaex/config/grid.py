"""The jobs of a grid: which there are, and each composed quickly.

Hydra composes once for each choice of groups, and only its overrides of values are applied for each job.

Composing takes Hydra a tenth of a second, most of it reading and merging the groups' files, which is the same for all
jobs that choose the same options. `tests/config/test_config.py` compares the result with Hydra's own, key by key.
"""

import copy
import functools
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from vaex.config.overrides import check, check_grid, drawn, is_packed, key_of, refuse_no_step, written
from vaex.errors import ConfigError

SEARCH, POPULATION = "hydra_plugins.vaex.OptunaSweeper", "hydra_plugins.vaex.PopulationSweeper"
"""What Hydra calls our sweepers (`_target_` in conf/hydra/sweeper/)."""


@dataclass(frozen=True)
class Asked:
    """What a command line says of a search: its keys with their values, what is fixed, which keys choose files."""

    settings: dict[str, Any]
    lines: tuple[str, ...]
    fixed: tuple[str, ...]
    groups: tuple[str, ...]


def is_search(master: DictConfig) -> bool:
    """Whether our own sweeper makes up the jobs, by the results so far."""
    return str(master.hydra.sweeper._target_) == SEARCH


def asked(hydra: Hydra, master: DictConfig) -> Asked:
    """The search of a command line, or of an experiment's `hydra.sweeper.params`."""
    if str(OmegaConf.to_container(master.hydra.sweep, resolve=False)["subdir"]) != "${hydra.job.num}":  # pyright: ignore
        raise ConfigError("hydra.sweep.subdir: a search numbers its jobs' directories itself; leave it out")
    if master.hydra.job.chdir:
        raise ConfigError("hydra.job.chdir: a search opens jobs while others train, all in one working directory")
    if not is_packed(master):
        raise ConfigError("hydra/sweeper=optuna trains in this process: it needs hydra/launcher=packed, the default")
    swept, fixed = _searched(hydra, master)
    _refuse_following(master, [*(item.key_or_group for item in swept), "seed"])
    settings = OmegaConf.to_container(master.hydra.sweeper, resolve=True)
    assert isinstance(settings, dict)
    groups = tuple(item.key_or_group for item in swept if hydra.config_loader.list_groups("").count(item.key_or_group))
    return Asked({str(key): value for key, value in settings.items()}, tuple(map(_listed, swept)), fixed, groups)


def _refuse_following(master: DictConfig, keys: Sequence[str]) -> None:
    """Refuse values that follow from searched ones, or the seed: trials are made from what has been resolved once."""
    own = OmegaConf.masked_copy(master, [str(key) for key in master if key != "hydra"])
    for place, text in _interpolated(OmegaConf.to_container(own, resolve=False), ()):
        sought = [_absolute(name, place) for name in INTERPOLATION.findall(text)]
        key = next((key for key in keys for name in sought if _touches(name, key.replace("/", "."))), None)
        if key:
            differs = "differs between the jobs of a trial" if key == "seed" else "is searched"
            line = f"{'.'.join(place)}: {text}"
            raise ConfigError(f"{line}: follows from {key}, which {differs}; give it a value of its own")


INTERPOLATION = re.compile(r"(?:\$\{|(?<=[,:]))\s*(\.*[A-Za-z_][\w.\[\]]*)(?=\s*[},])")
"""The keys that a text names: `${key}`, `${..key}` from where it stands, an argument of a resolver."""


def _interpolated(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Texts with an interpolation, and where they stand."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _interpolated(each, (*place, str(key)))
    if isinstance(value, str) and "${" in value:
        yield place, value


def _absolute(name: str, place: Sequence[str]) -> str:
    """A key as seen from the root: each dot that it begins with is a section upwards."""
    up, plain = len(name) - len(name.lstrip(".")), name.lstrip(".").replace("[", ".").replace("]", "")
    return ".".join([*(place[: len(place) - up] if up else ()), plain])


def _touches(name: str, key: str) -> bool:
    """Whether a key is another, in its section, or a section that it is in."""
    return name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.")


def _searched(hydra: Hydra, master: DictConfig) -> tuple[list[Override], tuple[str, ...]]:
    """What a search chooses, and the overrides that all its jobs have."""
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    typed = parser.parse_overrides(written(master.hydra.overrides.task))
    own = {item.key_or_group for item in typed}
    prepared = [item for item in parser.parse_overrides(_swept(master)) if item.key_or_group not in own]
    swept = [item for item in [*prepared, *typed] if item.is_sweep_override()]
    for item in swept:
        refuse_no_step(item)
    return swept, tuple(item.input_line or "" for item in [*typed, *prepared] if not item.is_sweep_override())


def _listed(item: Override) -> str:
    """A sweep as it was typed, a pattern as the names that it matches."""
    sweep: Any = item.value()
    if isinstance(sweep, (ChoiceSweep, RangeSweep, IntervalSweep)):
        return item.input_line or ""
    return f"{item.get_key_element()}=choice({','.join(item.sweep_string_iterator())})"


def probes(hydra: Hydra, master: DictConfig) -> list[list[str]]:
    """The overrides of a trial for each combination of options that a search chooses, values the first ones."""
    groups = hydra.config_loader.list_groups("")
    swept, fixed = _searched(hydra, master)
    for item in swept:
        if item.key_or_group in groups and not item.is_choice_sweep():
            options = ",".join(hydra.config_loader.get_group_options(item.key_or_group))
            raise ConfigError(
                f"{item.input_line}: takes the name of an option, as {item.key_or_group}=choice({options})"
            )
    values = [f"{item.get_key_element()}={_first(item)}" for item in swept if item.key_or_group not in groups]
    chosen = [item for item in swept if item.key_or_group in groups]
    options = [job for batch in BasicSweeper.split_arguments(chosen, None) for job in batch]
    jobs = [[*fixed, *each, *values] for each in options]
    check(hydra, list(dict.fromkeys(item for job in jobs for item in job)), None)
    return jobs


def _first(item: Override) -> str:
    sweep: Any = item.value()
    if isinstance(sweep, IntervalSweep):  # Hydra's are floats; of a key of whole numbers is told with the way to say it
        start: Any = sweep.start
        return str(int(start) if float(start).is_integer() else start)
    return next(iter(item.sweep_string_iterator()))


def is_grid(master: DictConfig) -> bool:
    """Whether Hydra's basic sweeper makes up the jobs: all combinations, known beforehand."""
    return str(master.hydra.sweeper._target_).endswith(".BasicSweeper")


def with_draws(hydra: Hydra, master: DictConfig, asked: Sequence[str]) -> list[str]:
    """The overrides of a whole grid with its shuffles drawn; those of an experiment's sweep that are left, added."""
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    typed = parser.parse_overrides(list(asked))
    keys = {item.get_key_element() for item in typed}
    swept = [item for item in parser.parse_overrides(_swept(master)) if item.get_key_element() not in keys]
    check_grid([*typed, *swept])
    draws = [drawn(item) for item in swept]
    return [*map(drawn, typed), *(line for line, item in zip(draws, swept, strict=True) if line != item.input_line)]


def split(hydra: Hydra, master: DictConfig) -> list[list[str]]:
    """The overrides of every job, as the basic sweeper splits them. Another sweeper decides as it goes: one job."""
    parser, asked = OverridesParser.create(config_loader=hydra.config_loader), written(master.hydra.overrides.task)
    if is_search(master):
        return probes(hydra, master)
    if not is_grid(master):
        overrides = [item for item in asked if not parser.parse_override(item).is_sweep_override()]
        return [overrides]
    for item in parser.parse_overrides(asked):
        key = item.key_or_group
        swept = master.hydra.sweeper.params or {}
        if key in swept and item.get_key_element() != key:  # ++key: to Hydra another one, so all combinations of both
            raise ConfigError(f"{item.input_line}: the experiment sweeps {key} already; write {key}=... to narrow it")
    overrides = parser.parse_overrides([*_swept(master), *asked])
    jobs = [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
    check(hydra, list(dict.fromkeys(item for job in jobs for item in job)), None)
    return jobs


def choices(hydra: Hydra, master: DictConfig, key: str) -> list[list[str]]:
    """The options that a sweep's jobs have: of the group that a key is in, if that is swept, else of all that are."""
    groups = hydra.config_loader.list_groups("")
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    overrides = parser.parse_overrides([*_swept(master), *written(master.hydra.overrides.task)])
    swept = [item for item in overrides if item.key_or_group in groups and item.is_discrete_sweep()]
    own = [item for item in swept if item.key_or_group == key.partition(".")[0]]
    return [job for batch in BasicSweeper.split_arguments(own or swept, None) for job in batch]


def refuse_sweeps_in(hydra: Hydra, master: DictConfig, jobs: Sequence[DictConfig]) -> None:
    """Refuse jobs that bring a sweep of their own, which Hydra would ignore: `-m experiment=a_sweep,another`."""
    groups = hydra.config_loader.list_groups("")
    for job in jobs:
        params = job.hydra.sweeper.get("params") or {}
        if is_grid(master) and params != (master.hydra.sweeper.params or {}):
            typed = written(master.hydra.overrides.task)
            own = [line for line in written(job.hydra.overrides.task) if key_of(line) in groups and line not in typed]
            alone = f"run each alone: `{shlex.join(['vaex', '-m', *own])}`"
            raise ConfigError(f"{' '.join(own)}: is a sweep itself and cannot be a job of one; {alone}")


def _swept(master: DictConfig) -> list[str]:
    """The sweep of an experiment, as overrides."""
    return [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]


def jobs(hydra: Hydra, master: DictConfig, grid: Sequence[Sequence[str]]) -> Iterator[DictConfig]:
    """The configuration of each job, as `load_sweep_config` gives it for its overrides."""
    composer = Composer(hydra.config_loader, master)
    return map(composer.job, grid)


class Composer:
    """Composes one job after the other: files are read once for each choice of groups."""

    def __init__(self, loader: ConfigLoader, master: DictConfig):
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader, self._master = loader, master
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._parse = functools.cache(OverridesParser.create(config_loader=loader).parse_override)

    def job(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job, as `load_sweep_config` gives it."""
        parsed = [self._parse(item) for item in overrides]
        if any(item.is_hydra_override() for item in parsed):
            return self._loader.load_sweep_config(self._master, list(overrides))
        values = [item for item in parsed if not _chooses(self._loader, item)]
        choices = tuple(line for line, item in zip(overrides, parsed, strict=True) if item not in values)
        if choices not in self._bases:
            self._bases[choices] = self._loader.load_sweep_config(self._master, list(choices))
        return _with_values(self._bases[choices], parsed, values)


def _chooses(loader: ConfigLoaderImpl, item: Override) -> bool:
    """Whether an override decides which files are read: Hydra's own rule, and deletions to be safe."""
    return item.is_delete() or (
        loader.repository.group_exists(item.key_or_group) and not isinstance(item.value(), dict)
    )


def _with_values(base: DictConfig, parsed: list[Override], values: list[Override]) -> DictConfig:
    """A copy of `base` with Hydra's own way to apply values, and its note of what the job's overrides were."""
    job = copy.deepcopy(base)
    ConfigLoaderImpl._apply_overrides_to_config(values, job)
    form = job.hydra.job.config.override_dirname
    job.hydra.overrides.task = [item.input_line for item in parsed]
    job.hydra.job.override_dirname = get_overrides_dirname(
        overrides=parsed, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
    )
    return job
