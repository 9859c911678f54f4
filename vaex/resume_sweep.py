"""Going on with a sweep that was cut off: `vaex resume SWEEP`, or the same `vaex -m` line with the same directory."""

from collections.abc import Sequence
from pathlib import Path

from vaex import compilation_cache, compose, files, provenance, sweep, tracking
from vaex.config import Config
from vaex.errors import ConfigError, InputError
from vaex.saved import parse_saved

MAY_CHANGE = ("tracking", "checkpoint", "sweep", "plugins")
"""Sections that do not change what the jobs compute, nor how they are packed."""


def resume(directory: Path, overrides: Sequence[str]) -> int:
    """The verb's work on a sweep; returns the exit code."""
    threads, noted = sweep.read(directory)
    jobs = []
    for job in noted:
        changed, keys = compose.override(job.config, overrides)
        refuse = next((key for key in keys if key.partition(".")[0] not in MAY_CHANGE), None)
        if refuse:
            raise ConfigError(f"{refuse}: cannot change in a sweep that goes on (may change: {', '.join(MAY_CHANGE)})")
        jobs.append((job, tracking.resolved(parse_saved(directory / sweep.NAME, changed, keys))))
    return go_on(directory, jobs, threads)


def go_on_as_typed(directory: Path, jobs: Sequence[tuple[sweep.Noted, Config]]) -> int:
    """Go on where a sweep of exactly these jobs was begun; raises `InputError` when it was another one."""
    threads, noted = sweep.read(directory)
    same = len(noted) == len(jobs)
    for old, (new, _) in zip(noted, jobs, strict=False):
        same = same and (old.number, old.identity, old.directory) == (new.number, new.identity, new.directory)
    if not same:
        raise InputError(f"{directory} holds another sweep: choose another directory, or go on with `vaex resume`")
    return go_on(directory, jobs, threads)


def go_on(directory: Path, jobs: Sequence[tuple[sweep.Noted, Config]], threads: int) -> int:
    """Train what is left of a sweep, and finish its table."""
    provenance.restore({"environment": {"threads": threads}})
    compilation_cache.start()
    from vaex import ending, run, task  # late: with them comes jax, after the thread count is set

    for config in dict.fromkeys(config for _, config in jobs):
        run.check(config)
    figures = len(jobs) <= jobs[0][1].sweep.figures_up_to
    with files.locked(directory):
        packs = sweep.packs_of(directory, jobs, figures)
        left = [job for members in packs for job in members if not job.ghost]
        if not left:
            print(f"{task.shown(directory)}: all {len(jobs)} jobs have ended; nothing to do")
            return ending.of_sweep(directory, [])
        for job, _ in jobs:
            sweep.note_overrides(directory, job)
        outcome = task.train_sweep(directory, packs, len(jobs) - len(left))
        return ending.of_sweep(directory, [outcome])
