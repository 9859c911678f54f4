"""A search as data: what sweep.json records of it, so that it goes on after any end, and its trials as configurations.

A trial is the base of its options with the values of its other keys, set as `vaex reproduce RUN key=value` sets them:
nothing that a sweep's directory holds is a command that is run.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex.config import Config, compose
from vaex.config.overrides import among, key_of
from vaex.disk import saved, sweep
from vaex.errors import ConfigError, InputError
from vaex.search import objectives, settings, space
from vaex.search.objectives import Direction
from vaex.search.samplers import most_trials
from vaex.search.settings import Settings
from vaex.search.space import SEED, Parameter, Value
from vaex.stopping import refusals
from vaex.tracking import tracker

OF_SWEEP = ("sweep", "pack")
"""Sections that say how a sweep is run."""


@dataclass(frozen=True)
class Plan:
    """What a search was begun with. `bases` are complete plain configurations, by the options that a trial chooses."""

    settings: Settings
    directions: tuple[Direction, ...]
    lines: tuple[str, ...]
    fixed: tuple[str, ...]
    bases: Mapping[str, Mapping[str, Any]]
    groups: frozenset[str]
    parameters: tuple[Parameter, ...]
    seeds: tuple[int, ...]

    @property
    def trials(self) -> int:
        """How many trials it has."""
        return most_trials(self.settings, self.parameters)

    def overrides(self, values: Mapping[str, Value], seed: int) -> list[str]:
        """What a job of a trial overrides, as a command line has it."""
        fixed = [line for line in self.fixed if key_of(line) != SEED]
        return [*fixed, *(each.override(values[each.key]) for each in self.parameters), f"{SEED}={seed}"]

    def config(self, values: Mapping[str, Value], seed: int, plugins: Sequence[str] = ()) -> Config:
        """The configuration of a job of a trial; raises `ConfigError` for a combination that is none."""
        own = [each.override(values[each.key]) for each in self.parameters if each.key not in self.groups]
        base = dict(self.bases[self.chosen(values)])
        changed, keys = compose.override(base, [*own, f"{SEED}={seed}"])
        return tracker.resolved(
            saved.parse_saved(Path(sweep.NAME), changed | {"plugins": list(plugins)}, [*keys, "plugins"])
        )

    def chosen(self, values: Mapping[str, Value]) -> str:
        """The options of a trial, by which its base is known."""
        return " ".join(each.override(values[each.key]) for each in self.parameters if each.key in self.groups)

    def record(self) -> dict[str, Any]:
        """What sweep.json has of it."""
        texts = {line.partition("=")[0]: line.partition("=")[2] for line in self.lines}
        own = dataclasses.asdict(self.settings) | {"direction": list(self.directions)}
        return own | {
            "objective": list(self.settings.objective), "space": texts, "fixed": list(self.fixed),
            "seeds": list(self.seeds), "groups": sorted(self.groups), "bases": dict(self.bases), "in_all": self.trials,
        }  # fmt: skip


def read(directory: Path) -> Plan:
    """The plan of a search that was begun; raises `InputError` where sweep.json has none that is sound."""
    record = sweep.read_search(directory)
    own = ("space", "fixed", "seeds", "groups", "bases", "in_all")
    try:
        chosen = settings.parse({key: value for key, value in record.items() if key not in own})
        lines = tuple(f"{key}={text}" for key, text in record["space"].items())
        fixed, seeds = tuple(map(str, record["fixed"])), tuple(map(int, record["seeds"]))
        parameters = tuple(space.parameters(lines))
        groups, bases = frozenset(map(str, record["groups"])), dict(record["bases"])
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise InputError(f"{directory / sweep.NAME}: not the record of a search ({error})") from error
    if not (seeds and bases and all(isinstance(base, dict) for base in bases.values())):
        raise InputError(f"{directory / sweep.NAME}: not the record of a search")
    return Plan(chosen, tuple(chosen.direction or ()), lines, fixed, bases, groups, parameters, seeds)


def make(command: compose.Command, configs: Sequence[Config]) -> Plan:
    """The plan of a command line, whose probes have these configurations; raises `ConfigError`, one line."""
    asked = command.search
    assert asked is not None
    chosen = settings.parse(asked.settings)
    settings.refuse_missing(chosen.sampler)
    parameters = tuple(space.parameters(asked.lines))
    _refuse_of_sweep(parameters)
    directions = objectives.check(chosen.objective, chosen.direction, configs)
    groups = frozenset(asked.groups)
    own = {each.element for each in parameters if each.key in groups}
    names = (" ".join(line for line in probe if line.partition("=")[0] in own) for probe in command.overrides)
    bases = {name: configuration.dump(config) for name, config in zip(names, configs, strict=True)}
    seeds = space.seeds(asked.lines, configs[0].seed, chosen.repeats)
    plan = Plan(chosen, directions, asked.lines, asked.fixed, bases, groups, parameters, seeds)
    most_trials(chosen, parameters)
    return plan


def check(plan: Plan, configs: Sequence[Config]) -> None:
    """Raise `ConfigError` where an end of a key's range, or a choice, is refused beside the first values of others."""
    refusals.check_search(configs[0], [each.key for each in plan.parameters])
    refusals.check(configs)
    refuse_too_many(plan, configs[0])
    ends = [*configs]
    for config in configs:
        base = configuration.dump(config)
        for each in plan.parameters:
            for value in each.ends() if each.key not in plan.groups else ():
                changed, _ = compose.override(base, [each.override(value)])
                ends.append(_parsed(each, changed))
    objectives.refuse_apart(plan.settings.objective, ends)


def refuse_too_many(plan: Plan, config: Config) -> None:
    """Raise `InputError` where sweep.json would not hold all jobs: now, not when most have been trained."""
    jobs = plan.trials * len(plan.seeds)
    sweep.refuse_too_many(jobs, sweep.noted(jobs, Path(str(jobs)), [*plan.fixed, *plan.lines], config, plan.trials))


def _parsed(each: Parameter, changed: Mapping[str, Any]) -> Config:
    try:
        config = configuration.parse(changed)
        refusals.check([config])
        return config
    except ConfigError as error:
        raise ConfigError(f"{error} ({each.element}={each.text}){_hint(each, str(error))}") from error


def _hint(each: Parameter, told: str) -> str:
    """How a range of whole numbers is written, where a key wants one."""
    return (
        f"; whole numbers are {each.element}=int({each.text})"
        if isinstance(each.low, float) and "integer" in told
        else ""
    )


def _refuse_of_sweep(parameters: Sequence[Parameter]) -> None:
    """Raise `ConfigError` for a key that says how the whole sweep is run, which no trial can choose."""
    for each in parameters:
        if among(each.key, OF_SWEEP):
            raise ConfigError(
                f"{each.element}={each.text}: is of the whole search, the same in all trials; give it one"
            )


def jobs_of(
    plan: Plan, trial: int, parameters: Mapping[str, Value], plugins: tuple[str, ...]
) -> list[tuple[sweep.Noted, Config]]:
    """The jobs of a trial, one a seed; raises `ConfigError` where its parameters make no configuration."""
    found = []
    for number, seed in enumerate(plan.seeds, trial * len(plan.seeds)):
        config = plan.config(parameters, seed, plugins)
        overrides = plan.overrides(parameters, seed)
        found.append((sweep.noted(number, Path(str(number)), overrides, config, trial), config))
    return found
