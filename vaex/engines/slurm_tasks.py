"""`hydra/launcher=slurm`: packs as tasks of a Slurm array, by submitit. What goes between is in DIR/.slurm/."""

import contextlib
import importlib
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaex import files
from vaex.engines import parcel
from vaex.engines.engine import Work
from vaex.engines.parcel import Parcel, Report
from vaex.engines.sending import Lost, Sending
from vaex.engines.settings import Slurm
from vaex.engines.slurm_worker import Task
from vaex.errors import ConfigError, VaexError
from vaex.files import first_line
from vaex.live.slurm_queue import FOLDER, RECORD, in_queue, recorded
from vaex.training.run import Outcome

log = logging.getLogger("vaex")

ARRAY = 1000
"""Tasks of one array at most; Slurm takes 1001 unless it was told otherwise."""

OF_USER = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS")
"""Variables of Slurm's that say where it is and who asks. Others are of the task in which the command itself runs."""

ASK_EVERY, LOST_AFTER = 2.0, 10.0
"""Seconds between two questions to Slurm; after which a task counts as lost that is not in the queue any more.

A report may take a moment to be seen through a shared disk. A pack that was sent in vain finds that all has been done.
"""


class SlurmTasks:
    """The engine; `ConfigError` where there is no Slurm, or it would not take such a task."""

    def __init__(self, settings: Slurm):
        self._settings, self.waits = settings, settings.wait
        if shutil.which("sbatch") is None:
            raise ConfigError("hydra/launcher=slurm: there is no sbatch here; run it where Slurm takes jobs")
        _refuse_impossible(settings)

    def check(self) -> None:
        """Slurm knows which devices its nodes have."""

    def train(self, work: Work) -> Outcome:
        """Train the packs, or only submit them."""
        settings, folder = self._settings, work.directory.absolute() / FOLDER
        _refuse_pattern(folder)
        folder.mkdir(exist_ok=True)
        parcels = parcel.of_sweep(work.directory, work.packs, settings.packs_per_task, settings.cpus_per_task, FOLDER)
        carrier = _Tasks(settings, folder)
        if settings.wait:
            return Sending(carrier, parcels, work.packs, work.display, settings.repeats).train(work.ended)
        carrier.send(dict(enumerate(parcels)))
        jobs = [job.directory for members in work.packs for job in members if not job.ghost]
        return Outcome(dict.fromkeys(jobs, "submitted"), signal=None, ended_by_policy=False)


NOWHERE = ""
"""In place of a task's name: it could not be queued again, as while Slurm is restarted; in time it counts as lost."""


class _Tasks:
    """Carries parcels as tasks of arrays.

    In the folder they are numbered on from those before: of another batch of the sweep, which may still wait.
    """

    def __init__(self, settings: Slurm, folder: Path):
        self._settings, self._folder = settings, folder
        self._before, self._first = recorded(folder), len(list(folder.glob("parcel_*.json")))
        self._tasks: dict[int, str] = {}  # by the parcel's number, Slurm's name of it, or NOWHERE
        self._gone: dict[int, float] = {}
        self._asked, self._begun = 0.0, False

    def send(self, parcels: Mapping[int, Parcel]) -> None:
        """Have these trained, as soon as there is room."""
        numbers = list(parcels)
        for number in numbers:
            self._report_of(number).unlink(missing_ok=True)
            place = self._folder / f"parcel_{self._first + number}.json"
            files.write(place, parcels[number].as_text().encode())
        most = _largest_array()
        for first in range(0, len(numbers), most):
            some = numbers[first : first + most]
            try:
                self._tasks |= dict(zip(some, self._submit(some), strict=True))
            except VaexError as error:
                if not self._begun:
                    self._take_back(numbers)
                    raise
                log.warning("%s; trying again", error)  # others train meanwhile
                self._tasks |= dict.fromkeys(some, NOWHERE)
            self._record([task for task in self._tasks.values() if task != NOWHERE])
        self._begun = True

    def _record(self, queued: Sequence[str]) -> None:
        """Note who is in the queue, besides those of earlier batches: for `vaex resume`, and for us."""
        files.write_json(self._folder / RECORD, {"tasks": [*dict.fromkeys((*self._before, *queued))]})

    def reports(self, seconds: float) -> dict[int, Report | Lost]:
        """What has come back since the last call, after so long."""
        time.sleep(seconds)
        there = {path.name for path in self._folder.iterdir()}  # a list: a shared disk may remember that one is absent
        found: dict[int, Report | Lost] = {}
        for number in list(self._tasks):
            path = self._report_of(number)
            if path.name in there:
                with contextlib.suppress(OSError):  # a shared disk may not have it yet for all that
                    found[number] = parcel.read_report(path.read_text())
        found |= {number: Lost("it has left Slurm's queue") for number in self._lost() if number not in found}
        for number in found:
            self._tasks.pop(number)
            self._gone.pop(number, None)
        return found

    def cancel(self) -> None:
        """Take the tasks back: those that run get SIGTERM, and 30 s unless Slurm was told otherwise (KillWait)."""
        self._take_back(list(self._tasks))

    def _take_back(self, numbers: Sequence[int]) -> None:
        jobs = sorted({self._tasks.get(number, NOWHERE).partition("_")[0] for number in numbers} - {NOWHERE})
        if jobs:
            subprocess.run(["scancel", *jobs], capture_output=True)

    def _submit(self, numbers: Sequence[int]) -> list[str]:
        submitit = importlib.import_module("submitit")  # late: an extra, which the type checker may lack

        executor = submitit.SlurmExecutor(self._folder, max_num_timeout=self._settings.timeouts)
        executor.update_parameters(**_parameters(self._settings))
        try:
            named = [self._first + number for number in numbers]
            with _as_outside():
                jobs = executor.map_array(Task(), [str(self._folder)] * len(numbers), named)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise VaexError(
                f"hydra/launcher=slurm: cannot submit {len(numbers)} tasks ({first_line(error)}); "
                "hydra.launcher.packs_per_task=N makes fewer"
            ) from error
        return [job.job_id for job in jobs]

    def _report_of(self, number: int) -> Path:
        return self._folder / f"report_{self._first + number}.json"

    def _lost(self) -> list[int]:
        """The parcels whose task has been out of the queue for so long that no report will come."""
        now = time.monotonic()
        if now - self._asked < ASK_EVERY:
            return []
        self._asked = now
        queued = in_queue(list(self._tasks.values()))
        if queued is None:  # Slurm does not answer at the moment
            return []
        for number, task in self._tasks.items():
            if task in queued:
                self._gone.pop(number, None)
            else:
                self._gone.setdefault(number, now)
        return [number for number, since in self._gone.items() if now - since >= LOST_AFTER]


