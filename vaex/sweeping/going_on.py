"""Going on with a sweep that was cut off: `vaex resume SWEEP`, or the same `vaex -m` line with the same directory.

A job that has ended stays as it is, a failed one is tried again, the others go on from where they are.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vaex import config as configuration
from vaex import files
from vaex.config import Config, compose, naming
from vaex.config.overrides import among
from vaex.device import backend, compilation
from vaex.disk import saved, sweep
from vaex.disk.alterations import refuse_altered
from vaex.disk.directory import Job, read_manifest, refuse_links
from vaex.disk.saved import parse_saved
from vaex.disk.sweep import Noted
from vaex.engines import engine as engines
from vaex.engines.engine import Engine
from vaex.errors import ConfigError, InputError
from vaex.live import slurm_queue
from vaex.search import lineage
from vaex.stopping import refusals
from vaex.sweeping import searching
from vaex.terminal.screen import say
from vaex.tracking import tracker

log = logging.getLogger("vaex")

MAY_CHANGE = (saved.PLACE, configuration.PLACED, "tracking", "figures", "checkpoint", "sweep", "evaluation", "plugins")
"""Keys, or sections, that do not change what the jobs compute, nor how they are packed."""


def resume(directory: Path, overrides: Sequence[str]) -> int:
    """The verb's work on a sweep; returns the exit code."""
    launcher, overrides = compose.launcher_of(overrides)
    engine = engines.of(launcher)
    if sweep.read_search(directory):
        _refuse_workers(engine, "a search")
        return searching.resume(directory, overrides, MAY_CHANGE)
    threads, noted = sweep.read(directory)
    jobs = []
    for job in noted:
        changed, keys = compose.override(saved.completed(job.config), overrides)
        refuse = next((key for key in keys if not among(key, MAY_CHANGE)), None)
        if refuse:
            raise ConfigError(f"{refuse}: cannot change in a sweep that goes on (may change: {', '.join(MAY_CHANGE)})")
        changed = saved.with_data_found(changed, keys, directory)
        jobs.append((job, tracker.resolved(parse_saved(directory / sweep.NAME, changed, keys))))
    return go_on(directory, jobs, threads, engine)


def _refuse_workers(engine: Engine, what: str) -> None:
    if not isinstance(engine, engines.Here):
        raise ConfigError(f"hydra/launcher: {what} goes on in this process only; leave it out")


def go_on_as_typed(directory: Path, jobs: Sequence[tuple[Noted, Config]], checked: bool, engine: Engine) -> int:
    """Go on where a sweep of exactly these jobs was begun; raises `InputError` when it was another one."""
    threads, noted = sweep.read(directory)
    same = len(noted) == len(jobs)
    for old, (new, _) in zip(noted, jobs, strict=False):
        same = same and (old.number, old.identity, old.directory) == (new.number, new.identity, new.directory)
    if not same:
        raise InputError(f"{directory} holds another sweep: choose another directory, or go on with `vaex resume`")
    return go_on(directory, jobs, threads, engine, checked)


def go_on(
    directory: Path, jobs: Sequence[tuple[Noted, Config]], threads: int, engine: Engine, checked: bool = False
) -> int:
    """Train what is left of a sweep by an engine, and finish its table."""
    refuse_links(directory)
    slurm_queue.refuse_unfinished(directory)
    configs = [config for _, config in jobs]
    if any(config.sweep.stop.stops for config in configs):
        _refuse_workers(engine, "a sweep that stops jobs early")
    backend.start({"environment": {"threads": threads}}, trains=isinstance(engine, engines.Here))
    from vaex.sweeping import ending, task  # late: with them comes jax, after the thread count is set

    engine.check()
    check_all(configs, directory)
    if lineage.exists(directory):
        _refuse_workers(engine, "a population")
        lineage.refuse_stopping(configs)
    with files.locked(directory):
        if lineage.exists(directory):
            return _go_on_with_population(directory, jobs, checked)
        packs = packs_of(directory, jobs)
        left = [job for members in packs for job in members if not job.ghost]
        if not left:
            say(f"{task.shown(directory)}: all {len(jobs)} jobs have ended; nothing to do")
            return ending.of_sweep(directory, [], checked)
        outcome = task.train_sweep(directory, packs, len(jobs) - len(left), engine)
        return ending.of_sweep(directory, [outcome], checked)


def check_all(configs: Sequence[Config], directory: Path) -> None:
    """What must hold of the configurations of a sweep that goes on."""
    from vaex.training import run  # late, as above

    tracker.leave_agent(configs)
    for config in dict.fromkeys(configs):
        with saved.telling_where_data_were_sought(config, directory):
            run.check(config)
    refusals.check(configs)


def _go_on_with_population(directory: Path, jobs: Sequence[tuple[Noted, Config]], checked: bool) -> int:
    from vaex.sweeping import ending, rounds  # late, as above
    from vaex.sweeping.task import shown

    if all(sweep.has_ended(directory / job.directory) for job, _ in jobs):
        say(f"{shown(directory)}: all {len(jobs)} members have ended; nothing to do")
        return ending.of_sweep(directory, [], checked)
    return ending.of_sweep(directory, [rounds.train(directory, rounds.jobs_of(directory, jobs))], checked)


