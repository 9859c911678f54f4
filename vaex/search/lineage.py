"""population.json: what a population explores, and what it has decided; with sweep.json's jobs, which are as each
member began, that is all there is to know of it.

A decision is written before it is carried out, and carrying it out twice is as once: whatever was cut off can go on.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import Config, schedule
from vaex.config.validation import validate
from vaex.disk.directory import POPULATION
from vaex.errors import ConfigError, InputError
from vaex.search.explored import Choice, Interval, Space
from vaex.search.population import Decision, Settings

NAME = POPULATION


@dataclasses.dataclass(frozen=True)
class Round:
    """After `epoch`: each member's score (None: diverged), the values it had, and who goes on from whom."""

    epoch: int
    scores: tuple[float | None, ...]
    values: tuple[Mapping[str, Any], ...]
    decisions: tuple[Decision, ...]


@dataclasses.dataclass(frozen=True)
class Population:
    """How it decides, what it explores, the rounds so far."""

    settings: Settings
    space: Space
    rounds: tuple[Round, ...] = ()


def exists(directory: Path) -> bool:
    """Whether the sweep in a directory is a population."""
    return (directory / NAME).exists()


def write(directory: Path, population: Population) -> None:
    """Write population.json."""
    files.write_json(directory / NAME, {"format": 1, **dataclasses.asdict(population)})


def read(directory: Path) -> Population:
    """The population of a sweep; raises `InputError` for what no version wrote."""
    content = files.read_json(directory / NAME)
    try:
        settings = validate("settings", Settings, content)
        if settings.direction is None:
            raise ValueError("direction")
        space = {str(key): _space(each) for key, each in content["space"].items()}
        rounds = tuple(_round(each, settings, space) for each in content["rounds"])
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(f"{directory / NAME}: not the record of a population ({error})") from error
    return Population(settings, space, rounds)


def _space(plain: Mapping[str, Any]) -> Interval | Choice:
    if "values" in plain:
        return Choice(tuple(plain["values"]))
    return Interval(float(plain["low"]), float(plain["high"]), bool(plain["log"]))


def _round(plain: Mapping[str, Any], settings: Settings, space: Space) -> Round:
    decisions = tuple(Decision(each["member"], each["source"], each["values"]) for each in plain["decisions"])
    known = range(settings.population)
    if not all(
        each.member in known and each.source in known and each.values.keys() == space.keys() for each in decisions
    ):
        raise ValueError(f"decisions after epoch {plain['epoch']}")
    if not len(plain["scores"]) == len(plain["values"]) == settings.population or type(plain["epoch"]) is not int:
        raise ValueError(f"scores after epoch {plain['epoch']}")
    return Round(plain["epoch"], tuple(plain["scores"]), tuple(plain["values"]), decisions)


def refuse_stopping(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` where the members of a population are to be stopped early."""
    if any(config.sweep.stop.stops for config in configs):
        raise ConfigError("sweep.stop: a population replaces its worst members itself; choose one of both")


def followed(population: Population, begun: Sequence[Config]) -> list[Config]:
    """The configuration that each member follows by now, `begun` being those with which they began."""
    now = list(begun)
    for each in population.rounds:
        before = list(now)
        for decision in each.decisions:
            own = begun[decision.member]
            now[decision.member] = _taken_over(before[decision.source], own, decision.values, each.epoch)
    return now


def _taken_over(source: Config, own: Config, values: Mapping[str, Any], epoch: int) -> Config:
    """The source's configuration up to `epoch`, then these values and the member's own seed, paths and the like."""
    plain, kept = configuration.dump(source), configuration.dump(own)
    before = values_at(source, epoch, (*values, "seed"))
    wanted = {**values, "seed": own.seed}
    change = {key: value for key, value in wanted.items() if value != before[key]}
    changes = [*plain[schedule.KEY], {schedule.EPOCH: epoch + 1, **change}] if change else plain[schedule.KEY]
    kept = {key: kept[key] for key in configuration.NOT_IDENTITY}
    return configuration.parse(plain | kept | {schedule.KEY: changes})


def values_at(config: Config, epoch: int, keys: Sequence[str]) -> dict[str, Any]:
    """The values of these keys by which a run trains in an epoch, from 1."""
    now, found = schedule.at(config, epoch), {}
    for key in keys:
        section, _, name = key.partition(".")
        found[key] = getattr(getattr(now, section), name) if name else getattr(now, section)
    return found
