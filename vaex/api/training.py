"""Runs and sweeps from a notebook or script: the same checks, packs and files as behind the command line."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from typing_extensions import override

from vaex import config as configuration
from vaex import files
from vaex.api.run import Run, load
from vaex.config import Config
from vaex.config import compose as composing
from vaex.device import backend, mesh
from vaex.disk import results
from vaex.disk import sweep as sweeps
from vaex.disk.directory import Job, refuse_existing, reserve
from vaex.engines.engine import Here
from vaex.errors import ConfigError, InputError, VaexError
from vaex.stopping import refusals
from vaex.sweeping import ending
from vaex.sweeping.task import shown, train_sweep
from vaex.tracking import tracker
from vaex.training import run


class Sweep(pd.DataFrame):
    """A sweep as a table: one row a job, its overrides as columns, status, every single-valued summary entry."""

    @property
    def runs(self) -> list[Run]:
        """The run of each row."""
        places: dict[int, str] = self.attrs["directories"]
        return [load(places[number]) for number in self["job"]]

    @property
    @override
    def _constructor(self) -> type["Sweep"]:
        """What a selection of rows is."""
        return Sweep


def compose(*overrides: str) -> Config:
    """The configuration of one run, as `vaex OVERRIDES` trains it; raises `ConfigError`, one line, for a mistake."""
    command = _command(overrides)
    if command.multirun or len(command.jobs) != 1:
        raise ConfigError("these overrides are a sweep: vaex.sweep([...]) trains it")
    return command.jobs[0]


def train(config: Config, directory: str | Path | None = None) -> Run:
    """Train a run, in a new directory below outputs/ unless one is given, and return it, also when it diverged.

    Raises `VaexError` when it failed (its vaex.log has more), `KeyboardInterrupt` when it was interrupted: what was
    trained is on disk, and `vaex resume` goes on with it.
    """
    backend.start()
    resolved = mesh.resolved(tracker.resolved(config))
    run.check(resolved)
    refusals.check_lone(resolved)
    place = _place(directory)
    refuse_existing(place)
    outcome = run.run([[Job(resolved, shown(place), f"loss={config.loss.name} dataset={config.dataset.name}")]])
    if outcome.signal:
        raise KeyboardInterrupt(f"{place}: interrupted; `vaex resume {shlex.quote(str(place))}` goes on with it")
    (status,) = outcome.statuses.values()
    if status in ("failed", "refused"):
        reason = files.read_json(place / "summary.json").get("error") if (place / "summary.json").exists() else status
        raise VaexError(f"{place}: {reason}")
    return load(place)


def sweep(jobs: Sequence[str] | Sequence[Config], directory: str | Path | None = None) -> Sweep:
    """Train a grid of overrides (`["loss=sigma,gamma", "seed=0,1"]`), or these configurations, several at once.

    Writes what `vaex -m` writes (sweep.csv, report.html), in a new directory below outputs/ unless one is given. Raises
    `KeyboardInterrupt` when it was interrupted: `vaex resume` goes on with it. A job that failed is a row that says so.
    """
    configs, overrides = _jobs(jobs)
    mesh.check_sweep(configs)
    backend.start()
    tracker.leave_agent(configs)
    resolved = [tracker.resolved(config) for config in configs]
    noted = [sweeps.noted(n, Path(str(n)), overrides[n], config) for n, config in enumerate(resolved)]
    sweeps.encoded(noted)  # refused now if they are too many
    for config in dict.fromkeys(resolved):
        run.check(config)
    refusals.check(resolved)
    place = shown(_place(directory))
    for each in noted:
        refuse_existing(place / each.directory)
    place.mkdir(parents=True, exist_ok=True)
    with files.locked(place):
        sweeps.write(place, noted)
        group, figures = sweeps.group_of(place), len(noted) <= resolved[0].sweep.figures_up_to
        common = set.intersection(*map(set, overrides)) if len(noted) > 1 else set()
        made = [
            Job(config, place / each.directory, each.label_without(common), group, figures=figures, number=each.number)
            for config, each in zip(resolved, noted, strict=True)
        ]
        outcome = train_sweep(place, run.group(made), 0, Here())
        ending.of_sweep(place, [outcome])
    if outcome.signal:
        raise KeyboardInterrupt(f"{place}: interrupted; `vaex resume {shlex.quote(str(place))}` goes on with it")
    return load_sweep(place)


def load_sweep(directory: str | Path) -> Sweep:
    """Read a sweep's directory: its table, with `.runs`."""
    table = Sweep(results.load_sweep(directory))
    places = map(str, results.job_directories(Path(directory)))
    table.attrs["directories"] = dict(zip(table["job"], places, strict=True))
    return table


def _jobs(jobs: Sequence[str] | Sequence[Config]) -> tuple[list[Config], list[tuple[str, ...]]]:
    """The configurations, and for each in what overrides it differs from the others."""
    if isinstance(jobs, str) or not jobs:
        raise InputError(
            'vaex.sweep: expected a list, of overrides as in ["loss=sigma,gamma", "seed=0,1"], or of Config'
        )
    texts = [job for job in jobs if isinstance(job, str)]
    configs = [job for job in jobs if not isinstance(job, str)]
    if texts and configs:
        raise InputError("vaex.sweep: overrides or configurations, not both")
    if configs:
        return configs, _differences(configs)
    own = [text for text in texts if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    if own:
        raise ConfigError(f"{own[0]}: vaex.sweep trains in this process; Hydra's own keys are for `vaex -m`")
    command = _command(["--multirun", *texts])
    if command.sweeper_decides:
        raise ConfigError("a sweeper that decides as it goes is for `vaex -m`; vaex.sweep takes grids")
    return list(command.jobs), list(command.overrides)


def _differences(configs: Sequence[Config]) -> list[tuple[str, ...]]:
    """`key=value` of each configuration for the keys that are not alike in all of them."""
    flats = [dict(_flat(configuration.dump(config))) for config in configs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    differing = [key for key in keys if len({repr(flat.get(key)) for flat in flats}) > 1]
    return [tuple(f"{key}={flat[key]}" for key in differing if key in flat) for flat in flats]


def _flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The values by the keys of overrides: `loss.name` is what `loss=` chooses."""
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        full = prefix.rstrip(".") if key == "name" and prefix.rstrip(".") in configuration.GROUPS else f"{prefix}{key}"
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(full, value)]
    return found


def _command(arguments: Sequence[str]) -> composing.Command:
    from hydra._internal.utils import get_args_parser

    for item in arguments[1:] if arguments[:1] == ["--multirun"] else arguments:
        if not isinstance(item, str) or item.startswith("-"):
            raise ConfigError(f"{item!r}: expected an override, key=value")
    return composing.compose(get_args_parser().parse_args(list(arguments)))


def _place(directory: str | Path | None) -> Path:
    """The directory that was asked for, or a new one of this second."""
    return Path(directory) if directory else reserve(Path(datetime.now().strftime("outputs/%Y-%m-%d/%H-%M-%S")))
