"""A search begun, and gone on with after any end: `vaex resume SWEEP`, or the same line with the same directory."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaex import files
from vaex.config import Config, compose, naming
from vaex.config.overrides import among, key_of
from vaex.device import backend
from vaex.disk import saved, sweep
from vaex.disk.directory import Job, refuse_links
from vaex.disk.sweep import Noted
from vaex.errors import ConfigError, InputError
from vaex.search import objectives, settings, table
from vaex.search import plan as plans
from vaex.search.plan import Plan
from vaex.search.study import Place, Study
from vaex.stopping.judge import judging
from vaex.terminal.screen import say

if TYPE_CHECKING:
    from vaex.sweeping.task import Task

MORE = "hydra.sweeper.trials"
"""The one setting that may change while a search goes on."""


def begin(task: "Task", opened: Callable[..., list[Job]], ended: Callable[[Job, str], None]) -> None:
    """Search from the first trial on, jobs opened by Hydra."""
    plan = task.plan
    assert plan is not None
    with Study(task.directory, plan.settings, plan.directions, plan.parameters) as study:
        base = task.command.jobs[0]
        source = _source(task.directory, plan, study, opened, base, ())
        task.outcomes.append(train(task.directory, source, base, 0, ended))


def _source(directory: Path, plan: Plan, study: Study, opened: Any, base: Config, noted: Sequence[Noted]) -> Any:
    from vaex.search.source import Trials  # late: with it comes jax, after the thread count is set
    from vaex.training import run

    batch = plan.settings.at_once or max(plan.settings.startup, 1)
    at_once = batch if run.vmapped(base) else 1
    place = Place(directory, plan, study, opened, len(run.lanes(base)), at_once, base.plugins)
    return Trials(place, noted)


def train(directory: Path, source: Any, base: Config, before: int, ended: Callable[[Job, str], None]) -> Any:
    """Train the jobs of a source's trials, `before` of which have ended already."""
    from vaex.disk import results  # late, as above
    from vaex.terminal.displays import SearchDisplay
    from vaex.training import run

    display = SearchDisplay(source.jobs - before, before, base.training.epochs, source.headline)
    grown = results.growing_sweep_csv(directory)
    source.ended = ended
    try:
        outcome = run.run(source, display, grown.update, run.lanes(base), judging(directory, base))
        cut_off = source.left and not outcome.signal  # no further trial could be made: why has been said
        return outcome._replace(statuses=outcome.statuses | {directory: "failed"}) if cut_off else outcome
    finally:
        display.close()
        source.write_table()  # sweep.csv has the states of its trials


def go_on_as_typed(directory: Path, plan: Plan, checked: bool) -> int:
    """Go on where this very search was begun, perhaps with more trials; raises `InputError` when it was another one."""
    refuse_links(directory)
    with files.locked(directory):
        _refuse_another(directory, plan)
        return _go_on(directory, plan, (), checked)


def _refuse_another(directory: Path, plan: Plan) -> None:
    before = plans.read(directory)
    same = dataclasses.replace(before, settings=plan.settings, directions=plan.directions, bases=plan.bases) == plan
    for key in (field.name for field in dataclasses.fields(plan.settings)):
        old, new = (getattr(each.settings, key) for each in (before, plan))
        if f"{settings.SECTION}.{key}" != MORE and key != "direction" and old != new:
            raise InputError(
                f"{directory}: its search has {settings.SECTION}.{key}={old}, not {new}; only trials may change"
            )
    if (
        not same
        or before.directions != plan.directions
        or _identities(directory, before, plan) != _identities(directory, plan, plan)
    ):
        raise InputError(f"{directory} holds another search: choose another directory, or go on with `vaex resume`")


def _identities(directory: Path, plan: Plan, typed: Plan) -> dict[str, str]:
    """Digests of a plan's bases, read as data: the plugins are those of the command line, which the user has named."""
    from vaex import config as configuration

    named = list(next(iter(typed.bases.values()))["plugins"])
    parsed = {
        name: saved.parse_saved(directory / sweep.NAME, dict(base) | {"plugins": named}, ["plugins"])
        for name, base in plan.bases.items()
    }
    return {name: configuration.identity(config) for name, config in parsed.items()}


def resume(directory: Path, overrides: Sequence[str], may_change: Sequence[str]) -> int:
    """The verb's work on a search; returns the exit code."""
    refuse_links(directory)
    with files.locked(directory):  # first: another command may change what is read
        return _resume(directory, overrides, may_change)


def _resume(directory: Path, overrides: Sequence[str], may_change: Sequence[str]) -> int:
    plan = plans.read(directory)
    settings.refuse_missing(plan.settings.sampler)
    typed = [line for line in overrides if key_of(line) == MORE]
    others = [line for line in overrides if key_of(line) != MORE]
    for key in map(key_of, others):
        if not among(key, may_change):
            allowed = ", ".join([MORE, *may_change])
            raise ConfigError(f"{key}: cannot change in a search that goes on (may change: {allowed})")
    bases = {name: _changed(directory, base, others) for name, base in plan.bases.items()}
    return _go_on(directory, _with_trials(dataclasses.replace(plan, bases=bases), typed), others, checked=False)


