"""Types of a run's configuration, and the one way from YAML values to them.

Values live in YAML (`conf/`), types here and in the option modules (`vaex/losses/gamma.py` has the `Config` of
`loss=gamma`). `parse` stands between the two for every door: command line, sweep job, saved run.
"""

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vaex.errors import ConfigError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

GROUPS = {
    "dataset": "datasets",
    "model": "models",
    "loss": "losses",
    "likelihood": "likelihoods",
    "kl_weight": "kl_weights",
    "optimizer": "optimizers",
}
"""Configuration group -> package of its options."""

type_of_precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, config=STRICT)
class Training:
    """The loop: how long, in which batches, and what happens at a value that is not finite."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    gradient_clip: Annotated[float, Field(gt=0)] | None
    on_nonfinite: Literal["record", "skip", "raise"]
    max_skips: Annotated[int, Field(ge=0)]
    spike_nats: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class Precision:
    """Number formats: of the networks' products, of (μ, raw) → posterior and KL, of float32 products on a GPU."""

    network: type_of_precision
    posterior: type_of_precision
    matmul: Literal["float32", "tf32"]


@dataclass(frozen=True, config=STRICT)
class Tracking:
    """What Weights & Biases is told; where a key is null, W&B's own variable holds (WANDB_PROJECT, …)."""

    mode: Literal["online", "offline", "disabled"] | None
    project: str | None
    entity: str | None
    group: str | None
    name: str | None
    tags: tuple[str, ...] | None


@dataclass(frozen=True, config=STRICT)
class Checkpoint:
    """How often the state is saved, in epochs, and how many of the newest are kept (the best one always)."""

    every: Annotated[int, Field(ge=1)]
    keep: Annotated[int, Field(ge=1)]


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. Hashable: equal configurations are the same run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    dataset: Any
    model: Any
    loss: Any
    likelihood: Any
    kl_weight: Any
    optimizer: Any
    training: Training
    precision: Precision
    tracking: Tracking
    checkpoint: Checkpoint
    plugins: tuple[str, ...]


NOT_IDENTITY = ("tracking", "checkpoint", "plugins")
"""Sections that do not change what a run computes."""


def parse(plain: Mapping[str, Any]) -> Config:
    """The typed configuration of plain, resolved YAML values; raises `ConfigError` naming the first mistake."""
    types = get_type_hints(Config, include_extras=True)
    _refuse_unknown(plain, types, "")
    plugins = _validate("plugins", types["plugins"], plain)
    for plugin in plugins:
        import_plugin(plugin)
    values = {}
    for key, expected in types.items():
        if key in GROUPS:
            expected = find(key, _option_name(key, plain), plugins).Config
        values[key] = _validate(key, expected, plain)
    return Config(**values)


def find(group: str, name: str, plugins: Iterable[str] = ()) -> ModuleType:
    """The module that implements an option: ours (`vaex.losses.gamma`), or one from the user's plugins.

    A plugin is a package of options (`my_lab.losses`), or one file (`./my_loss.py`, its name is the option's).
    Raises `ConfigError` for a name that no file has.
    """
    package = importlib.import_module(f"vaex.{GROUPS[group]}")
    ours = sorted(path.stem for path in Path(package.__path__[0]).glob("[!_]*.py"))
    if name in ours:
        return importlib.import_module(f"{package.__name__}.{name}")
    for plugin in plugins:
        module = _option_of(plugin, name)
        if module is not None:
            return module
    raise ConfigError(f"{group}.name: no option {name!r}{nearest(name, ours)} (options: {', '.join(ours)})")


def implementation(option: Any) -> ModuleType:
    """The module in which an option's `Config` was defined, and with it the option's functions."""
    return sys.modules[type(option).__module__]


def dump(config: Config) -> dict[str, Any]:
    """The plain values, complete and resolved: `parse(dump(config)) == config`."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def identity(config: Config) -> str:
    """SHA-256 of what decides a run's numbers: everything but tracking, checkpoint and plugin paths."""
    plain = {key: value for key, value in dump(config).items() if key not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def nearest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'gamma'?` for the closest choice (shown behind `prefix`), or nothing when none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""


def _option_name(group: str, plain: Mapping[str, Any]) -> str:
    section = plain.get(group)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{group}: missing or not a section; choose an option, for example {group}=NAME")
    name = section.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"{group}.name: expected the name of an option, got {name!r}")
    return name


def import_plugin(plugin: str) -> ModuleType:
    """The package or file that the user named in `plugins`; raises `ConfigError` when it cannot be imported."""
    try:
        return _from_file(Path(plugin)) if plugin.endswith(".py") else importlib.import_module(plugin)
    except Exception as error:  # it is the user's code: whatever it raises belongs on the user's screen
        raise ConfigError(f"plugins: {plugin!r} cannot be imported: {type(error).__name__}: {error}") from error


def _option_of(plugin: str, name: str) -> ModuleType | None:
    """The module of option `name` in a plugin, if it has one."""
    module = import_plugin(plugin)
    if any((Path(folder) / f"{name}.py").exists() for folder in getattr(module, "__path__", ())):
        return import_plugin(f"{plugin}.{name}")
    stem = Path(plugin).stem if plugin.endswith(".py") else plugin.rpartition(".")[2]
    return module if stem == name else None


def _from_file(path: Path) -> ModuleType:
    module_name = f"vaex_plugin_{path.stem}"
    loaded = sys.modules.get(module_name)
    if loaded is not None and loaded.__file__ == str(path.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs: dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _validate(key: str, expected: Any, plain: Mapping[str, Any]) -> Any:
    if key not in plain:
        raise ConfigError(f"{key}: missing")
    value = plain[key]
    fields = {field.name for field in dataclasses.fields(expected)} if isinstance(expected, type) else set()
    if fields and isinstance(value, Mapping):
        _refuse_unknown(value, fields, f"{key}.")
    try:
        # Through JSON: strict validation of Python values refuses dict -> dataclass and list -> tuple.
        return TypeAdapter(expected).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ConfigError(_one_line(key, error)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{key}: holds something that is no plain value ({error})") from error


def _refuse_unknown(section: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
    for key in section:
        if key not in known:
            choices = [f"{prefix}{name}" for name in sorted(known)]
            hint = nearest(str(key), known, prefix)
            raise ConfigError(f"{prefix}{key}: unknown key{hint} (keys: {', '.join(choices)})")


EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list, like [1, 2]",
    "finite_number": "a finite number",
    "dataclass_type": "a section of keys",
    "dict_type": "a section of keys",
}
"""pydantic's kinds of error in the words of a configuration; its own words serve for the others."""


def _one_line(key: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][:2])
    if first["type"] == "missing":
        return f"{path}: missing"
    message = first["msg"].removeprefix("Input should be ")
    message = EXPECTED.get(first["type"], message.removeprefix("expected "))
    choices = re.findall(r"'([^']*)'", message) if first["type"] == "literal_error" else []
    return f"{path}: expected {message}, got {json.dumps(first['input'])}{nearest(str(first['input']), choices)}"