@contextlib.contextmanager
def _as_outside() -> Iterator[None]:
    """As if the command did not run in a task of Slurm's: sbatch hands on what that task was given, memory, cores and
    binding, and srun ends where that contradicts what the new task asks for.
    """
    given = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SLURM_") and name not in OF_USER
    }
    try:
        yield
    finally:
        os.environ |= given


def _largest_array() -> int:
    """Tasks that this Slurm takes in one array."""
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, min(ARRAY, int(found[1]))) if found else ARRAY


def _parameters(settings: Slurm) -> dict[str, Any]:
    """The settings as submitit has them."""
    further = {"requeue": True} | dict(_option(each) for each in settings.sbatch)  # some Slurms do so only if asked to
    asked = {
        "job_name": "vaex",
        "time": settings.time,
        "mem": _memory(settings),
        "cpus_per_task": settings.cpus_per_task,
        "setup": list(settings.setup) or None,
        "array_parallelism": settings.array_parallelism,
        "signal_delay_s": settings.grace,
        "additional_parameters": further,
        "partition": settings.partition,
        "gpus_per_node": settings.gpus or None,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    return given | {"wckey": None}  # submitit asks for one of its own, which a Slurm that knows its keys refuses


def _memory(settings: Slurm) -> str | None:
    return None if settings.mem_gb is None else f"{round(settings.mem_gb * 1024)}M"


def _option(text: str) -> tuple[str, str | bool]:
    name, given, value = text.removeprefix("--").partition("=")
    return name, value if given else True


def _refuse_impossible(settings: Slurm) -> None:
    wanted = {
        "partition": settings.partition, "time": settings.time,
        "mem": _memory(settings),
        "cpus-per-task": settings.cpus_per_task, "gpus-per-node": settings.gpus or None,
    }  # fmt: skip
    options = [f"--{key}={value}" for key, value in wanted.items() if value is not None]
    with _as_outside():
        tried = subprocess.run(
            ["sbatch", "--test-only", *options, *settings.sbatch, "--wrap=true"], capture_output=True, text=True
        )
    if tried.returncode:
        why = next((line.removeprefix("sbatch: error: ") for line in tried.stderr.splitlines()), "")
        raise ConfigError(f"hydra/launcher=slurm: Slurm takes no such task: {why or 'sbatch fails'}")


def _refuse_pattern(folder: Path) -> None:
    """Raise `ConfigError` for a place in which Slurm cannot open a task's log: the task would end without a word."""
    if "%" in str(folder):
        raise ConfigError(f"hydra.sweep.dir: Slurm puts something else in place of a % in a path, got {folder.parent}")