def _changed(directory: Path, base: Any, overrides: Sequence[str]) -> dict[str, Any]:
    changed, keys = compose.override(saved.completed(dict(base)), overrides)
    named = changed.get("plugins") if "plugins" in keys else []
    saved.parse_saved(directory / sweep.NAME, changed, keys)
    return saved.with_data_found(changed | {"plugins": named}, keys, directory)


def _with_trials(plan: Plan, typed: Sequence[str]) -> Plan:
    if not typed:
        return plan
    changed, _ = compose.override({"trials": plan.settings.trials}, [f"trials={typed[-1].partition('=')[2]}"])
    own = dataclasses.asdict(plan.settings) | {"direction": plan.directions} | changed
    return dataclasses.replace(plan, settings=settings.parse(own))


def _go_on(directory: Path, plan: Plan, overrides: Sequence[str], checked: bool) -> int:
    """Train what is left of a search, whose directory is locked, and finish its tables."""
    from vaex.sweeping import ending, going_on  # late: with them comes jax, after the thread count is set

    threads, noted = sweep.read(directory)
    _refuse_unsound(directory, noted, len(plan.seeds))
    backend.start({"environment": {"threads": threads}})
    configs = [_parsed(base) for base in plan.bases.values()]
    objectives.check(plan.settings.objective, plan.directions, configs)
    if plan.trials > plans.read(directory).trials:
        plans.refuse_too_many(plan, configs[0])
    going_on.check_all(configs, directory)
    with Study(directory, plan.settings, plan.directions, plan.parameters) as study:
        jobs = [(job, _of_job(directory, job, plan, overrides, configs[0])) for job in noted]
        packs = going_on.packs_of(directory, jobs) if jobs else []

        def opened(made: Sequence[tuple[Noted, Config]]) -> list[Job]:
            return [_job(directory, job, config, plan) for job, config in made]

        if len(study.trials()) > plan.trials:
            raise ConfigError(
                f"{MORE}: the search has {len(study.trials())} trials already, got {plan.settings.trials}"
            )
        sweep.write(directory, noted, plan.record())
        source = _source(directory, plan, study, opened, configs[0], noted)
        source.go_on(packs)
        if not source.left:
            say(f"{ending.shown(directory)}: all {plan.trials} trials have ended; nothing to do")
            return ending.of_sweep(directory, [], checked)
        return ending.of_sweep(
            directory, [train(directory, source, configs[0], source.before, lambda *_: None)], checked
        )


def _parsed(base: Any) -> Config:
    from vaex import config as configuration
    from vaex.tracking import tracker

    return tracker.resolved(configuration.parse(base))


def _refuse_unsound(directory: Path, noted: Sequence[Noted], seeds: int) -> None:
    """Raise `InputError` where a record has jobs in other places, or of other trials, than their numbers say."""
    for job in noted:
        if job.directory != Path(str(job.number)) or job.trial != job.number // seeds:
            raise InputError(
                f"{directory / sweep.NAME}: job {job.number} is not that of trial {job.number // seeds} in directory "
                f"{job.number}; take the file from where this search was made"
            )


def _of_job(directory: Path, job: Noted, plan: Plan, overrides: Sequence[str], base: Config) -> Config:
    """The configuration of a job as it goes on: what may change is that of the search by now, or is overridden."""
    from vaex.tracking import tracker

    now = next(iter(plan.bases.values()))
    changed = saved.completed(job.config) | {key: now[key] for key in ("tracking", "figures", "checkpoint", "sweep")}
    changed, keys = compose.override(changed, overrides)
    changed = saved.with_data_found(changed | {"plugins": list(base.plugins)}, keys, directory)
    return tracker.resolved(saved.parse_saved(directory / sweep.NAME, changed, [*keys, "plugins"]))


def _job(directory: Path, job: Noted, config: Config, plan: Plan) -> Job:
    """A new job of a search that goes on, in the directory that its number gives."""
    from vaex.sweeping.task import shown

    place = shown(directory / job.directory)
    if place.resolve() != directory.resolve() / job.directory:
        raise InputError(f"{place}: is a link to another place; remove it to go on")
    refuse_links(place)
    figures = plan.trials * len(plan.seeds) <= config.sweep.figures_up_to
    name = naming.of_job(job.overrides, set(plan.fixed))
    label = job.label_without(set(plan.fixed))
    return Job(config, place, label, sweep.group_of(directory), name, figures=figures, number=job.number)


def told(directory: Path) -> list[str]:
    """The best of a search, in lines; none of a sweep that is none."""
    if not sweep.read_search(directory):
        return []
    from vaex.sweeping.task import shown

    plan = plans.read(directory)
    with Study(directory, plan.settings, plan.directions, plan.parameters) as study:
        table.write(directory, plan, study)
        return table.told(shown(directory), plan, study)
