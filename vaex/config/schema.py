"""Types of a run's configuration. Values live in YAML (`conf/`), types here and in the option modules
(`vaex/losses/gamma.py` has the `Config` of `loss=gamma`); `parsing.py` is the one way from the one to the other.
"""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from vaex.config.evaluation import Evaluation
from vaex.config.expect import Row
from vaex.config.schedule import Change
from vaex.config.validation import STRICT

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
