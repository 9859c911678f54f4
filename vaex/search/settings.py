"""What `hydra.sweeper.*` says of a search, typed."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.config.validation import validate
from vaex.errors import ConfigError
from vaex.search.objectives import Direction

SECTION = "hydra.sweeper"

NOT_OURS = ("_target_", "params")
"""Hydra's own keys of a sweeper's section."""

type_of_seed = Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, config=STRICT)
class Settings:
    """How long is searched, for what, and by which sampler; conf/hydra/sweeper/optuna.yaml has the values."""

    trials: Annotated[int, Field(ge=1)]
    objective: Annotated[tuple[str, ...], Field(min_length=1)]
    direction: tuple[Direction, ...] | None
    sampler: Literal["tpe", "random", "cmaes", "gp", "qmc", "grid"]
    startup: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=1)]
    seed: type_of_seed
    ordered: bool
    at_once: Annotated[int, Field(ge=1)] | None


def parse(section: Mapping[str, Any]) -> Settings:
    """The settings of plain values; raises `ConfigError` naming the first mistake."""
    own = {key: value for key, value in section.items() if key not in NOT_OURS}
    for key in ("objective", "direction"):
        if isinstance(own.get(key), str):
            own[key] = [own[key]]
    settings = validate(SECTION, Settings, {SECTION: own})
    if settings.sampler == "cmaes" and len(settings.objective) > 1:
        raise ConfigError(
            f"{SECTION}.sampler: cmaes takes one objective, got {len(settings.objective)}; tpe takes several"
        )
    return settings


NEEDED = {"cmaes": ("cmaes", 'pip install "vaex-experiments[search]"'), "gp": ("torch", "pip install torch")}
"""Samplers that need a package besides Optuna, and how it is installed."""


def refuse_missing(sampler: str) -> None:
    """Raise `ConfigError` where a package that the search needs is not installed."""
    if not _installed("optuna"):
        raise ConfigError('hydra/sweeper=optuna needs Optuna: pip install "vaex-experiments[search]"')
    package, install = NEEDED.get(sampler, ("", ""))
    if package and not _installed(package):
        raise ConfigError(f"{SECTION}.sampler={sampler} needs the package {package}: {install}")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # somebody has blocked it
        return False
