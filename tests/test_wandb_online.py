"""A run that is cut off and goes on is one run for W&B: against a server on the loopback, by the real command line."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import SMALL, Forked, environment, server, until
from tests.wandb_server import Server, Stored, serving
from vaex import files, metrics

EPOCHS = 40


def begun(directory: Path, variables: dict[str, str]) -> Forked:
    """A run that has trained three epochs and is still at it."""
    path = directory / "metrics.jsonl"
    run = server().start(*SMALL, f"training.epochs={EPOCHS}", f"hydra.run.dir={directory}", env=variables)
    until(lambda: path.exists() and len(metrics.read_rows(path)) >= 3)
    return run


def resumed(directory: Path, variables: dict[str, str]) -> dict[str, object]:
    """The summary of a run that went on to its end."""
    code, text = server().run("resume", directory, env=variables)
    assert code == 0, text
    assert "W&B" not in text
    return files.read_json(directory / "summary.json")


def check(wandb: Server, summary: dict[str, object], directory: Path) -> Stored:
    """One run, under our id, with every epoch once and in order, the numbers of the disk, and the summary."""
    assert wandb.unknown == []
    assert list(wandb.runs) == [summary["run_id"]]
    (run,) = wandb.runs.values()
    rows = [row for row in run.history if "train/elbo" in row]
    assert [row["epoch"] for row in rows] == [*range(1, EPOCHS + 1)]
    on_disk = metrics.read_rows(directory / "metrics.jsonl")
    assert [row["valid/elbo"] for row in rows] == [row["valid/elbo"] for row in on_disk]
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
        run = begun(directory, wandb.variables)
        run.kill(number)
        assert run.wait() == (-number if number is signal.SIGKILL else 128 + number), run.text()
        summary = resumed(directory, wandb.variables)
        stored = check(wandb, summary, directory)
        assert stored.resumed == 1 or number is signal.SIGKILL  # which may come before W&B has made its run


def test_two_offline_segments_are_synced_as_one_run(tmp_path: Path):
    directory = tmp_path / "run"
    offline = {"WANDB_MODE": "offline"}
    run = begun(directory, offline)
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    summary = resumed(directory, offline)
    segments = sorted((directory / "wandb").glob("offline-run-*"))
    assert len(segments) == 2
    with serving() as wandb:
        command = [Path(sys.executable).with_name("wandb"), "sync", *segments]
        variables = environment(server().scratch, **wandb.variables)
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        check(wandb, summary, directory)


@pytest.mark.slow
def test_offline_first_and_online_later(tmp_path: Path):
    """What was trained before there was a server is sent too."""
    directory = tmp_path / "run"
    code, text = server().run(*SMALL, "training.epochs=6", f"hydra.run.dir={directory}")
    assert code == 0, text
    with serving() as wandb:
        code, text = server().run(
            "resume", directory, f"training.epochs={EPOCHS}", "tracking.mode=online", env=wandb.variables
        )
        assert code == 0, text
        check(wandb, files.read_json(directory / "summary.json"), directory)
