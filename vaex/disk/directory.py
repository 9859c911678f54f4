"""A run to be made; its directory as a place: made, named on a command line, refused where it is not what it seems."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import files
from vaex.config import Config
from vaex.errors import InputError

type_of_device = Any
"""A `jax.Device`, whose own name is a variable to type checkers."""

POPULATION = "population.json"
"""In the directory of a sweep whose jobs go on from copies of each other (`search/lineage.py`)."""


@dataclass(frozen=True)
class Job:
    """One run to be made: its configuration, where it goes, what it is called, whether it is there in part.

    `group` is the sweep it belongs to, `name` what W&B calls it (None: what a lone run is called). A `ghost` only rides
    along in a vmapped pack whose other runs are made again: it writes nothing. `program` is how a run that is made
    again was compiled (`device/compilation.py`); None: as seems best. `number` is the job's in its sweep. `until` is an
    epoch after which it is put aside, to go on later; None: at its end. One that has `refilled` took a lane of a
    vmapped pack after another's end.
    """

    config: Config
    directory: Path
    label: str
    group: str | None = None
    name: str | None = None
    resumed: bool = False
    figures: bool = True
    ghost: bool = False
    program: Mapping[str, Any] | None = None
    number: int | None = None
    until: int | None = None
    refilled: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it trains from where it is."""
        return self.resumed and not self.ghost


def reserve(wanted: Path) -> Path:
    """Make a directory that nobody else has, adding _2, _3, … when two commands start in one second."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            directory.mkdir()
            return directory
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def holds_a_run(directory: Path) -> bool:
    """Whether training here would overwrite something; a start that was cut off before config.yaml is no run."""
    return any((directory / name).exists() for name in ("config.yaml", "metrics.jsonl", "model.safetensors"))


def is_of_population(directory: Path) -> bool:
    """Whether a run is a member of a population: not independent of the others there."""
    return (directory.parent / POPULATION).exists()


def refuse_existing(directory: Path) -> None:
    """Raise `InputError` if `directory` holds a run already."""
    if holds_a_run(directory):
        raise InputError(f"{directory} holds a run already: choose another directory, or go on with `vaex resume`")


def named_path(verb: str, arguments: Sequence[str]) -> Path:
    """The run directory (or file) that a verb's first argument names; `InputError` when it names none."""
    if not arguments or ("=" in arguments[0] and not Path(arguments[0]).exists()):
        raise InputError(f"vaex {verb}: expected a run directory, as in `vaex {verb} outputs/<date>/<time>`")
    path = Path(arguments[0])
    if path.is_dir() and not (path / "config.yaml").exists():
        if (path / "multirun.yaml").exists() or (path / "sweep.json").exists():
            raise InputError(
                f"{path} is a sweep: name one of its jobs, as in `vaex {verb} {shlex.quote(str(path / '0'))}`"
            )
        raise InputError(f"{path} is not a run directory: it has no config.yaml")
    if not path.exists():
        raise InputError(f"{path}: no such run directory")
    return path


def read_manifest(directory: Path) -> dict[str, Any]:
    """A run's manifest.json; empty without one."""
    path = directory / "manifest.json"
    return files.read_json(path) if path.exists() else {}


def refuse_links(directory: Path) -> None:
    """Raise `InputError` where a directory that somebody sent would make a run write or delete elsewhere.

    Files that are replaced as a whole (`files.write`) take the place of a link: named are those that are added to.
    """
    for path in (
        directory / "vaex.log",
        directory / "metrics.jsonl",
        directory / ".hydra",
        directory / ".lock",
        directory / "checkpoints",
        directory / "figures",
        directory / "wandb",
        directory / "stops.jsonl",
        *directory.glob("figures/epoch_*"),
    ):
        if path.is_symlink():
            raise InputError(f"{path}: is a link to another place; remove it to go on")
