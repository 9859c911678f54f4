"""Plain values and the typed `Config`, one from the other: `parse` stands between YAML and code for every door, command
line, sweep job, saved run.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from vaex.config import evaluation, expect, later, plugins, schedule
from vaex.config.evaluation import Evaluation
from vaex.config.options import GROUPS, find, ours
from vaex.config.schema import NOT_IDENTITY, PLACED, PLACEMENT, Config
from vaex.config.validation import refuse_unknown, validate
from vaex.errors import ConfigError


def parse(plain: Mapping[str, Any]) -> Config:
    """The typed configuration of plain, resolved YAML values; raises `ConfigError` naming the first mistake."""
    types = get_type_hints(Config, include_extras=True)
    placed = types.pop(PLACEMENT)
    refuse_unknown(plain, types, "")
    placement, plain = _placement(plain, placed)
    named = validate("plugins", types["plugins"], plain)
    for plugin in named:
        plugins.load(plugin)
    values: dict[str, Any] = {expect.KEY: expect.parse(plain)}
    for key, expected in types.items():
        if key in GROUPS:
            expected = find(key, _option_name(key, plain), named).Config
        if key == evaluation.SECTION:
            values[key] = parse_evaluation(plain, named)
        elif key not in (expect.KEY, schedule.KEY):
            values[key] = validate(key, expected, plain)
    config = Config(**values, placement=placement, schedule=())

    def again(key: str, changed: Mapping[str, Any]) -> Any:
        return validate(key, type(getattr(config, key)) if key != "seed" else types[key], changed)

    return dataclasses.replace(config, schedule=schedule.parse(plain, config, again))


def _placement(plain: Mapping[str, Any], expected: Any) -> tuple[Any, Mapping[str, Any]]:
    """The `dataset.placement` of plain values, and those without it."""
    section = plain.get("dataset")
    if not isinstance(section, Mapping):
        return None, plain  # refused where the option is sought
    known = {PLACED: section[PLACEMENT]} if PLACEMENT in section else {}
    without = {name: value for name, value in section.items() if name != PLACEMENT}
    return validate(PLACED, expected, known), {**plain, "dataset": without}


def parse_evaluation(plain: Mapping[str, Any], named: Iterable[str]) -> Evaluation:
    """The section `evaluation` alone; its metrics are ours, or of the plugins that the user named."""
    return evaluation.parse(plain, ours(evaluation.SECTION), lambda name: find(evaluation.SECTION, name, named).Config)


def dump(config: Config) -> dict[str, Any]:
    """The plain values, complete and resolved, names of options first: `parse(dump(config)) == config`."""
    own = {
        evaluation.SECTION: evaluation.dump(config.evaluation),
        expect.KEY: expect.dump(config.expect),
        schedule.KEY: schedule.dump(config.schedule),
    }
    plain = json.loads(json.dumps(dataclasses.asdict(config) | own))
    plain["dataset"][PLACEMENT] = plain.pop(PLACEMENT)
    return plain | {group: {"name": plain[group]["name"]} | plain[group] for group in GROUPS}


def identity(config: Config) -> str:
    """SHA-256 of what decides a run's numbers: everything but the sections of `NOT_IDENTITY`."""
    return hashlib.sha256(json.dumps(identifying(config), sort_keys=True).encode()).hexdigest()


def identifying(config: Config) -> dict[str, Any]:
    """The plain values that decide a run's numbers, as the first version that had them would have written them."""
    return later.without_keys(deciding(dump(config)))


def deciding(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values less those that do not change what a run computes."""
    kept = {key: value for key, value in plain.items() if key not in NOT_IDENTITY}
    if isinstance(plain.get("dataset"), Mapping):
        kept["dataset"] = {key: value for key, value in plain["dataset"].items() if key != PLACEMENT}
    return kept


def _option_name(group: str, plain: Mapping[str, Any]) -> str:
    section = plain.get(group)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{group}: missing or not a section; choose an option, for example {group}=NAME")
    name = section.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"{group}.name: expected the name of an option, got {name!r}")
    return name
