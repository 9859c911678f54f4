"""Slurm's queue: which of a sweep's tasks are in it, so that nobody else goes on with their runs."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vaex import files
from vaex.errors import InputError

FOLDER, RECORD = ".slurm", "tasks.json"
"""In a sweep's directory: submitit's scripts and logs, parcels, reports; and which tasks there are."""


ANSWERS_WITHIN = 60
"""Seconds after which Slurm is taken not to answer; by itself it tries for long."""


def in_queue(tasks: Sequence[str]) -> set[str] | None:
    """Which of some tasks Slurm has in its queue, waiting or running; None where it does not answer."""
    jobs = ",".join(sorted({task.partition("_")[0] for task in tasks if task}))
    if not jobs:
        return set()
    try:
        done = subprocess.run(
            ["squeue", "-h", "-r", "-o", "%i", "-j", jobs], capture_output=True, text=True, timeout=ANSWERS_WITHIN
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:  # which it says of one that it has forgotten
        return None
    return set(done.stdout.split())


def recorded(folder: Path) -> list[str]:
    """The tasks to which a sweep's packs were given; none where it never was Slurm's."""
    path = folder / RECORD
    tasks = files.read_json(path).get("tasks") if path.exists() else None
    return list(map(str, tasks)) if isinstance(tasks, list) else []


def of_sweep(directory: Path) -> tuple[str, ...]:
    """The tasks of a sweep that Slurm has in its queue; `InputError` for a damaged record."""
    return tuple(sorted(in_queue(recorded(directory / FOLDER)) or ()))


def jobs_of(tasks: Sequence[str]) -> list[str]:
    """The arrays of which tasks are."""
    return sorted({task.partition("_")[0] for task in tasks})


def refuse_unfinished(directory: Path) -> None:
    """Raise `InputError` where tasks of a sweep are in Slurm's queue: they go on with it by themselves."""
    queued = of_sweep(directory)
    if queued:
        jobs = " ".join(jobs_of(queued))
        place = shlex.quote(str(directory))
        raise InputError(
            f"{directory}: {len(queued)} of its tasks are in Slurm's queue and go on with it: `vaex status {place}`; "
            f"`scancel {jobs}` takes them back"
        )
