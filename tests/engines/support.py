"""Sweeps by workers: how tests start, watch and compare them."""

import csv
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import OF_THE_MACHINE, epochs_on_disk, results, until
from vaex.live.locks import LINE, LIST

BARE = ("dataset=digits", "dataset.limit=200", "sweep.figures_up_to=0")
GRID = (*BARE, "training.epochs=2", "loss=gamma,sigma", "model.latent_dim=2,5,10", "seed=0,1")
"""Twelve jobs of six programs."""

LONG = (*BARE, "training.epochs=120", "seed=0,1")
"""Long enough that whatever is done to one of these finds it training."""


def vaex(cwd: Path, *arguments: object) -> subprocess.Popen[str]:
    """The real command line, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "vaex", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(cwd: Path, *arguments: object) -> tuple[int, str, str]:
    """The real command line to its end: exit code, output, errors."""
    run = vaex(cwd, *arguments)
    output, errors = run.communicate()
    return run.returncode, output, errors


def training(directory: Path, epochs: int = 3) -> int:
    """The process that holds a run's lock, when the run has come so far."""
    until(lambda: epochs_on_disk(directory) >= epochs)
    return holder(directory)


def stopped_by_ctrl_c(cwd: Path, *launcher: str) -> None:
    """A sweep of `LONG`, interrupted while its first job trains: it says how to go on, and nobody holds a run."""
    run = vaex(cwd, "-m", *LONG, *launcher)
    training(cwd / "sweep" / "0")
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate()
    assert run.returncode == 130
    assert errors == "vaex: stopping the workers at the end of their epochs; once more to stop now\n"
    assert "to go on: vaex resume sweep" in output
    assert holder(cwd / "sweep" / "0") == 0


def holder(directory: Path) -> int:
    """The process that holds a run's lock; 0 where none does."""
    inode = (directory / ".lock").stat().st_ino
    found = LINE.findall(LIST.read_text())
    return next((int(process) for process, _, _, node in found if int(node) == inode), 0)


def table(directory: Path) -> list[dict[str, str]]:
    """The rows of a sweep.csv, less what differs between two runs of one configuration."""
    with (directory / "sweep.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in OF_THE_MACHINE} for row in csv.DictReader(file)]


def assert_same(one: Path, other: Path) -> None:
    """Tables, rows, steps and models of two sweeps' jobs are the same."""
    assert table(one) == table(other)
    jobs = _jobs(one)
    assert jobs
    assert jobs == _jobs(other)
    for job in jobs:
        assert results(one / job) == results(other / job), job


def _jobs(directory: Path) -> Sequence[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.isdecimal())