def packs_of(directory: Path, jobs: Sequence[tuple[Noted, Config]]) -> list[list[Job]]:
    """What is left to do: recorded vmapped packs as they were, and packs of the other jobs that have not ended.

    A job of a vmapped pack that has ended rides along as a ghost; so does one that has refilled a lane of another pack.
    """
    from vaex.training import company, run  # late, as above

    figures = len(jobs) <= jobs[0][1].sweep.figures_up_to
    common = naming.common([job.overrides for job, _ in jobs])
    made = {
        job.number: replace(
            _job(directory, job, config, naming.of_job(job.overrides, common), figures),
            label=job.label_without(common),
        )
        for job, config in jobs
    }
    packs: list[list[Job]] = []
    taken: set[int] = set()
    for job, config in jobs:
        if job.number not in taken and made[job.number].goes_on and not made[job.number].refilled:
            numbers = _recorded_pack(directory, job, config, jobs)
            if numbers and taken.isdisjoint(numbers):
                members = [made[number] for number in numbers]
                packs.append([replace(each, ghost=True) if each.refilled else each for each in members])
                run.refuse_unknown_program(packs[-1])
                taken.update(number for number in numbers if not made[number].refilled)
    refilled = [made[job.number] for job, _ in jobs if made[job.number].refilled and made[job.number].goes_on]
    packs = company.with_refilled(packs, [run.with_its_pack(job, read_manifest(job.directory)) for job in refilled])
    alone = [job for number, job in made.items() if number not in taken and not job.ghost and not job.refilled]
    resumed = [[job] for job in alone if job.resumed]
    return packs + resumed + _fresh_packs([job for job in alone if not job.resumed], list(made.values()), jobs)


def _fresh_packs(fresh: Sequence[Job], made: Sequence[Job], noted: Sequence[tuple[Noted, Config]]) -> list[list[Job]]:
    """The packs of jobs that have not begun.

    Where others of a grid's packs have refilled lanes, they are what they were when the sweep began, with ghosts: the
    same program, the same bits.
    """
    from vaex.training import run  # late, as above

    if not fresh or not any(job.refilled for job in made) or any(job.trial is not None for job, _ in noted):
        return run.group(fresh) if fresh else []
    left = {job.directory for job in fresh}
    whole = [[replace(job, ghost=job.directory not in left, resumed=False) for job in jobs] for jobs in run.group(made)]
    return [jobs for jobs in whole if not all(job.ghost for job in jobs)]


def _job(directory: Path, job: Noted, config: Config, name: str, figures: bool) -> Job:
    """A job as it is to go on. One whose directory holds another run is warned of, and left as it is."""
    place = place_of(directory, job)
    begun = (place / "config.yaml").exists()
    ended = sweep.has_ended(place)
    if begun and not is_of(place, job):
        log.warning("%s: holds another run than job %d of %s; left as it is", place, job.number, directory / sweep.NAME)
        ended = True
    elif begun:
        refuse_to_go_on(place, config, ended)
    group = sweep.group_of(directory)
    manifest = read_manifest(place) if begun else {}
    program, refilled = compilation.of(manifest), sweep.has_refilled(manifest.get("pack"))
    return Job(config, place, job.label, group, name, begun, figures, ended, program, job.number, refilled=refilled)


def place_of(directory: Path, job: Noted) -> Path:
    """A job's directory; raises `InputError` where it, or what would be written in it, lies elsewhere."""
    place = directory / job.directory
    if place.resolve() != directory.resolve() / job.directory:
        raise InputError(f"{place}: is a link to another place; remove it to go on")
    refuse_links(place)
    return place


def is_of(place: Path, job: Noted) -> bool:
    """Whether the configuration in a directory is the job's."""
    try:
        known = {key: job.config[key] for key in configuration.NOT_IDENTITY if key in job.config}
        written = files.read_yaml(place / "config.yaml") | known
        path = saved.path_of_data(job.config)
        if path is not None and saved.path_of_data(written) is not None:  # wherever the data are by now
            written = saved.with_path(written, path)
        return configuration.identity(parse_saved(place / "config.yaml", written, ["plugins"])) == job.identity
    except InputError:
        return False


def refuse_to_go_on(place: Path, config: Config, ended: bool) -> None:
    """Raise `InputError` where the data are not those of a job that has begun, or what it goes on from was altered."""
    from vaex.training.run import load

    manifest, path = read_manifest(place), place / "summary.json"
    if not ended or "dataset_sha256" in manifest:
        saved.refuse_other_data(place, config.dataset, load(config.dataset).digest, manifest.get("dataset_sha256"))
    if not ended:
        written = files.read_yaml(place / "config.yaml") | {"plugins": list(config.plugins)}
        before = parse_saved(place / "config.yaml", written, ["plugins"])
        refuse_altered(place, manifest, files.read_json(path) if path.exists() else {}, before)


def _recorded_pack(directory: Path, job: Noted, config: Config, jobs: Sequence[tuple[Noted, Config]]) -> list[int]:
    """Numbers of the jobs that shared a vmapped program with one, itself included; none when it was alone."""
    from vaex.vae.pack import described

    record = read_manifest(directory / job.directory).get("pack")
    if not record:
        return []
    own = saved.completed(job.config) | {"plugins": list(config.plugins)}
    plain = described(record, own)  # as noted, wherever the data are by now
    identities = [configuration.identity(configuration.parse(each)) for each in plain]
    members = sweep.pack_of(directory, [other for other, _ in jobs], job, record, identities)
    if len(members) != len(plain):
        raise InputError(f"{directory / job.directory}/manifest.json: its pack is not of this sweep")
    return [member.number for member in members]
