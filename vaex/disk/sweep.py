"""A sweep's own record, sweep.json: its jobs with their complete configurations, so that it can go on after any end.

Written before the first job trains. A job is what its number and the digest of its configuration say (less paths,
tracking, checkpoint, sweep and pack keys).
"""

import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.disk import provenance
from vaex.errors import InputError, printable

NAME = "sweep.json"

LARGEST = 1 << 25
"""Bytes of a sweep.json that is written or read: 25 000 jobs; 20 times as much memory for one that somebody forged."""


@dataclass(frozen=True)
class Noted:
    """One job of a sweep as sweep.json has it; `config` is plain data, complete and resolved."""

    number: int
    directory: Path
    overrides: tuple[str, ...]
    identity: str
    config: dict[str, Any]

    @property
    def label(self) -> str:
        """What it is called."""
        return self.label_without(set())

    def label_without(self, common: Set[str]) -> str:
        """What it is called among jobs that have some overrides in common."""
        return printable(f"job {self.number}: {' '.join(item for item in self.overrides if item not in common)}")


def noted(number: int, directory: Path, overrides: Sequence[str], config: Config) -> Noted:
    """The record of a job."""
    return Noted(number, directory, tuple(overrides), configuration.identity(config), configuration.dump(config))


def inside(directory: Path) -> bool:
    """Whether a job's directory, relative to its sweep's, stays in that."""
    return not directory.is_absolute() and ".." not in directory.parts


def has_ended(directory: Path) -> bool:
    """Whether the run in a directory came to an end: finished, diverged, or stopped by its sweep's rule."""
    path = directory / "summary.json"
    return path.exists() and files.read_json(path).get("status") in ("finished", "diverged", "stopped")


def group_of(directory: Path) -> str:
    """W&B's group of a sweep's jobs."""
    return "/".join(directory.absolute().parts[-2:])


def write(directory: Path, jobs: Sequence[Noted]) -> None:
    """Write sweep.json of the sweep in `directory`."""
    files.write(directory / NAME, encoded(jobs))


def encoded(jobs: Sequence[Noted]) -> bytes:
    """The content of sweep.json, with the thread count on which its bits depend; `InputError` when it is too large."""
    entries = [
        {
            "job": job.number,
            "directory": str(job.directory),
            "overrides": list(job.overrides),
            "identity": job.identity,
            "config": job.config,
        }
        for job in jobs
    ]
    content = {"format": 1, "threads": provenance.threads(), "jobs": entries}
    text = json.dumps(content, allow_nan=False).encode()
    if len(text) > LARGEST:
        size = f"{len(text) / 1e6:.0f} MB, at most {LARGEST / 1e6:.0f} MB"
        raise InputError(f"{len(jobs)} jobs are too many for one sweep: {NAME} would have {size}; make several sweeps")
    return text


def read(directory: Path) -> tuple[int, list[Noted]]:
    """Thread count and jobs of a sweep; raises `InputError` unless all directories lie inside the sweep's."""
    content = files.read_json(directory / NAME, LARGEST)
    try:
        jobs = [
            Noted(entry["job"], Path(entry["directory"]), tuple(entry["overrides"]), entry["identity"], entry["config"])
            for entry in content["jobs"]
        ]
        threads = int(content["threads"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{directory / NAME}: not the record of a sweep ({error})") from error
    distinct = len({job.number for job in jobs}) == len({job.directory for job in jobs}) == len(jobs)
    if not (jobs and distinct and all(map(_sound, jobs))):
        raise InputError(f"{directory / NAME}: not the record of a sweep")
    return threads, jobs


def _sound(job: Noted) -> bool:
    texts = all(isinstance(item, str) for item in (*job.overrides, job.identity))
    return texts and type(job.number) is int and isinstance(job.config, dict) and inside(job.directory)
