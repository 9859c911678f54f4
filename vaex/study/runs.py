"""The runs of a comparison, read from disk: which differ in what, and what is damaged. Nothing is executed.

A run whose files are damaged stays with what can be read of it, and a line says what is missing. Only a run whose
config.yaml cannot be read is left out, since nobody can say what it would be compared with.
"""

import contextlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vaex.config import GROUPS, schedule
from vaex.config.validation import nearest
from vaex.disk import stops
from vaex.disk.directory import is_of_population
from vaex.errors import InputError, printable
from vaex.study import contents, lengths
from vaex.study.run import OTHER_LENGTH, StudyRun, read_run, without


@dataclass(frozen=True)
class Study:
    """Runs that are compared by the key or group `by`: every variant against the variant `against`.

    `varied` has the other keys in which the runs differ, each with its values in order.
    """

    runs: list[StudyRun]
    by: str
    against: str
    varied: dict[str, list[Any]]
    left_out: tuple[str, ...]
    directories: tuple[Path, ...]

    @cached_property
    def variants(self) -> list[str]:
        """The variants that occur, `against` first."""
        found = dict.fromkeys(run.variant for run in self.runs)
        return sorted(found, key=lambda name: (name != self.against, _natural(name)))

    @property
    def problems(self) -> tuple[str, ...]:
        """Every damaged or missing file, one line each, behind the name of its run."""
        return self.left_out + tuple(f"{run.name}: {problem}" for run in self.runs for problem in run.problems)


def read(directories: Sequence[Path], by: str | None = None, against: str | None = None) -> Study:
    """The study of sweep and run directories, mixed; one named twice counts once.

    `by` is `loss` when there is more than one, else the first key that differs (not the seed); the members of one
    population are not compared, and `by` is none of their keys. A group, such as `loss` or `optimizer`, takes all its
    keys with it. `against` is `gamma` if it is there, else the first variant.
    Raises `InputError` when there is no run, or when `by` or `against` is not among them.
    """
    found = list(dict.fromkeys(path for directory in directories for path in _run_directories(directory)))
    runs, left_out, stopped = [], [], _stopped_early(found)
    for path in found:
        name = _name(path, directories)
        try:
            run = read_run(path, name)
            # One that goes on has no summary until it ends: what its rule said of it holds until then.
            early = path in stopped and run.status not in ("finished", "diverged")
            runs.append(replace(run, summary=run.summary | {"status": "stopped"}) if early else run)
        except InputError as error:
            left_out.append(f"{name}: left out: {without(path, error)}")
    if not runs:
        raise InputError(left_out[0] if left_out else f"{_shown(directories)}: holds no run (config.yaml)")
    flats = contents.named_by_digest([(run.flat, run.manifest) for run in runs])
    runs = [replace(run, flat=flat) for run, flat in zip(runs, flats, strict=True)]
    if by is None and _one_population(runs):
        return _of_population(runs, left_out, directories)
    if by is None or not within(lengths.KEY, by):  # else they are what is compared
        runs = lengths.marked(runs)
    by = _key(by, runs)
    runs = _with_variants(_with_data(runs), by)
    varied = _differing(runs, by)
    return Study(runs, by, _against(against, runs), varied, tuple(left_out), tuple(directories))


def within(key: str, by: str) -> bool:
    """Whether `key` is `by` or belongs to the group of that name."""
    return key == by or key.startswith(f"{by}.")


def text(value: Any) -> str:
    """A configuration's value as one writes it."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _run_directories(directory: Path) -> list[Path]:
    """The directories in and below `directory` that hold a run or were meant to, in the order of their numbers."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory")
    found = []
    for folder, below, names in os.walk(directory):
        if "config.yaml" in names or ".hydra" in below:
            found.append(Path(folder).resolve())
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]
    if not found:
        raise InputError(f"{directory}: holds no run: no config.yaml in it or below it")
    return sorted(found, key=lambda path: [_natural(part) for part in path.parts])


def _stopped_early(paths: Sequence[Path]) -> set[Path]:
    """Those that their sweep's rule has stopped; a damaged sweep says it of none."""
    sweeps = {folder for path in paths for folder in path.parents if (folder / stops.NAME).exists()}
    found: set[Path] = set()
    for folder in sweeps:
        with contextlib.suppress(InputError):
            found |= stops.stopped(folder)
    return found


