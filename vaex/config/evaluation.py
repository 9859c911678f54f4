"""The section `evaluation`: which metrics, of which images, by how many draws; a sub-section of numbers a metric."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config.validation import STRICT, refuse_unknown, validate
from vaex.errors import ConfigError

SECTION = "evaluation"


@dataclass(frozen=True, config=STRICT)
class Common:
    """What every metric is told: by which draws of which images it is measured."""

    metrics: tuple[str, ...]
    split: Literal["train", "valid", "test"]
    samples: Annotated[int, Field(ge=1)]
    limit: Annotated[int, Field(ge=1)] | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]


COMMON = tuple(field.name for field in dataclasses.fields(Common))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The section; `options` has the `Config` of each metric that has a sub-section, or is asked for."""

    common: Common
    options: tuple[tuple[str, Any], ...]

    @property
    def metrics(self) -> dict[str, Any]:
        """The `Config` of each metric that is asked for, in that order."""
        known = dict(self.options)
        return {name: known[name] for name in self.common.metrics}


def parse(plain: Mapping[str, Any], ours: tuple[str, ...], config_of: Callable[[str], Any]) -> Evaluation:
    """The typed section of a run's plain values; `config_of` gives a metric's type, or raises `ConfigError`."""
    section = plain.get(SECTION)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{SECTION}: missing or not a section")
    common = validate(SECTION, Common, {SECTION: {key: section[key] for key in COMMON if key in section}})
    types = {name: config_of(name) for name in common.metrics}
    refuse_unknown(section, (*COMMON, *ours, *types), f"{SECTION}.")
    options = []
    for name in dict.fromkeys((*(key for key in section if key not in COMMON), *common.metrics)):
        expected = types.get(name) or config_of(name)
        own = section.get(name, {} if not dataclasses.fields(expected) else None)
        if own is None:
            raise ConfigError(f"{SECTION}.{name}: missing")
        options.append((name, validate(f"{SECTION}.{name}", expected, {f"{SECTION}.{name}": own})))
    return Evaluation(common, tuple(options))


def dump(section: Evaluation) -> dict[str, Any]:
    """The plain values of the section."""
    options = {name: dataclasses.asdict(config) for name, config in section.options}
    return dataclasses.asdict(section.common) | {name: values for name, values in options.items() if values}
