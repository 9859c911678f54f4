"""A run's or sweep's state as JSON, for scripts: `vaex status --json`."""

import dataclasses
from typing import Any

from vaex.live.run import Live
from vaex.live.sweep import LiveSweep
from vaex.searched.populations import Population


def plain(found: Live | LiveSweep) -> dict[str, Any]:
    """One object: of a run its numbers, of a sweep its counts and its jobs'."""
    if isinstance(found, Live):
        return dataclasses.asdict(found) | {"directory": str(found.directory), "left": found.left}
    best, search = found.best, found.search
    jobs = [{"job": job.number, "label": job.label, **plain(job.live)} for job in found.jobs]
    return {
        "directory": str(found.directory), "alive": found.alive, "counts": dict(found.counts), "left": found.left,
        "best": None if best is None else {"job": best.number, "value": best.live.best, "epoch": best.live.best_epoch},
        "population": None if found.population is None else _population(found.population),
        "trials": None if search is None else dict(search.counts), "problems": list(found.problems), "jobs": jobs,
    }  # fmt: skip


def _population(found: Population) -> dict[str, Any]:
    """How many rounds have ended, and the best member after the last of them."""
    best = None if found.best is None else {"member": found.best[0], "value": found.best[1]}
    return {"metric": found.metric, "rounds": len(found.rounds), "best": best}
