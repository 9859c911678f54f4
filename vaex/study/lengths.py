"""Runs of another length than the rest of their sweep, which nobody asked to be compared: one that was trained for
longer by itself, a stopped one that was not taken to its end. Their numbers are of another epoch than the others'.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaex.disk import sweep
from vaex.errors import InputError
from vaex.study.run import OTHER_LENGTH, StudyRun
from vaex.study.stability import number

KEY = "training.epochs"


def marked(runs: Sequence[StudyRun]) -> list[StudyRun]:
    """The runs; those that ended at another length than the rest have that as their status, and are in no mean."""
    usual = _usual(runs)
    return [
        replace(run, summary=run.summary | {"status": OTHER_LENGTH})
        if _is_other(run, usual.get(run.directory))
        else run
        for run in runs
    ]


def _is_other(run: StudyRun, usual: float | None) -> bool:
    if usual is None:
        return False
    if run.status == "diverged":  # within the usual length it would have, too
        return (number(run.summary.get("epoch")) or 0) > usual
    return run.status == "finished" and number(run.flat.get(KEY)) != usual


def _usual(runs: Sequence[StudyRun]) -> dict[Path, float]:
    """The length of most of the jobs that a run's sweep noted with one length; of lone runs none."""
    noted = _noted(runs)
    lengths: dict[tuple[Path, float], Counter[float]] = defaultdict(Counter)
    for run in runs:
        own = number(run.flat.get(KEY))
        if run.directory in noted and own is not None:
            lengths[noted[run.directory]][own] += 1
    usual = {
        key: max(found, key=lambda length: (found[length], length == key[1], length)) for key, found in lengths.items()
    }
    return {directory: usual[key] for directory, key in noted.items() if key in usual}


def _noted(runs: Sequence[StudyRun]) -> dict[Path, tuple[Path, float]]:
    """The sweep of each run, and the length that its record has for it; a damaged record says it of none."""
    found: dict[Path, tuple[Path, float]] = {}
    sweeps = {folder for run in runs for folder in run.directory.parents if (folder / sweep.NAME).exists()}
    for folder in sweeps:
        with contextlib.suppress(InputError):
            for job in sweep.read(folder)[1]:
                length = _length(job.config)
                if length is not None:
                    found[(folder / job.directory).resolve()] = (folder, length)
    return found


def _length(config: Mapping[str, Any]) -> float | None:
    training = config.get("training")
    return number(training.get("epochs")) if isinstance(training, Mapping) else None
