"""The door through Hydra: a composed command becomes runs, and a sweep's results become one table."""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vaex import config as configuration
from vaex import results, run, tracking
from vaex.compose import Command, plain
from vaex.errors import InputError
from vaex.recorder import refuse_existing
from vaex.terminal import Screen, sweep_table

EXIT_CODES = {"finished": 0, "diverged": 1, "interrupted": 130, "failed": 3}
"""Of a lone run, by its status."""


class EndOfCommand(BaseException):
    """Ends a whole sweep at once; not an `Exception`, which Hydra would take for the failure of one job."""


def train(command: Command, hydra: Callable[[Callable[[DictConfig], None], list[str]], int]) -> int:
    """Check every job, reserve the directory, train, report; returns the exit code.

    `hydra` runs a task under Hydra with further overrides.
    """
    for config in dict.fromkeys(map(tracking.resolved, command.jobs)):
        run.check(config)
    directory = _make_directory(command)
    key = "hydra.sweep.dir" if command.multirun else "hydra.run.dir"
    extra = [f"{key}='{directory}'"] if command.directory_is_default else []
    outcomes: list[run.Outcome] = []
    total = len(command.jobs)
    with contextlib.suppress(EndOfCommand):
        hydra(lambda job: _task(job, outcomes, total), extra)
    code = _sweep_code(directory, outcomes) if command.multirun else EXIT_CODES[outcomes[0].statuses[0]]
    number = next((outcome.signal for outcome in outcomes if outcome.signal), None)
    return 128 + number if number else code


def _make_directory(command: Command) -> Path:
    """The run's or sweep's directory, made; raises `InputError` when it cannot be or holds a run already."""
    folders = [command.directory / subdirectory for subdirectory in command.subdirectories]
    if command.multirun and len(set(folders)) < len(folders):
        raise InputError("hydra.sweep.subdir: gives two jobs the same directory; ${hydra.job.num} differs in each")
    try:
        if command.directory_is_default:
            return reserve(command.directory)
        for folder in (command.directory, *(folders if command.multirun else [])):
            refuse_existing(folder)
        command.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{command.directory}: cannot be made: {error.strerror}") from error
    return command.directory


def reserve(wanted: Path) -> Path:
    """Make a directory that nobody else has, adding _2, _3, … when two commands start in one second."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            directory.mkdir()
            return directory
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def _task(job: DictConfig, outcomes: list[run.Outcome], total: int) -> None:
    """One job, called by Hydra's launcher."""
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    sweep = "MULTIRUN" in str(hydra.mode)
    overrides = " ".join(hydra.overrides.task)
    label = f"{len(outcomes) + 1}/{total}  {overrides}" if sweep else overrides or "the book's VAE"
    group = "/".join(directory.parent.parts[-2:]) if sweep else None
    config = tracking.resolved(configuration.parse(plain(job)))
    outcome = run.run([run.Job(config, _shown(directory), label, group)])
    outcomes.append(outcome)
    if outcome.signal or outcome.ended_by_policy:
        raise EndOfCommand


def _shown(directory: Path) -> Path:
    """Relative to here where it can be: short to read and to paste."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory


def _sweep_code(directory: Path, outcomes: list[run.Outcome]) -> int:
    table = results.write_sweep_csv(directory)
    overrides = results.override_columns(table)
    console = Screen()
    console.print(sweep_table(table.to_dict("records"), overrides))
    console.print(f"sweep directory: {_shown(directory)}", markup=False)
    statuses = [status for outcome in outcomes for status in outcome.statuses]
    return 1 if "failed" in statuses or any(outcome.ended_by_policy for outcome in outcomes) else 0
