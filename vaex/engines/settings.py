"""`hydra.launcher.*` of the launchers that send packs to workers, read and refused before anything is made."""

import importlib.util
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from vaex.config.validation import STRICT, validate
from vaex.errors import ConfigError

SECTION = "hydra.launcher"

Count = Annotated[int, Field(ge=1)]


def _divisible(share: float) -> float:
    """What Ray takes of a core or a GPU."""
    if 0 < share < SMALLEST:
        raise ValueError(f"expected 0, or {SMALLEST} or more, got {share:g}")
    return share


def _whole(share: float) -> float:
    """What Ray takes of GPUs."""
    if share > 1 and not share.is_integer():
        raise ValueError(f"expected a share of one GPU, or whole ones, got {share:g}")
    return share


def _long(option: str) -> str:
    if not re.match(r"--\w[\w-]+(=|$)", option):
        raise ValueError(f"expected --option or --option=value, got {option!r}")
    return option


SMALLEST = 0.0001
"""Ray counts in ten-thousandths."""

Share = Annotated[float, Field(ge=0), AfterValidator(_divisible)]


@dataclass(frozen=True, config=STRICT)
class Ray:
    """`hydra/launcher=ray`; conf/hydra/launcher/ray.yaml says what each key is."""

    address: str | None
    num_cpus: Share
    num_gpus: Annotated[Share, AfterValidator(_whole)]
    repeats: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Slurm:
    """`hydra/launcher=slurm`; conf/hydra/launcher/slurm.yaml says what each key is."""

    partition: str | None
    time: Count
    mem_gb: Annotated[float, Field(gt=0)] | None
    cpus_per_task: Count
    gpus: Annotated[int, Field(ge=0)]
    setup: tuple[str, ...]
    array_parallelism: Count
    packs_per_task: Count
    grace: Count
    timeouts: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=0)]
    wait: bool
    sbatch: tuple[Annotated[str, AfterValidator(_long)], ...]

    @model_validator(mode="after")
    def _has_time(self) -> "Slurm":
        if self.grace >= 60 * self.time:  # and be queued again, and again
            raise ValueError(
                f"a task of time={self.time} minutes is told to end grace={self.grace} seconds before, at once; "
                "give it more time, or less grace"
            )
        return self


TARGETS = {
    "hydra_plugins.vaex.RayLauncher": ("ray", Ray, "ray", "Ray"),
    "hydra_plugins.vaex.SlurmLauncher": ("slurm", Slurm, "submitit", "submitit"),
}
"""What Hydra calls these launchers: option (and extra), settings, the package that they need and its name."""


def read(launcher: Mapping[str, Any]) -> Ray | Slurm | None:
    """The settings in a launcher's section, None of another launcher's; `ConfigError` for what cannot be."""
    known = TARGETS.get(str(launcher.get("_target_")))
    if known is None:
        return None
    option, section, package, name = known
    asked = validate(SECTION, section, {SECTION: {key: value for key, value in launcher.items() if key != "_target_"}})
    if not _installed(package):
        raise ConfigError(f'hydra/launcher={option} needs {name}: pip install "vaex-experiments[{option}]"')
    return asked


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # somebody has blocked it
        return False