def _name(path: Path, directories: Sequence[Path]) -> str:
    """`job 3` in the one sweep that is compared, else the directory as seen from here."""
    if len(directories) == 1 and path.is_relative_to(directories[0].resolve()):
        inner = str(path.relative_to(directories[0].resolve()))
        if inner != ".":
            return f"job {inner}" if inner.isdecimal() else printable(inner)
    here = Path.cwd()
    return printable(path.relative_to(here) if path.is_relative_to(here) else path)


def _with_data(runs: Sequence[StudyRun]) -> list[StudyRun]:
    """The runs, those without a recorded digest with that of the others of the same dataset keys, where it is one."""
    keys = [json.dumps(run.config.get("dataset"), sort_keys=True) for run in runs]
    known: dict[str, set[str]] = defaultdict(set)
    for run, same in zip(runs, keys, strict=True):
        known[same] |= {run.data} - {""}
    return [
        replace(run, data=run.data or (min(known[same]) if len(known[same]) == 1 else same))
        for run, same in zip(runs, keys, strict=True)
    ]


def _key(by: str | None, runs: Sequence[StudyRun]) -> str:
    """What to compare by, as asked or chosen; raises `InputError` for a key that no run has."""
    keys = dict.fromkeys(key for run in runs for key in run.flat)
    if by is not None:
        if not any(within(key, by) for key in keys):
            known = {key[: end.start()] for key in keys for end in re.finditer(r"\.|$", key)}
            raise InputError(f"--by {by}: no run has such a key or group{nearest(by, known)}")
        return by
    own = {"seed", *((schedule.KEY,) if all(is_of_population(run.directory) for run in runs) else ())}
    rest = [run for run in runs if run.status != OTHER_LENGTH]
    varied = [key for key in _differing(rest, "") if key not in own]
    groups = [key.partition(".")[0] for key in varied if key.partition(".")[0] in GROUPS and key.endswith(".name")]
    if "loss.name" in varied or not varied:
        return "loss"
    group = varied[0].partition(".")[0]
    return group if group in groups else varied[0]


def _one_population(runs: Sequence[StudyRun]) -> bool:
    """Whether all runs are members of the same population."""
    folders = {run.directory.parent for run in runs}
    return len(folders) == 1 and all(is_of_population(run.directory) for run in runs)


def _of_population(runs: Sequence[StudyRun], left_out: Sequence[str], directories: Sequence[Path]) -> Study:
    """Members as variants of nothing: what they began with is not what they are, and they are not compared."""
    members = [replace(run, variant=f"member {run.directory.name}") for run in lengths.marked(_with_data(runs))]
    return Study(members, "member", members[0].variant, {}, tuple(left_out), tuple(directories))


def _with_variants(runs: Sequence[StudyRun], by: str) -> list[StudyRun]:
    """The runs with their variants: the key's value, or the group's name and what else differs under that name."""
    if any(by in run.flat for run in runs):
        return [replace(run, variant=text(run.flat.get(by))) for run in runs]
    names = [text(run.flat.get(f"{by}.name")) for run in runs]
    alike = {name: [run for run, other in zip(runs, names, strict=True) if other == name] for name in names}
    extra = {name: [key for key in _differing(some, "") if within(key, by)] for name, some in alike.items()}
    variants = []
    for run, name in zip(runs, names, strict=True):
        more = ", ".join(f"{key.removeprefix(by + '.')}={text(run.flat.get(key))}" for key in extra[name])
        nameless = f"{by}.name" not in run.flat  # a section that is no group, such as precision
        variants.append(replace(run, variant=more if more and nameless else f"{name} ({more})" if more else name))
    return variants


def _against(against: str | None, runs: Sequence[StudyRun]) -> str:
    variants = list(dict.fromkeys(run.variant for run in runs))
    if against is None:
        return "gamma" if "gamma" in variants else variants[0]
    if against not in variants:
        raise InputError(
            f"--against {against}: no such variant{nearest(against, variants)} (variants: {', '.join(variants)})"
        )
    return against


def _differing(runs: Sequence[StudyRun], by: str) -> dict[str, list[Any]]:
    """The keys outside `by` in which the runs differ, in the order of the configuration, each with its values."""
    values: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.flat):
        if not by or not within(key, by):
            values[key] = {text(run.flat.get(key)): run.flat.get(key) for run in runs}
    return {key: [some[name] for name in sorted(some, key=_natural)] for key, some in values.items() if len(some) > 1}


def _natural(name: str) -> tuple[int, float, str]:
    """Sorts numbers as numbers, before text."""
    return (0, float(name), "") if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", name) else (1, 0.0, name)


def _shown(directories: Iterable[Path]) -> str:
    return ", ".join(map(str, directories))
