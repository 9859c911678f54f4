"""A run that is cut off and goes on is one run for W&B: against a server on the loopback, by the real command line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ENDLESS, PATIENCE, SMALL, cut_off, environment, epochs_on_disk, server
from tests.support.wandb_server import Server, Stored, serving
from vaex import files
from vaex.disk import metrics


def gone_on(directory: Path, *overrides: object, env: dict[str, str]) -> dict[str, object]:
    """The summary of a run that went on for five epochs."""
    epochs = f"training.epochs={epochs_on_disk(directory) + 5}"
    code, text = server().run("resume", directory, epochs, *overrides, env=env)
    assert code == 0, text
    assert "W&B" not in text
    return files.read_json(directory / "summary.json")


def check(wandb: Server, summary: dict[str, object], directory: Path) -> Stored:
    """One run, under our id, with every epoch once and in order, the numbers of the disk, and the summary."""
    assert wandb.unknown == []
    assert list(wandb.runs) == [summary["run_id"]]
    (run,) = wandb.runs.values()
    rows = [row for row in run.history if "train/elbo" in row]
    on_disk = metrics.read_rows(directory / "metrics.jsonl")  # which reads no others than those of epochs 1, 2, 3, ...
    for key in ("epoch", "valid/elbo"):
        assert [row[key] for row in rows] == [row[key] for row in on_disk]
    steps = [row["_step"] for row in run.history]
    assert steps == sorted(set(steps))
    assert {"samples", "reconstructions", "curves"} < run.history[-1].keys()
    assert run.summary["test/elbo"] == summary["test/elbo"]
    assert run.summary["status"] == "finished"
    assert run.inserted == 1
    assert run.exit_codes[-1] == 0
    return run


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=["ctrl-c", "term", "kill"],
)
def test_what_was_cut_off_online_goes_on_as_the_same_run(number: signal.Signals, tmp_path: Path):
    """After a kill the server lacks what W&B had not sent yet; the resumed part brings it."""
    directory = tmp_path / "run"
    with serving() as wandb:
        cut_off(directory, number, ENDLESS, env=wandb.variables)
        summary = gone_on(directory, env=wandb.variables)
        stored = check(wandb, summary, directory)
        assert stored.resumed == 1 or number is signal.SIGKILL  # which may come before W&B has made its run


@pytest.mark.slow
def test_two_offline_segments_are_synced_as_one_run(tmp_path: Path):
    directory = tmp_path / "run"
    offline = {"WANDB_MODE": "offline"}
    cut_off(directory, signal.SIGINT, ENDLESS, env=offline)
    summary = gone_on(directory, env=offline)
    segments = sorted((directory / "wandb").glob("offline-run-*"))
    assert len(segments) == 2
    with serving() as wandb:
        command = [Path(sys.executable).with_name("wandb"), "sync", *segments]
        variables = environment(server().scratch, Path(os.environ["VAEX_CACHE"]), **wandb.variables)
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        check(wandb, summary, directory)


@pytest.mark.slow
def test_offline_first_and_online_later(tmp_path: Path):
    """What was trained before there was a server is sent too."""
    directory = tmp_path / "run"
    code, text = server().run(*SMALL, "training.epochs=6", f"hydra.run.dir={directory}")
    assert code == 0, text
    with serving() as wandb:
        check(wandb, gone_on(directory, "tracking.mode=online", env=wandb.variables), directory)
