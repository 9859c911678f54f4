"""A sweep's own record, sweep.json: its jobs with their complete configurations, so that it can go on after any end.

Written before the first job trains. A job is what its number and the digest of its configuration say (less paths,
tracking, checkpoint, sweep and pack keys): one that has ended stays as it is, the others go on from where they are.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.errors import InputError
from vaex.job import Job
from vaex.saved import refuse_links

NAME = "sweep.json"

ENDED = ("finished", "diverged")
"""A job with one of these is never made again; a failed one is retried."""


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
        return f"job {self.number}: {' '.join(self.overrides)}"


def noted(number: int, directory: Path, overrides: Sequence[str], config: Config) -> Noted:
    """The record of a job."""
    return Noted(number, directory, tuple(overrides), configuration.identity(config), configuration.dump(config))


def write(directory: Path, jobs: Sequence[Noted]) -> None:
    """Write sweep.json of the sweep in `directory`, with the thread count on which its bits depend."""
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
    files.write_json(directory / NAME, {"format": 1, "threads": int(os.environ.get("NPROC", "0")), "jobs": entries})


def read(directory: Path) -> tuple[int, list[Noted]]:
    """Thread count and jobs of a sweep; raises `InputError` unless all directories lie inside the sweep's."""
    content = files.read_json(directory / NAME)
    try:
        jobs = [
            Noted(entry["job"], Path(entry["directory"]), tuple(entry["overrides"]), entry["identity"], entry["config"])
            for entry in content["jobs"]
        ]
        threads = int(content["threads"])
        sound = all(isinstance(job.number, int) and isinstance(job.config, dict) for job in jobs)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{directory / NAME}: not the record of a sweep ({error})") from error
    inside = all(not job.directory.is_absolute() and ".." not in job.directory.parts for job in jobs)
    if not (sound and inside and jobs):
        raise InputError(f"{directory / NAME}: not the record of a sweep")
    return threads, jobs


def status(directory: Path, job: Noted) -> str | None:
    """How a job ended, if it did; raises `InputError` when its directory holds another run."""
    place = directory / job.directory
    if place.resolve() != directory.resolve() / job.directory:
        raise InputError(f"{place}: is a link to another place; remove it to go on")
    refuse_links(place)
    summary = files.read_json(place / "summary.json") if (place / "summary.json").exists() else {}
    identity = summary.get("identity", job.identity)
    if identity != job.identity:
        raise InputError(f"{place}: holds another run than job {job.number} of {directory / NAME}")
    return summary.get("status")


def started(directory: Path, job: Noted) -> bool:
    """Whether a job's run is there to be resumed."""
    return (directory / job.directory / "config.yaml").exists()


def note_overrides(directory: Path, job: Noted) -> None:
    """Let a job that was cut off before Hydra opened it have at least the overrides in its `.hydra/`."""
    folder = directory / job.directory / ".hydra"
    if not folder.exists():
        folder.mkdir(parents=True)
        files.write_yaml(folder / "overrides.yaml", list(job.overrides))


def packs_of(directory: Path, jobs: Sequence[tuple[Noted, Config]], figures: bool) -> list[list[Job]]:
    """What is left to do: packs of the jobs that have not ended, recorded vmapped packs as they were.

    A job of such a pack that has ended rides along as a ghost.
    """
    group = "/".join(directory.absolute().parts[-2:])
    ends = {job.number: status(directory, job) for job, _ in jobs}
    made: dict[int, Job] = {}
    for job, config in jobs:
        resumed, ended = started(directory, job), ends[job.number] in ENDED
        made[job.number] = Job(config, directory / job.directory, job.label, group, resumed, figures, ghost=ended)
    packs, fresh, taken = [], [], set[int]()
    for job, config in jobs:
        if job.number in taken or made[job.number].ghost:
            continue
        members = _recorded_pack(directory, job, config)
        if not members:
            fresh.append(made[job.number])
            continue
        numbers = [other.number for identity in members for other, _ in jobs if other.identity == identity]
        packs.append([made[number] for number in dict.fromkeys(numbers)])
        taken.update(numbers)
    from vaex import run  # late: with it comes jax, after the thread count is set

    return packs + (run.group(fresh) if fresh else [])


def _recorded_pack(directory: Path, job: Noted, config: Config) -> list[str]:
    """Identities of the runs that a job shared its vmapped program with, itself included; none when it was alone."""
    path = directory / job.directory / "manifest.json"
    record = files.read_json(path).get("pack") if path.exists() and started(directory, job) else None
    if not record:
        return []
    from vaex.pack import described

    plain = described(record, configuration.dump(config))
    return [configuration.identity(configuration.parse(each)) for each in plain]
