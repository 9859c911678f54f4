"""A sweep's jobs as a table, read back from disk; nothing here executes what it reads."""

import csv
import functools
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from vaex import files
from vaex.disk import sweep
from vaex.disk.directory import POPULATION, is_of_population
from vaex.errors import InputError

log = logging.getLogger("vaex")

EPOCHS = "training.epochs"


def load_sweep(directory: str | Path) -> pd.DataFrame:
    """One row a job of a sweep, in job order: overrides as typed columns, status, every single-valued summary entry."""
    directory = Path(directory)
    return pd.DataFrame(list(map(_row, _some_jobs(directory))))


def job_directories(directory: Path) -> list[Path]:
    """The directories of a sweep's jobs, in job order."""
    return [job.directory for job in _some_jobs(directory)]


def _some_jobs(directory: Path) -> list["_Job"]:
    jobs = _jobs(directory)
    if not jobs:
        raise InputError(f"{directory}: holds no jobs of a sweep")
    return jobs


class _Job(NamedTuple):
    number: int
    directory: Path
    overrides: Sequence[str]
    config: dict[str, Any]
    trial: dict[str, Any] | None = None  # of a search: whose it is, and what became of that


def _jobs(directory: Path) -> list[_Job]:
    """The jobs of a sweep in order: of its sweep.json, or as Hydra has noted those that other launchers opened."""
    if (directory / sweep.NAME).exists():
        noted = sweep.read(directory)[1]
        states = _states(directory) if any(job.trial is not None for job in noted) else {}
        return [
            _Job(job.number, directory / job.directory, job.overrides, job.config, _trial(job.trial, states))
            for job in noted
        ]
    opened = sorted(path.parent for path in directory.glob("**/.hydra") if path.parent != directory)
    jobs = [_Job(_job_number(path), path, _overrides(path), _config(path)) for path in opened]
    return sorted(jobs, key=lambda job: (job.number, job.directory))


def _trial(number: int | None, states: Mapping[str, str]) -> dict[str, Any] | None:
    return None if number is None else {"trial": number, "trial_state": states.get(str(number), "running")}


def _states(directory: Path) -> dict[str, str]:
    """The states of a search's trials by their numbers, as its trials.csv has them; none where that is not there."""
    try:
        text = (directory / sweep.TRIALS).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    return {str(row.get("trial")): str(row.get("state")) for row in csv.DictReader(text.splitlines())}


def write_sweep_csv(directory: Path, only_ended: bool = False) -> pd.DataFrame:
    """Write sweep.csv from the jobs' own files, or from those that have said how they ended; returns the table."""
    jobs = [job for job in _jobs(directory) if not only_ended or (job.directory / "summary.json").exists()]
    table = pd.DataFrame(list(map(_row, jobs)))
    files.write(directory / "sweep.csv", table.to_csv(index=False).encode())
    return table


class GrowingTable:
    """A table on disk while a sweep's jobs end: written so often that it costs a twentieth of the time at most."""

    SHARE = 0.05

    def __init__(self, path: Path, write: Callable[[], object]):
        self._path, self._write, self._lock, self._next = path, write, threading.Lock(), 0.0

    def update(self) -> None:
        """A job has ended. A thread that finds another one writing leaves it to that one, or to the next job."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            started = time.monotonic()
            self._write()
            ended = time.monotonic()
            self._next = ended + (ended - started) / self.SHARE
        except (OSError, InputError) as error:  # the jobs' own files are what counts; the end writes it again
            log.warning("%s: not written for now (%s)", self._path, files.first_line(error))
        finally:
            self._lock.release()


def growing_sweep_csv(directory: Path) -> GrowingTable:
    """sweep.csv while the jobs end, of those that have."""
    return GrowingTable(directory / "sweep.csv", lambda: write_sweep_csv(directory, only_ended=True))


def override_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold what was varied: those between `job` and `status`."""
    names = list(table.columns)
    return names[1 : names.index("status")]


def _row(job: _Job) -> dict[str, Any]:
    try:
        summary = files.read_json(job.directory / "summary.json")
    except InputError:
        summary = {"status": "interrupted"}  # killed before it could say so, or not begun
    values = {key: value for key, value in summary.items() if not isinstance(value, list | dict)}
    row: dict[str, Any] = {"job": job.number}
    row |= {key: _value(key, text, job.config) for key, _, text in (item.partition("=") for item in job.overrides)}
    row |= _by_now(job.directory, row) if is_of_population(job.directory) else {}
    if summary.get("status") == "finished" and EPOCHS in row:  # one that was trained for longer since, or less far
        row[EPOCHS] = summary.get("epoch", row[EPOCHS])
    return row | {"status": values.pop("status", "interrupted")} | (job.trial or {}) | values


def _by_now(directory: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a member of a population has by now of the keys that are explored: what its schedule ends with."""
    config = _config(directory)
    try:
        keys = row.keys() & files.read_json(directory.parent / POPULATION)["space"].keys() if config else set[str]()
    except (InputError, KeyError, AttributeError):  # damaged: as it began
        keys = set[str]()
    found = {key: _held(key, config) for key in keys}
    for change in config.get("schedule") or []:
        found |= {key: change[key] for key in keys & change.keys()} if isinstance(change, Mapping) else {}
    return {key: "null" if value is None else value for key, value in found.items()}


def _overrides(directory: Path) -> list[str]:
    path = directory / ".hydra" / "overrides.yaml"
    lines = files.read_yaml_value(path) or []
    if not isinstance(lines, list):
        raise InputError(f"{path}: expected a list of overrides")
    return list(map(str, lines))


def _config(directory: Path) -> dict[str, Any]:
    """A job's configuration; empty where it has none, or a damaged one."""
    try:
        return files.read_yaml(directory / "config.yaml")
    except InputError:
        return {}


def _value(key: str, text: str, config: Mapping[str, Any]) -> Any:
    """What an override gave a job: a number as it was written, of quoted and interpolated text what came of it."""
    value = _typed(text)
    if not isinstance(value, str):
        return value
    held = _held(key.lstrip("+"), config)
    return held if isinstance(held, (int, float, str)) else value


def _held(key: str, config: Mapping[str, Any]) -> Any:
    held: Any = config
    for name in key.split("."):
        held = held.get(name) if isinstance(held, Mapping) else None
    return held


@functools.cache
def _typed(text: str) -> Any:
    if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", text):  # YAML 1.1 takes 1e-3 for a string, Hydra for a number
        return float(text)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: something like a date, of no calendar
        return text
    return value if isinstance(value, (int, float, bool)) else text


def _job_number(directory: Path) -> int:
    """The directory's name, or what Hydra noted where the user chose another `hydra.sweep.subdir`."""
    if directory.name.isdecimal():
        return int(directory.name)
    number = files.read_yaml(directory / ".hydra" / "hydra.yaml").get("hydra", {}).get("job", {}).get("num")
    return number if isinstance(number, int) else -1
