"""The options of configuration groups: a file each, found by its name, ours or a plugin's."""

import dataclasses
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from vaex.config import evaluation, plugins
from vaex.config.validation import nearest
from vaex.errors import ConfigError

GROUPS = {
    "dataset": "datasets",
    "model": "models",
    "loss": "losses",
    "likelihood": "likelihoods",
    "kl_weight": "kl_weights",
    "optimizer": "optimizers",
}
"""Configuration group -> package of its options."""

FUNCTIONS = {
    "dataset": ("load",),
    "model": ("build",),
    "loss": ("posterior",),
    "likelihood": ("check", "initial_parameters", "observe", "log_prob", "mean"),
    "kl_weight": ("numbers", "penalty"),
    "optimizer": ("direction",),
}
"""What the module of an option must define besides `Config`; that of a metric also `NEEDS`, a tuple."""

PACKAGES = {**GROUPS, evaluation.SECTION: "evaluations"}
"""Also of metrics, which a list names: any number of them, none a section of a run's own."""

NEEDED = {**FUNCTIONS, evaluation.SECTION: ("measure",)}


def find(group: str, name: str, named: Iterable[str] = ()) -> ModuleType:
    """The module that implements an option: ours (`vaex.losses.gamma`), or one from the plugins that the user named.

    Two plugins may have options of one name for different groups: one that lacks what this group needs is passed over.
    Raises `ConfigError` for a name that no file has, or only such plugins.
    """
    if name in ours(group):
        return importlib.import_module(f"vaex.{PACKAGES[group]}.{name}")
    incomplete = []
    for module in filter(None, (plugins.option(plugin, name) for plugin in named)):
        lacking = _lacking(group, module)
        if not lacking:
            return module
        incomplete.append(f"{module.__file__} does not define {', '.join(lacking)}")
    if incomplete:
        raise ConfigError(f"{group}: {'; '.join(incomplete)}")
    where, kind = (f"{group}.name", "option") if group in GROUPS else (f"{group}.metrics", "metric")
    known = ours(group)
    raise ConfigError(f"{where}: no {kind} {name!r}{nearest(name, known)} ({kind}s: {', '.join(known)})")


def ours(group: str) -> tuple[str, ...]:
    """The names of a group's options that come with vaex."""
    package = importlib.import_module(f"vaex.{PACKAGES[group]}")
    return tuple(sorted(path.stem for path in Path(package.__path__[0]).glob("[!_]*.py")))


def implementation(option: Any) -> ModuleType:
    """The module in which an option's `Config` was defined, and with it the option's functions."""
    return sys.modules[type(option).__module__]


def _lacking(group: str, module: ModuleType) -> list[str]:
    """What the module of an option does not define."""
    lacking = [name for name in NEEDED[group] if not callable(getattr(module, name, None))]
    if getattr(module, "LEARNED", ()) and not callable(getattr(module, "adapt", None)):
        lacking.append("adapt, which LEARNED needs")
    return lacking if dataclasses.is_dataclass(getattr(module, "Config", None)) else ["a dataclass Config", *lacking]
