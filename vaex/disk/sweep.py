"""A sweep's own record, sweep.json: its jobs with their complete configurations, so that it can go on after any end.

Written before the first job trains. A job is what its number and the digest of its configuration say (less paths,
tracking, checkpoint, sweep and pack keys).
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.disk import threads
from vaex.disk.directory import read_manifest
from vaex.errors import InputError, printable

NAME, TRIALS = "sweep.json", "trials.csv"
"""The record of any sweep; a search's own table beside it."""

ENDED = ("finished", "diverged", "stopped")
"""How a run comes to its end, the last by its sweep's rule."""

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
    trial: int | None = None
    """Of a search: whose job it is."""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.label_without(set())

    def label_without(self, common: Set[str]) -> str:
        """What it is called among jobs that have some overrides in common."""
        return printable(f"job {self.number}: {' '.join(item for item in self.overrides if item not in common)}")


def noted(number: int, directory: Path, overrides: Sequence[str], config: Config, trial: int | None = None) -> Noted:
    """The record of a job."""
    plain = configuration.dump(config)
    return Noted(number, directory, tuple(overrides), configuration.identity(config), plain, trial)


def inside(directory: Path) -> bool:
    """Whether a job's directory, relative to its sweep's, stays in that."""
    return not directory.is_absolute() and ".." not in directory.parts


def has_ended(directory: Path) -> bool:
    """Whether the run in a directory came to an end: finished, diverged, or stopped by its sweep's rule."""
    return status_of(directory) in ENDED


def status_of(directory: Path) -> Any:
    """How the run in a directory ended; None where it has not said so."""
    path = directory / "summary.json"
    try:
        return files.read_json(path).get("status") if path.exists() else None
    except InputError as error:
        raise InputError(f"{error}; without the file the run goes on from its checkpoints") from error


def pack_of(
    directory: Path, jobs: Sequence[Noted], own: Noted, record: Mapping[str, Any], identities: Sequence[str]
) -> list[Noted]:
    """The jobs of a recorded vmapped pack that has one of its own: those that are there, in order.

    A search draws a configuration more than once, so an identity alone may be that of another pack's job. A pack's jobs
    are numbered upwards and no other pack of the program lies between: they are those nearest to its own, less such
    whose manifest says another pack, or another place in it. One that has refilled a lane elsewhere was its ghost.
    """

    def fits(job: Noted, index: int) -> bool:
        written = read_manifest(directory / job.directory).get("pack")
        return written is None or written == {**record, "index": index} or has_refilled(written)

    place, found = int(record["index"]), [own] if own.identity == identities[record["index"]] else []
    for index in reversed(range(place)) if found else ():
        below = [job for job in jobs if job.identity == identities[index] and job.number < found[0].number]
        found[:0] = next(([job] for job in sorted(below, key=_number, reverse=True) if fits(job, index)), [])
    for index in range(place + 1, len(identities)) if found else ():
        above = [job for job in jobs if job.identity == identities[index] and job.number > found[-1].number]
        found += next(([job] for job in sorted(above, key=_number) if fits(job, index)), [])
    return found


def has_refilled(record: Any) -> bool:
    """Whether the run whose manifest says this of its pack took a lane of it after another."""
    return isinstance(record, Mapping) and bool(record.get("refilled"))


def _number(job: Noted) -> int:
    return job.number


def group_of(directory: Path) -> str:
    """W&B's group of a sweep's jobs."""
    return "/".join(directory.absolute().parts[-2:])


def write(directory: Path, jobs: Sequence[Noted], search: Mapping[str, Any] | None = None) -> None:
    """Write sweep.json of the sweep in `directory`; `search` is what makes up its jobs, if they are not a list."""
    files.write(directory / NAME, encoded(jobs, search))


def encoded(jobs: Sequence[Noted], search: Mapping[str, Any] | None = None) -> bytes:
    """The content of sweep.json, with the thread count on which its bits depend; `InputError` when it is too large."""
    content = {"format": 1, "threads": threads.count(), "jobs": list(map(_entry, jobs))}
    content |= {} if search is None else {"search": search}
    text = json.dumps(content, allow_nan=False).encode()
    _refuse_too_large(len(jobs), len(text))
    return text


def refuse_too_many(count: int, example: Noted) -> None:
    """Raise `InputError` where so many jobs like this one, which are not known yet, would be too many."""
    _refuse_too_large(count, count * len(json.dumps(_entry(example))))


def _refuse_too_large(count: int, size: int) -> None:
    if size > LARGEST:
        told = f"{size / 1e6:.0f} MB, at most {LARGEST / 1e6:.0f} MB"
        raise InputError(f"{count} jobs are too many for one sweep: {NAME} would have {told}; make several sweeps")


def _entry(job: Noted) -> dict[str, Any]:
    entry = {
        "job": job.number,
        "directory": str(job.directory),
        "overrides": list(job.overrides),
        "identity": job.identity,
        "config": job.config,
    }
    return entry if job.trial is None else entry | {"trial": job.trial}


def read(directory: Path) -> tuple[int, list[Noted]]:
    """Thread count and jobs of a sweep; raises `InputError` unless all directories lie inside the sweep's."""
    content = files.read_json(directory / NAME, LARGEST)
    try:
        jobs = [
            Noted(
                entry["job"],
                Path(entry["directory"]),
                tuple(entry["overrides"]),
                entry["identity"],
                entry["config"],
                entry.get("trial"),
            )
            for entry in content["jobs"]
        ]
        count = int(content["threads"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{directory / NAME}: not the record of a sweep ({error})") from error
    distinct = len({job.number for job in jobs}) == len({job.directory for job in jobs}) == len(jobs)
    begun = jobs or isinstance(content.get("search"), dict)
    if not (begun and distinct and all(map(_sound, jobs))):
        raise InputError(f"{directory / NAME}: not the record of a sweep")
    return count, jobs


def read_search(directory: Path) -> dict[str, Any]:
    """What a search recorded of itself; empty where the sweep's jobs are a list, or nobody has noted them."""
    if not (directory / NAME).exists():
        return {}
    record = files.read_json(directory / NAME, LARGEST).get("search")
    return record if isinstance(record, dict) else {}


def _sound(job: Noted) -> bool:
    texts = all(isinstance(item, str) for item in (*job.overrides, job.identity))
    numbers = type(job.number) is int and (job.trial is None or type(job.trial) is int)
    return texts and numbers and isinstance(job.config, dict) and inside(job.directory)
