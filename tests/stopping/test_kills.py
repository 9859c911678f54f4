"""A stopping sweep that is killed again and again: no job is lost, none judged twice, and all bits are as ever."""

import contextlib
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import DIGITS
from tests.support.processes import epochs_on_disk, results, server, until
from vaex import files
from vaex.disk import stops

JOBS, EPOCHS, KILLS = 12, 9, 20
GRID = (
    "-m", DIGITS[0], "dataset.limit=200", "model.hidden=[8]", f"training.epochs={EPOCHS}", "tracking.mode=disabled",
    "sweep.figures_up_to=0", "optimizer.learning_rate=1e-2,1e-4,1e-3,1e-5,3e-3,3e-5", "seed=0,1", "checkpoint.every=2",
)  # fmt: skip


def epochs_of(directory: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # one that starts over, meanwhile
        return sum(epochs_on_disk(directory / str(job)) for job in range(JOBS))
    return 0


def killed_after(command: Sequence[object], directory: Path, epochs: int) -> bool:
    """Run the sweep's command until it has made so many epochs more, then kill it; whether it was still at it."""
    process, wanted = server().start(*command), epochs_of(directory) + epochs
    until(lambda: process.poll() is not None or ((directory / "sweep.json").exists() and epochs_of(directory) > wanted))
    process.kill(signal.SIGKILL)
    code = process.wait()
    assert code in (0, -signal.SIGKILL), process.text()
    return code != 0


def kill_again_and_again(directory: Path, grid: tuple[str, ...], generator: random.Random) -> int:
    """Kill the sweep after some more epochs each time, and let it go on at last; how often it was killed."""
    kills = 0
    while kills < KILLS:
        begun = (directory / "sweep.json").exists()
        command = ("resume", directory) if begun else (*grid, f"hydra.sweep.dir={directory}")
        if not killed_after(command, directory, generator.randint(0, 3)):
            return kills
        kills += 1
    code, text = server().run("resume", directory)
    assert code == 0, text
    return kills


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lone", "vmap", "refilled"])
@pytest.mark.parametrize("rule", ["asha", "median", "hyperband"])
def test_kills_lose_no_job_and_no_decision(tmp_path: Path, strategy: str, rule: str):
    grid = (
        (*GRID, "pack.strategy=vmap", "pack.max_runs=4")
        if strategy == "refilled"
        else (*GRID, f"pack.strategy={strategy}")
    )
    full, early = tmp_path / "full", tmp_path / "early"
    code, text = server().run(*grid, f"hydra.sweep.dir={full}")
    assert code == 0, text
    kills = kill_again_and_again(early, (*grid, f"sweep.stop={rule}"), random.Random(f"{strategy} {rule}"))
    assert kills
    summaries = [files.read_json(early / str(job) / "summary.json") for job in range(JOBS)]
    decisions = stops.read(early)
    assert len({(each.rule, each.job, each.epoch) for each in decisions}) == len(decisions)
    assert {(each.job, each.epoch) for each in decisions if each.stopped} == {
        (job, summary["epoch"]) for job, summary in enumerate(summaries) if summary["status"] == "stopped"
    }
    for job, summary in enumerate(summaries):
        mine, reference = (results(place / str(job)) for place in (early, full))
        assert summary["status"] in ("finished", "stopped")
        assert mine == reference or (summary["status"] == "stopped" and mine[0] == reference[0][: summary["epoch"]])
    assert any(summary["status"] == "stopped" for summary in summaries)
    packs = [files.read_json(early / str(job) / "manifest.json")["pack"] for job in range(JOBS)]
    assert any(record and record.get("refilled") for record in packs) is (strategy == "refilled")
    assert pd.read_csv(early / "sweep.csv")["status"].tolist() == [summary["status"] for summary in summaries]
