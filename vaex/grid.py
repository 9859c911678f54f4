"""The jobs of a grid, composed quickly: Hydra once for each choice of groups, its overrides of values for each job.

Composing takes Hydra a tenth of a second, most of it reading and merging the groups' files, which is the same for all
jobs that choose the same options. `tests/test_config.py` compares the result with Hydra's own, key by key.
"""

import copy
from collections.abc import Iterator, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig


def jobs(hydra: Hydra, master: DictConfig, grid: Sequence[Sequence[str]]) -> Iterator[DictConfig]:
    """The configuration of each job, as `load_sweep_config` gives it for its overrides."""
    loader = hydra.config_loader
    assert isinstance(loader, ConfigLoaderImpl)
    parser = OverridesParser.create(config_loader=loader)
    bases: dict[tuple[str, ...], DictConfig] = {}
    for overrides in grid:
        parsed = parser.parse_overrides(list(overrides))
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
