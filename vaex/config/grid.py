"""The jobs of a grid: which there are, and each composed quickly.

Hydra composes once for each choice of groups, and only its overrides of values are applied for each job.

Composing takes Hydra a tenth of a second, most of it reading and merging the groups' files, which is the same for all
jobs that choose the same options. `tests/config/test_config.py` compares the result with Hydra's own, key by key.
"""

import copy
import functools
from collections.abc import Iterator, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from vaex.config.overrides import check, check_grid, drawn, key_of, written
from vaex.errors import ConfigError


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
            line = " ".join(own)
            raise ConfigError(f"{line}: is a sweep itself and cannot be a job of one; run each alone: `vaex -m {line}`")


def _swept(master: DictConfig) -> list[str]:
    """The sweep of an experiment, as overrides."""
    return [f"{key}={value}" for key, value in (master.hydra.sweeper.params or {}).items()]


def jobs(hydra: Hydra, master: DictConfig, grid: Sequence[Sequence[str]]) -> Iterator[DictConfig]:
    """The configuration of each job, as `load_sweep_config` gives it for its overrides."""
    loader = hydra.config_loader
    assert isinstance(loader, ConfigLoaderImpl)
    parser = OverridesParser.create(config_loader=loader)
    bases: dict[tuple[str, ...], DictConfig] = {}
    parse = functools.cache(parser.parse_override)
    for overrides in grid:
        parsed = [parse(item) for item in overrides]
        if any(item.is_hydra_override() for item in parsed):
            yield loader.load_sweep_config(master, list(overrides))
            continue
        values = [item for item in parsed if not _chooses(loader, item)]
        choices = tuple(line for line, item in zip(overrides, parsed, strict=True) if item not in values)
        if choices not in bases:
            bases[choices] = loader.load_sweep_config(master, list(choices))
        yield _with_values(bases[choices], parsed, values)


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
