"""Packs as text on their way to a worker, and its report on the way back: plain values, nothing that is unpickled."""

import dataclasses
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex.disk import threads
from vaex.disk.directory import Job
from vaex.terminal.stop import Stop
from vaex.training.packs import Listed


@dataclass(frozen=True)
class Parcel:
    """Some packs of a sweep, for one worker.

    `steps` are those for which each pack's program is compiled (`training/packs.py`), `threads` decide the bits,
    `lanes` is how many packs train at once. `token` is a file of the sweep's directory by which a worker knows it.
    """

    sweep: Path
    packs: tuple[tuple[Job, ...], ...]
    steps: tuple[int, ...]
    threads: int
    lanes: int
    here: Path
    command: tuple[str, ...]
    token: str

    @property
    def jobs(self) -> list[Job]:
        """The jobs to be made, those apart that only ride along."""
        return [job for members in self.packs for job in members if not job.ghost]

    def as_text(self) -> str:
        """What `read` takes."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        packs = [[_plain(job) for job in members] for members in self.packs]
        return json.dumps(plain | {"sweep": str(self.sweep), "here": str(self.here), "packs": packs})


def of_sweep(directory: Path, packs: Sequence[Sequence[Job]], together: int, lanes: int, token: str) -> list[Parcel]:
    """The packs of the sweep in `directory`, the longest first, so many `together` in each parcel."""
    source = Listed(packs)
    order = list(iter(lambda: source.take(Stop()), None))
    some = [order[first : first + together] for first in range(0, len(order), together)]
    return [_parcel(directory, each, list(map(source.steps, each)), lanes, token) for each in some]


def _parcel(directory: Path, packs: Sequence[Sequence[Job]], steps: Sequence[int], lanes: int, token: str) -> Parcel:
    placed = tuple(
        tuple(dataclasses.replace(job, directory=job.directory.absolute()) for job in members) for members in packs
    )
    here, count = Path.cwd(), threads.count()
    return Parcel(directory.absolute(), placed, tuple(steps), count, lanes, here, tuple(sys.argv), token)


def read(text: str) -> Parcel:
    """The packs in a text of our own making; their plugins are those that the user has named."""
    plain = json.loads(text)
    packs = tuple(tuple(map(_job, members)) for members in plain["packs"])
    paths = {name: Path(plain[name]) for name in ("sweep", "here")}
    return Parcel(**plain | paths | {"packs": packs} | {name: tuple(plain[name]) for name in ("steps", "command")})


def _plain(job: Job) -> dict[str, Any]:
    own = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    program = None if job.program is None else dict(job.program)
    return own | {"config": configuration.dump(job.config), "directory": str(job.directory), "program": program}


def _job(plain: dict[str, Any]) -> Job:
    return Job(**plain | {"config": configuration.parse(plain["config"]), "directory": Path(plain["directory"])})


@dataclass(frozen=True)
class Report:
    """How a worker's jobs ended, by directory, and what ended them all; its warnings with their levels.

    `unseen`: the worker has another disk. `files` is then a tar of the jobs' directories, None where it has not begun.
    """

    statuses: dict[str, str]
    signal: int | None = None
    by_policy: bool = False
    told: tuple[tuple[int, str], ...] = ()
    unseen: bool = False
    files: bytes | None = None

    def as_text(self) -> str:
        """What `read_report` takes; of a worker on the same disk."""
        return json.dumps(dataclasses.asdict(self) | {"files": None})


def read_report(text: str) -> Report:
    """The report in a text."""
    plain = json.loads(text)
    return Report(**plain | {"told": tuple((level, line) for level, line in plain["told"])})


FORWARDED = (
    "NPROC",
    "XLA_",
    "JAX_",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "VAEX_",
    "MPLBACKEND",
    "WANDB_MODE",
    "WANDB_BASE_URL",
)
"""Variables, or their beginnings, that workers of a cluster that is there already get from the command."""


def environment() -> dict[str, str]:
    """The variables that a worker must have as this process has them."""
    return {key: value for key, value in os.environ.items() if key.startswith(FORWARDED)}


def packed(folder: Path, places: Sequence[Path]) -> bytes:
    """A tar of some directories in a folder; of those that are not there nothing."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for place in places:
            if (folder / place).is_dir():
                archive.add(folder / place, arcname=str(place), filter=_without_lock)
    return content.getvalue()


def _without_lock(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name == ".lock" else entry


def unpack(content: bytes, folder: Path) -> None:
    """Put what `packed` took into a folder: regular files and directories, nowhere else."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def put_in_place(content: bytes, folder: Path) -> None:
    """Take runs out of what `packed` made, each file whole, in the order in which a run writes them."""
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder) as scratch:
        unpack(content, Path(scratch))
        found = [path.relative_to(scratch) for path in Path(scratch).rglob("*") if path.is_file()]
        for path in sorted(found, key=_turn):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / path).replace(folder / path)


def _turn(path: Path) -> tuple[int, str]:
    """A checkpoint stands for the rows before it, a summary for all."""
    last = {"summary.json": 3, "config.yaml": 2}
    return last.get(path.name, int("checkpoints" in path.parts)), str(path)
