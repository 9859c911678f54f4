"""`hydra/sweeper=pbt`: a population is asked for; its members are known, and checked, before a directory exists.

To Hydra it is a sweep of so many jobs, one batch of them; `rounds.py` trains them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from vaex import config as configuration
from vaex.config import Config, compose, grid, schedule
from vaex.config.compose import Command
from vaex.config.overrides import key_of
from vaex.config.validation import validate
from vaex.errors import ConfigError, InputError
from vaex.search import explored, lineage, population
from vaex.search.explored import Choice, Space
from vaex.search.lineage import Population
from vaex.search.objectives import Direction
from vaex.search.population import Settings
from vaex.search.settings import NOT_OURS
from vaex.study import quantities
from vaex.sweeping.launcher import PackedLauncher

EXAMPLE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"


class PopulationSweeper(Sweeper):
    """What Hydra calls: one batch of jobs, the members that `with_members` has made."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings  # which `asked` has read long before

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper."""
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the members, beside Hydra's own record of a sweep."""
        OmegaConf.save(self._config, Path(self._config.hydra.sweep.dir) / "multirun.yaml")
        return [self._launcher.launch([list(each) for each in PackedLauncher.task.command.overrides], 0)]


def asked(command: Command) -> Population | None:
    """The population that a command asks for, None for another one; `ConfigError` where it cannot be."""
    sweeper = command.sweeper
    if not command.multirun or sweeper.get("_target_") != grid.POPULATION:
        return None
    own = {key: value for key, value in sweeper.items() if key not in NOT_OURS}
    settings = _directed(validate("hydra.sweeper", Settings, {"hydra.sweeper": own}))
    space = _space(command)
    _refuse_unfit(command, settings, space)
    return Population(settings, space)


def _directed(settings: Settings) -> Settings:
    """The settings with the way in which the metric is better."""
    meaning = quantities.better(settings.metric)
    if settings.direction is None and meaning is None:
        raise ConfigError(
            f"hydra.sweeper.direction: {settings.metric} may be wanted large or small; say maximize or minimize"
        )
    meant: Direction = "maximize" if meaning and meaning[1] == "high" else "minimize"
    return dataclasses.replace(settings, direction=settings.direction or meant)


def _space(command: Command) -> Space:
    swept = [f"{key}={value}" for key, value in (command.sweeper.get("params") or {}).items()]
    return explored.split([*swept, *command.asked])[0]


def _refuse_unfit(command: Command, settings: Settings, space: Space) -> None:
    config, epochs = command.jobs[0], command.jobs[0].training.epochs
    if not space:
        raise ConfigError(f"hydra/sweeper=pbt: nothing to explore; give a key a space, as in {EXAMPLE}")
    if not command.packed:
        raise ConfigError("hydra/sweeper=pbt: needs hydra/launcher=packed, whose jobs know of each other")
    lineage.refuse_stopping([config])
    if config.schedule:
        raise ConfigError("schedule: a population writes its members' schedules itself; leave it empty")
    if command.subdirectories != ("0",):
        raise ConfigError("hydra.sweep.subdir: the members of a population are in 0, 1, 2, …")
    if settings.every >= epochs:
        raise ConfigError(f"hydra.sweeper.every={settings.every}: nothing is decided in training.epochs={epochs}")
    _refuse_apart(settings.metric, config, _refuse_keys(config, space))


def _refuse_apart(metric: str, config: Config, ends: Mapping[str, Sequence[Config]]) -> None:
    """Refuse a metric that is another quantity for other values of an explored key: none would be the best."""
    meaning = quantities.better(metric)
    for key, configs in ends.items():
        sources = [quantities.of_configuration(configuration.dump(each)) for each in (config, *configs)]
        if meaning and not quantities.one(sources, meaning[0]):
            raise ConfigError(
                f"hydra.sweeper.metric: {metric} is another quantity where {key} changes, so no member is the best "
                "by it; take valid/elbo"
            )


def _refuse_keys(config: Config, space: Space) -> dict[str, list[Config]]:
    """Refuse keys that cannot change while a run trains, and spaces with values that a key cannot have.

    Returns for each key the configurations with its values, of an interval with its ends.
    """
    known = [key for key in schedule.may_change(config) if key != "seed"]
    found: dict[str, list[Config]] = {}
    for key, each in space.items():
        if key == "seed":
            raise ConfigError("seed: each member of a population has its own: seed=N is that of the first")
        if key not in known:
            raise ConfigError(f"{key}: cannot change while a run trains (a population explores: {', '.join(known)})")
        values = each.values if isinstance(each, Choice) else (each.low, each.high)
        found[key] = [_with_values(config, {key: value}) for value in values]
    return found


def with_members(command: Command, asked: Population) -> Command:
    """The command of all members: each with its values and a seed of its own."""
    common, seed = command.jobs[0], command.jobs[0].seed
    fixed = [line for line in command.overrides[0] if key_of(line) not in (*asked.space, "seed")]
    values = [
        each | {"seed": seed + number} for number, each in enumerate(population.begin(asked.settings, asked.space))
    ]
    return dataclasses.replace(
        command,
        jobs=tuple(_with_values(common, each) for each in values),
        overrides=tuple((*fixed, *_written(each)) for each in values),
        subdirectories=tuple(map(str, range(len(values)))),
        sweeper_decides=False,
    )


def _with_values(config: Config, values: Mapping[str, Any]) -> Config:
    plain, _ = compose.override(configuration.dump(config), _written(values))
    return configuration.parse(plain)


def _written(values: Mapping[str, Any]) -> list[str]:
    """Values as overrides."""
    return [f"{key}={'null' if value is None else repr(value)}" for key, value in values.items()]


def refuse_another(directory: Path, asked: Population | None) -> None:
    """Raise `InputError` where a directory holds a sweep that was begun otherwise."""
    held = lineage.read(directory) if lineage.exists(directory) else None
    same = held == asked or (held and asked and (held.settings, held.space) == (asked.settings, asked.space))
    if not same:
        raise InputError(f"{directory} holds another sweep: choose another directory, or go on with `vaex resume`")
