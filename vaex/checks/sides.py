"""What is set beside something else: runs or sweeps as they are on disk, or configurations that nobody has run yet."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vaex import config as configuration
from vaex.config import NOT_IDENTITY, Config
from vaex.disk import provenance, saved
from vaex.disk.alterations import find_altered
from vaex.errors import ConfigError, InputError, printable
from vaex.study import contents, runs
from vaex.study.run import StudyRun

NEEDED = {
    "summary.json": "results",
    "metrics.jsonl": "epochs",
    "steps.npz": "steps",
    "manifest.json": "data, versions, machine and code",
}
"""The files of a run that a comparison reads, and what of it each tells."""

SURROUNDINGS = ("environment", "code")
"""What every manifest has had for long of where a run was made."""


@dataclass(frozen=True)
class Ran:
    """A run, or a configuration: by full key what decides its numbers and what does not, and what is known of it.

    `name` is what a run is called among those of its side.
    """

    flat: Mapping[str, Any]
    others: Mapping[str, Any]
    data: str | None
    surroundings: Mapping[str, Any]
    summary: Mapping[str, Any]
    steps: dict[str, np.ndarray] | None
    name: str = ""


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, its runs, and what is wrong with them.

    `unknown` is what a comparison lacks (`of_made`: only where the other side was run too), `altered` which files are
    not as a run left them, `problems` what else cannot be read.
    """

    name: str
    runs: tuple[Ran, ...]
    unknown: tuple[str, ...] = ()
    of_made: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    made: bool = True


def of_directory(directory: Path) -> Side:
    """A run or a sweep as it is on disk; raises `InputError` where there is none."""
    study = runs.read([directory])
    flats = contents.named_by_digest([(run.flat, run.manifest) for run in study.runs])
    side = Side(printable(directory), tuple(map(_ran, study.runs, flats)), unknown=study.left_out)
    for run in study.runs:
        unknown, of_made, problems = _lacking(run)
        side = replace(
            side,
            unknown=(*side.unknown, *unknown),
            of_made=(*side.of_made, *of_made),
            altered=(*side.altered, *(f"{run.name}: {line}" for line in _altered(run))),
            problems=(*side.problems, *problems),
        )
    return side


def _ran(run: StudyRun, flat: Mapping[str, Any]) -> Ran:
    others = {key: value for key, value in saved.completed(run.config).items() if key in NOT_IDENTITY}
    known = {key: value for key, value in run.manifest.items() if isinstance(value, dict)}
    digest = run.manifest.get("dataset_sha256")
    data = digest if isinstance(digest, str) else None
    return Ran(flat, dict(provenance.flatten(others)), data, known, run.summary, run.steps, run.name)


def _lacking(run: StudyRun) -> tuple[list[str], list[str], list[str]]:
    """What a run lacks to be compared with anything, with another run only, and what decides nothing."""
    unknown, of_made, problems = [], [], []
    for problem in run.problems:
        file = problem.partition(":")[0]
        line = f"{run.name}: {NEEDED.get(file, '')} ({problem})"
        if file == "manifest.json":
            unknown.append(line)
        elif file in NEEDED:
            of_made.append(line)
        else:
            problems.append(f"{run.name}: {problem}")
    if run.manifest:
        silent = [key for key in SURROUNDINGS if not isinstance(run.manifest.get(key), dict)]
        unknown += [f"{run.name}: {key} (manifest.json does not say)" for key in silent]
        if not isinstance(run.manifest.get("dataset_sha256"), str):
            unknown.append(f"{run.name}: data (manifest.json has no digest)")
    return unknown, of_made, problems


def _altered(run: StudyRun) -> tuple[str, ...]:
    """Which files are not as the run left them; of a configuration that only a plugin can read nothing is said."""
    try:
        config = configuration.parse(saved.completed(run.config) | {"plugins": []})
    except ConfigError:
        config = None
    try:
        return find_altered(run.directory, run.manifest, config)
    except (InputError, OSError):  # one that cannot be read is among the problems
        return ()


def of_configurations(name: str, configs: Iterable[Config], surroundings: Mapping[str, Any]) -> Side:
    """What would be run here and now, in these surroundings if they are known."""
    return Side(printable(name), tuple(_to_run(configs, surroundings)), made=False)


def _to_run(configs: Iterable[Config], surroundings: Mapping[str, Any]) -> Iterator[Ran]:
    for config in configs:
        plain = configuration.dump(config)
        own = configuration.deciding(plain)
        others = {key: value for key, value in plain.items() if key in NOT_IDENTITY}
        flats = dict(provenance.flatten(own)), dict(provenance.flatten(others))
        yield Ran(*flats, None, surroundings, {}, None)


def not_compared(first: Side, second: Side) -> tuple[str, ...]:
    """What nobody can say of the two, since a file is missing or damaged; of two configurations nothing is missing."""
    both = first.made and second.made
    return tuple(line for side in (first, second) for line in (*side.unknown, *(side.of_made if both else ())))
