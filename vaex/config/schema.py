"""Types of a run's configuration, and the one way from YAML values to them.

Values live in YAML (`conf/`), types here and in the option modules (`vaex/losses/gamma.py` has the `Config` of
`loss=gamma`). `parse` stands between the two for every door: command line, sweep job, saved run.
"""

import dataclasses
import hashlib
import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from vaex.config import evaluation, expect, later, plugins, schedule
from vaex.config.evaluation import Evaluation
from vaex.config.expect import Row
from vaex.config.schedule import Change
from vaex.config.validation import STRICT, nearest, refuse_unknown, validate
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

type_of_placement = Literal["auto", "device", "stream"]
"""Where images are while a run trains: in the device's memory, or brought there a chunk at a time; auto: by size."""

type_of_precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, config=STRICT)
class Training:
    """The loop: how long, in which batches, on how many devices, and what happens at a value that is not finite.

    `devices` is a number in every saved run: `all` is those that there were.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=1)] | Literal["all"]
    gradient_clip: Annotated[float, Field(gt=0)] | None
    on_nonfinite: Literal["record", "skip", "raise"]
    max_skips: Annotated[int, Field(ge=0)]
    skip_above: Annotated[float, Field(gt=0)] | None
    spike_nats: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _fits(self) -> "Training":
        if self.devices != "all" and self.batch_size % self.devices:
            raise ValueError(
                f"{self.batch_size} examples a batch cannot be shared equally by training.devices={self.devices}; "
                f"training.batch_size={-(-self.batch_size // self.devices) * self.devices} can"
            )
        return self

    @model_validator(mode="after")
    def _skips(self) -> "Training":
        if self.skip_above is not None and self.on_nonfinite != "skip":
            raise ValueError(
                f"skip_above leaves steps out: training.on_nonfinite must be skip, not {self.on_nonfinite}"
            )
        return self


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
    notes: str | None
    artifact: bool | None


@dataclass(frozen=True, config=STRICT)
class Figures:
    """After which epochs the grids are drawn beside training; null: only when the run has ended."""

    every: Annotated[int, Field(ge=1)] | None


@dataclass(frozen=True, config=STRICT)
class Checkpoint:
    """How often the state is saved, in epochs, and how many of the newest are kept (the best one always).

    Two at least: the newest may be damaged, and the runs of a vmapped pack go on from one that they all have.
    """

    every: Annotated[int, Field(ge=1)]
    keep: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, config=STRICT)
class Stopping:
    """Which runs of a sweep end early: by a rule of `vaex/stopping/`, and after epochs without gain (null: none).

    `metric` is a column of metrics.jsonl that is better high or better low (`study/quantities.py`).
    """

    rule: Literal["none", "asha", "median", "hyperband"]
    metric: str
    min_epochs: Annotated[int, Field(ge=1)]
    factor: Annotated[int, Field(ge=2)]
    patience: Annotated[int, Field(ge=1)] | None

    @property
    def stops(self) -> bool:
        """Whether any run may be stopped."""
        return self.rule != "none" or self.patience is not None


@dataclass(frozen=True, config=STRICT)
class Sweep:
    """`vaex -m`: runs trained at once on a CPU (null: one a core), up to how many jobs each draws its figures, and
    which of them end early.

    `objective` is the number, or numbers, that a job returns to a sweeper which wants one.
    """

    lanes: Annotated[int, Field(ge=1)] | None
    figures_up_to: Annotated[int, Field(ge=0)]
    objective: str | tuple[str, ...]
    stop: Stopping


@dataclass(frozen=True, config=STRICT)
class Pack:
    """How jobs of a sweep share a device: each its own program, or many in one `vmap` (null: by kind of device)."""

    strategy: Literal["lone", "vmap"] | None
    max_runs: Annotated[int, Field(ge=1)] | None


@dataclass(frozen=True, config=STRICT)
class Compile:
    """On a GPU, whether XLA times kernels against each other while it compiles; auto: where the work ahead is long."""

    autotune: Literal["auto", "off", "full"]


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. Hashable: equal configurations are the same run.

    `placement` is written as `dataset.placement`: it is every dataset's, and part of none.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    dataset: Any
    placement: type_of_placement
    model: Any
    loss: Any
    likelihood: Any
    kl_weight: Any
    optimizer: Any
    training: Training
    schedule: tuple[Change, ...]
    precision: Precision
    tracking: Tracking
    figures: Figures
    checkpoint: Checkpoint
    sweep: Sweep
    pack: Pack
    compile: Compile
    evaluation: Evaluation
    expect: tuple[Row, ...]
    plugins: tuple[str, ...]


PLACEMENT = "placement"
"""The key of `type_of_placement` below `dataset`. It changes no number."""

KEYS = frozenset(field.name for field in dataclasses.fields(Config)) - {PLACEMENT}
"""The keys and sections of a run."""

NOT_IDENTITY = ("tracking", "figures", "checkpoint", "sweep", "pack", "compile", "evaluation", "expect", "plugins")
"""Sections that do not change what a run computes."""

PLACED = f"dataset.{PLACEMENT}"

PLACE = "dataset.path"
"""The key that says where data are, not what they are: the recorded digest says that."""


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


def _lacking(group: str, module: ModuleType) -> list[str]:
    """What the module of an option does not define."""
    lacking = [name for name in NEEDED[group] if not callable(getattr(module, name, None))]
    if getattr(module, "LEARNED", ()) and not callable(getattr(module, "adapt", None)):
        lacking.append("adapt, which LEARNED needs")
    return lacking if dataclasses.is_dataclass(getattr(module, "Config", None)) else ["a dataclass Config", *lacking]


def _option_name(group: str, plain: Mapping[str, Any]) -> str:
    section = plain.get(group)
    if not isinstance(section, Mapping):
        raise ConfigError(f"{group}: missing or not a section; choose an option, for example {group}=NAME")
    name = section.get("name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"{group}.name: expected the name of an option, got {name!r}")
    return name
