"""A composed command becomes runs: checked, given a directory, handed to Hydra, and ended as one."""

import contextlib
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vaex import files
from vaex.config.compose import Command
from vaex.config.overrides import pinned
from vaex.device import backend, hosts, mesh
from vaex.disk import sweep
from vaex.disk.directory import Job, refuse_existing, refuse_links, reserve
from vaex.engines import engine as engines
from vaex.engines.engine import Here
from vaex.errors import ConfigError, InputError
from vaex.search import lineage, objectives
from vaex.search import plan as plans
from vaex.search.lineage import Population
from vaex.stopping import refusals
from vaex.sweeping import ending, going_on, launcher, pbt, searching
from vaex.sweeping.pbt import PopulationSweeper
from vaex.sweeping.sweeper import OptunaSweeper
from vaex.sweeping.task import EndOfCommand, Task
from vaex.tracking import tracker
from vaex.training import run
from vaex.training.run import Outcome

Hydra = Callable[[Task, list[str]], int]
"""Runs a task under Hydra, with further overrides."""


def train(command: Command, hydra: Hydra) -> int:
    """Check every job, reserve the directory, train, report; returns the exit code."""
    population = pbt.asked(command)
    command = pbt.with_members(command, population) if population else command
    configs = [tracker.resolved(config) for config in command.jobs]
    jobs = [
        sweep.noted(number, Path(command.subdirectories[number]), command.overrides[number], config)
        for number, config in enumerate(configs)
    ]
    begun = command.multirun and not command.directory_is_default and (command.directory / sweep.NAME).exists()
    plan = plans.make(command, configs) if command.search else None
    if plan and begun:
        return searching.go_on_as_typed(command.directory, plan, command.checked)
    engine = engines.of(command.launcher) if command.multirun else Here()
    if not engine.waits and (command.checked or command.sweeper_decides):
        raise ConfigError("hydra.launcher.wait=false: how the jobs end is asked here; leave it at true")
    if begun and not command.sweeper_decides:
        pbt.refuse_another(command.directory, population)
        typed = list(zip(jobs, configs, strict=True))
        return going_on.go_on_as_typed(command.directory, typed, command.checked, engine)
    if command.multirun:
        mesh.check_sweep(configs)
    here = isinstance(engine, Here)
    backend.start(devices=1 if command.multirun else configs[0].training.devices, trains=here)
    engine.check()
    if command.multirun:
        tracker.leave_agent(configs)
    sweep.encoded(jobs)  # refused now if they are too many
    if plan:
        plans.check(plan, configs)
    if not command.multirun:
        command = replace(command, jobs=(mesh.resolved(command.jobs[0]),))
        configs = [tracker.resolved(config) for config in command.jobs]
    for config in dict.fromkeys(configs):
        run.check(config)
    refusals.check(configs) if command.multirun else refusals.check_lone(configs[0])
    objectives.check_of_sweep(configs)
    if not hosts.leads():
        return ending.of_run(run.run([[Job(configs[0], Path(), "")]]))
    directory = _make_directory(command)
    task = Task(directory, command, engine)
    if not command.multirun:
        with contextlib.suppress(EndOfCommand):
            hydra(task, [pinned("hydra.run.dir", directory)])
        return ending.of_run(task.outcomes[0], command.checked)
    task.plan = plan
    return _train_sweep(command, task, jobs, population, hydra)


def _train_sweep(
    command: Command,
    task: Task,
    jobs: list[sweep.Noted],
    population: Population | None,
    hydra: Hydra,
) -> int:
    directory, plan = task.directory, task.plan
    launcher.register(task)
    launcher.register_sweeper(OptunaSweeper)
    launcher.register_sweeper(PopulationSweeper)
    with files.locked(directory):
        if population:
            lineage.write(directory, population)  # first: without it the jobs would be those of a grid
        if plan:
            sweep.write(directory, [], plan.record())
        elif not command.sweeper_decides:
            sweep.write(directory, jobs)
        try:
            hydra(task, [pinned("hydra.sweep.dir", directory)])
        except EndOfCommand:
            pass
        except KeyboardInterrupt:  # while no run trains: jobs are opened, or one batch follows another
            task.outcomes.append(Outcome({}, signal.SIGINT, ended_by_policy=False))
        return ending.of_sweep(directory, task.outcomes, command.checked)


def _make_directory(command: Command) -> Path:
    """The run's or sweep's directory, made; raises `InputError` when it cannot be or holds a run already."""
    folders = [command.directory / subdirectory for subdirectory in command.subdirectories]
    if command.multirun and len(set(folders)) < len(folders):
        raise InputError("hydra.sweep.subdir: gives two jobs the same directory; ${hydra.job.num} differs in each")
    if command.multirun and not all(sweep.inside(Path(subdirectory)) for subdirectory in command.subdirectories):
        raise InputError("hydra.sweep.subdir: leaves the sweep's directory; choose hydra.sweep.dir for that")
    try:
        if command.directory_is_default:
            return reserve(command.directory)
        for folder in (command.directory, *(folders if command.multirun else [])):
            refuse_existing(folder)
            refuse_links(folder)
        command.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{command.directory}: cannot be made: {error.strerror}") from error
    return command.directory
