"""The trials of a search: trials.csv and the section `search` of sweep.json, read as data as far as they can be."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import files
from vaex.disk import sweep
from vaex.errors import InputError, printable
from vaex.study.stability import number

NAME = sweep.TRIALS

ENDED = ("complete", "stopped", "failed")

STATES = (*ENDED, "running", "waiting")

OTHERS = re.compile(r"trial|state|jobs|reason|spread(?:[/_].*)?")
"""Columns that are neither a key of the space nor a value."""

DEFAULT = "valid/elbo"


@dataclass(frozen=True)
class Trial:
    """One point of the space: what each key was (as text), and what came of it, one value an objective."""

    number: int
    state: str
    point: dict[str, str]
    values: tuple[float | None, ...]
    spread: float | None
    jobs: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether all its objectives are known of whole runs."""
        return self.state == "complete" and None not in self.values


@dataclass(frozen=True)
class Search:
    """A search: `space` has its keys as typed, `maximised` says of each objective which way is better."""

    directory: Path
    settings: Mapping[str, Any]
    space: dict[str, str]
    objectives: tuple[str, ...]
    maximised: tuple[bool, ...]
    trials: list[Trial]

    @property
    def counts(self) -> Counter[str]:
        """Trials by state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def wanted(self) -> int | None:
        """How many trials it is to have; None where that is not said (a grid may have fewer than `trials`)."""
        found = number(self.settings.get("in_all"))
        if found is None and self.settings.get("sampler") != "grid":
            found = number(self.settings.get("trials"))
        return None if found is None else int(found)

    @property
    def seeds(self) -> int:
        """How many jobs a trial has, unless its parameters were refused: then it has none."""
        listed = self.settings.get("seeds")
        found = len(listed) if isinstance(listed, list) else number(self.settings.get("repeats"))
        return max(1, int(found or 1))

    @property
    def ended(self) -> int:
        """How many trials have come to an end."""
        return sum(self.counts[state] for state in ENDED)

    @property
    def best(self) -> Trial | None:
        """The complete trial of the best value; none where there are several objectives."""
        found = [trial for trial in self.trials if trial.complete]
        if len(self.objectives) != 1 or not found:
            return None
        sign = 1 if self.maximised[0] else -1
        return max(found, key=lambda trial: sign * (trial.values[0] or 0.0))

    def is_log(self, key: str) -> bool:
        """Whether a key was searched on a log scale: `tag(log, interval(…))`."""
        return re.match(r"\s*tag\(\s*log\b", self.space.get(key, "")) is not None


def there(directory: Path) -> bool:
    """Whether a sweep's directory is a search's, which has no table before its first trials have been asked for."""
    return (directory / NAME).exists() or bool(_section(directory))


def read(directory: Path) -> Search:
    """The search in a sweep's directory; raises `InputError` where its trials cannot be read.

    Without its section in sweep.json, or with a damaged one, the columns say what they can.
    """
    path = directory / NAME
    head, rows = _table(path) if path.exists() else ([], [])
    section = _section(directory)
    settings = section["settings"] if isinstance(section.get("settings"), Mapping) else section
    typed = section.get("space")
    space = {printable(key): printable(text) for key, text in typed.items()} if isinstance(typed, Mapping) else {}
    others = [name for name in head if not OTHERS.fullmatch(name)]
    values = _value_columns(others, space, _texts(settings.get("objective", DEFAULT)))
    keys = [name for name in others if name not in values]
    objectives = _names(values, _texts(settings.get("objective", DEFAULT)))
    trials = [_trial(dict(zip(head, row, strict=False)), keys, values, place) for place, row in enumerate(rows)]
    maximised = _directions(_texts(settings.get("direction", [])), len(objectives))
    return Search(directory, settings, {key: space.get(key, "") for key in keys}, objectives, maximised, trials)


def job_directories(directory: Path) -> dict[str, str]:
    """The directory of each job in a sweep's by its number, as sweep.json has them; none where it has no sound ones."""
    jobs = _record(directory).get("jobs")
    found = [each for each in jobs if isinstance(each, Mapping)] if isinstance(jobs, list) else []
    return {str(each.get("job")): str(each.get("directory")) for each in found}


def _section(directory: Path) -> Mapping[str, Any]:
    try:
        return sweep.read_search(directory)
    except InputError:
        return {}


def _record(directory: Path) -> Mapping[str, Any]:
    try:
        return files.read_json(directory / sweep.NAME, sweep.LARGEST)
    except InputError:
        return {}


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = files.read_bytes(path, sweep.LARGEST).decode()
        head, *rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table: {files.first_line(error)}") from error
    if not {"trial", "state"} <= set(head) or len(set(head)) < len(head):
        raise InputError(f"{path}: expected the columns trial and state, and each name once")
    return [printable(name) for name in head], rows


def _value_columns(others: Sequence[str], space: Mapping[str, str], objectives: Sequence[str]) -> list[str]:
    """The columns of values: those that are named so, else what the space does not know."""
    named = [name for name in others if re.fullmatch(r"value(_\d+)?", name) or name in objectives]
    return named or [name for name in others if space and name not in space]


def _names(columns: Sequence[str], objectives: Sequence[str]) -> tuple[str, ...]:
    """What the values are of, by the order of the columns."""
    return tuple(objectives) if len(objectives) == len(columns) else tuple(columns)


def _directions(given: Sequence[str], count: int) -> tuple[bool, ...]:
    """Whether each objective is maximised, as they all are where nothing (sound) says otherwise."""
    up = [not text.lower().startswith("min") for text in given]
    return tuple(up) if len(up) == count else tuple(up * count if len(up) == 1 else [True] * count)


def _texts(value: Any) -> list[str]:
    return [printable(each) for each in value] if isinstance(value, list) else [printable(value)]


def _trial(row: Mapping[str, str], keys: Sequence[str], values: Sequence[str], place: int) -> Trial:
    named = _float(row.get("trial", ""))
    state = row.get("state", "")
    return Trial(
        number=place if named is None else int(named),
        state=state if state in STATES else "failed",
        point={key: printable(row[key]) for key in keys if row.get(key)},
        values=tuple(_float(row.get(name, "")) for name in values),
        spread=_float(row.get("spread", "")),
        jobs=tuple(printable(row.get("jobs", "")).split()),
    )


def _float(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None
