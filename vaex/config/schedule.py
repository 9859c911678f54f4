"""The key `schedule`: numbers of a run that change from an epoch on, as data.

    schedule=[{epoch: 5, optimizer.learning_rate: 2e-3}, {epoch: 8, kl_weight.beta: 1.5, seed: 3}]

Epochs count from 1, as in metrics.jsonl; a change holds from the first step of its epoch until another one. Numbers
only that are arguments of the compiled program: nothing is compiled anew. Times are the run's own and go on: a warm-up
of 3 epochs that is given at epoch 5 is over, and what a KL weight has learned it keeps.
"""

import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from vaex.config.validation import nearest
from vaex.errors import ConfigError

KEY, EPOCH = "schedule", "epoch"

ALWAYS = (
    "seed",
    "optimizer.learning_rate",
    "optimizer.warmup_epochs",
    "training.gradient_clip",
    "training.max_skips",
    "training.skip_above",
)
"""Keys that may change besides those of the KL weight: the numbers of `Hyper` (vae/objective.py)."""

type_of_number = float | int | str | bool | None
"""What a key may hold; the KL weight of a plugin may have other than numbers."""

Validate = Callable[[str, Mapping[str, Any]], Any]
"""The typed value of a key or section of plain values, as `config.parsing` checks it."""


@dataclasses.dataclass(frozen=True)
class Change:
    """Values by full key that hold from the first step of `epoch` on."""

    epoch: int
    values: tuple[tuple[str, type_of_number], ...]


def may_change(config: Any) -> tuple[str, ...]:
    """The keys of a configuration that a change may name."""
    own = (field.name for field in dataclasses.fields(config.kl_weight) if field.name != "name")
    return (*ALWAYS, *(f"kl_weight.{name}" for name in own))


def parse(plain: Mapping[str, Any], config: Any, validate: Validate) -> tuple[Change, ...]:
    """The changes of a run's plain values, whose `config` has none yet; `ConfigError` naming the first mistake."""
    if KEY not in plain:
        raise ConfigError(f"{KEY}: missing")
    given, changes = plain[KEY], []
    if not isinstance(given, (list, tuple)):
        raise ConfigError(f"{KEY}: expected a list of changes, as [{{epoch: 5, seed: 3}}], got {given!r}")
    for number, entry in enumerate(given):
        where = f"{KEY}[{number}]"
        epoch = _epoch(where, entry, changes[-1].epoch if changes else 1, config.training.epochs)
        asked = {str(key): value for key, value in entry.items() if key != EPOCH}
        _refuse_keys(where, asked, config)
        config = _changed(where, config, asked, validate)
        changes.append(Change(epoch, tuple((key, _value(config, key)) for key in asked)))
    return tuple(changes)


def dump(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    """The plain values of changes."""
    return [{EPOCH: change.epoch, **dict(change.values)} for change in changes]


def without(changes: tuple[Change, ...], keys: Collection[str]) -> tuple[Change, ...]:
    """The changes, less those of some keys."""
    left = (Change(each.epoch, tuple(item for item in each.values if item[0] not in keys)) for each in changes)
    return tuple(change for change in left if change.values)


def written(changes: tuple[Change, ...]) -> str:
    """Changes as an override in Hydra's grammar."""
    entries = (",".join(f"{key}:{json.dumps(value)}" for key, value in entry.items()) for entry in dump(changes))
    return f"{KEY}=[{','.join('{' + entry + '}' for entry in entries)}]"


def at(config: Any, epoch: int) -> Any:
    """The configuration whose numbers hold in an epoch, from 1."""
    for change in began(config, epoch):
        for section, own in _by_section(dict(change.values)):
            value = own if section == "seed" else dataclasses.replace(getattr(config, section), **own)
            config = dataclasses.replace(config, **{section: value})
    return config


def began(config: Any, epoch: int) -> tuple[Change, ...]:
    """The changes that hold in an epoch, from 1."""
    return tuple(change for change in config.schedule if change.epoch <= epoch)


def _epoch(where: str, entry: Any, before: int, epochs: int) -> int:
    """The epoch of a change: after that of the one before, and one that the run has."""
    if not isinstance(entry, Mapping) or set(entry) <= {EPOCH}:
        raise ConfigError(f"{where}: expected an epoch and what changes then, as {{epoch: 5, seed: 3}}, got {entry!r}")
    epoch = entry.get(EPOCH)
    if type(epoch) is not int:
        raise ConfigError(f"{where}.epoch: expected the epoch that begins with the change, got {epoch!r}")
    if epoch <= before:
        first = "epoch 1 has what the configuration says elsewhere" if before == 1 else f"the one before has {before}"
        raise ConfigError(f"{where}.epoch: expected epochs that rise ({first}), got {epoch}")
    if epoch > epochs:
        raise ConfigError(f"{where}.epoch: expected at most training.epochs={epochs}, got {epoch}")
    return epoch


def _refuse_keys(where: str, asked: Mapping[str, Any], config: Any) -> None:
    known = may_change(config)
    for key in asked:
        if key in known:
            continue
        listed = f"(may change: {', '.join(known)})"
        if _exists(config, key):
            raise ConfigError(f"{where}.{key}: cannot change while a run trains {listed}")
        raise ConfigError(f"{where}.{key}: unknown key{nearest(key, known)} {listed}")


def _exists(config: Any, key: str) -> bool:
    """Whether a configuration has a key or section of this name."""
    for name in key.split("."):
        if not hasattr(config, name):
            return False
        config = getattr(config, name)
    return True


def _changed(where: str, config: Any, asked: Mapping[str, Any], validate: Validate) -> Any:
    for section, own in _by_section(asked):
        plain = own if section == "seed" else dataclasses.asdict(getattr(config, section)) | own
        try:
            config = dataclasses.replace(config, **{section: validate(section, {section: plain})})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    return config


def _by_section(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values by key as a mapping for each section; that of a key without a section is itself."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            sections.setdefault(section, {})[name] = value
        else:
            yield key, value
    yield from sections.items()


def _value(config: Any, key: str) -> type_of_number:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name) if name else getattr(config, section)
