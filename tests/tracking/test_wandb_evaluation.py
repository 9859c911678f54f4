"""W&B's copy of a finished run: model, table and evaluation, offline, synced and online; nothing of another run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, SMALL, environment, lines_of_error, server
from tests.support.wandb_server import Server, Stored, serving
from vaex import cli, files

QUICK = (*SMALL, "dataset.limit=200", "training.epochs=2", "evaluation.metrics=[active_units]")
LINE = ("evaluation.metrics=[elbo]", "evaluation.samples=2", "evaluation.limit=20")
OTHERS = {"WANDB_NAME": "other", "WANDB_TAGS": "other", "WANDB_NOTES": "other", "WANDB_RUN_GROUP": "other"}


def ran(*arguments: object, **env: str) -> str:
    code, text = server().run(*arguments, env=env)
    assert code == 0, text
    return text


def sync(wandb: Server, segment: Path) -> None:
    command = [Path(sys.executable).with_name("wandb"), "sync", segment]
    variables = environment(server().scratch, Path(os.environ["VAEX_CACHE"]), **wandb.variables)
    done = subprocess.run(command, cwd=segment, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def content(run: Stored) -> tuple[object, ...]:
    """What an evaluation does not touch."""
    config = json.loads(run.config)
    own = {key: value["value"] for key, value in config.items() if key != "_wandb"}
    shown = {key: run.summary[key] for key in ("status", "test/elbo", "epoch", "examples", "samples")}
    return run.history, own, shown, run.name, run.notes, run.tags, run.group, set(run.exit_codes)


def check_artifacts(wandb: Server, directory: Path, run_id: str) -> None:
    table, model = sorted(wandb.artifacts, key=lambda each: each.type == "model")
    assert (table.name, table.type, table.committed) == (f"run-{run_id}-examples", "run_table", True)
    rows = json.loads(table.files["examples.table.json"])
    assert rows["columns"] == ["image", "reconstructed", "label/class", "elbo", "reconstruction", "kl"]
    assert len(rows["data"]) == 24
    for *_, elbo, reconstruction, kl in rows["data"]:
        assert elbo == pytest.approx(-(reconstruction + kl))
        assert kl >= 0
    assert (model.name, model.type, model.committed, model.run) == (f"model-{run_id}", "model", True, run_id)
    best = files.read_json(directory / "summary.json")["best/epoch"] == 2
    assert set(model.aliases) == ({"latest", "best"} if best else {"latest"})
    for name in ("model.safetensors", "config.yaml", "manifest.json"):
        assert model.files[name] == (directory / name).read_bytes()
    assert model.metadata["parameters_sha256"] == files.sha256_of_file(directory / "model.safetensors")


@pytest.mark.slow
def test_an_offline_run_that_is_evaluated_is_synced_as_one(tmp_path: Path):
    directory, offline = tmp_path / "run", {"WANDB_MODE": "offline"}
    ran(*QUICK, "tracking.notes=a note", "tracking.tags=[a]", f"hydra.run.dir={directory}", **offline)
    assert "W&B" not in ran("evaluate", directory, *LINE, **OTHERS)
    first, second = sorted((directory / "wandb").glob("offline-run-*"))
    summary = files.read_json(directory / "summary.json")
    with serving() as wandb:
        sync(wandb, first)
        (run,) = wandb.runs.values()
        assert run.summary["eval/active_units"] == summary["eval/active_units"]  # of the end of training
        assert "eval/elbo" not in run.summary
        before = content(run)
        assert before[3:7] == ("gamma-k4-s0", "a note", ["a"], None)
        sync(wandb, second)
        assert wandb.unknown == []
        assert list(wandb.runs) == [summary["run_id"]]
        assert run.summary["eval/elbo"] == pytest.approx(summary["eval/elbo"])
        assert run.summary["eval/active_units"] == summary["eval/active_units"]
        assert content(run) == before
        check_artifacts(wandb, directory, summary["run_id"])
    assert not list((server().scratch / "wandb").glob("artifacts/staging/*.json"))


@pytest.mark.slow
def test_an_online_run_that_is_evaluated_stays_as_it_is(tmp_path: Path):
    directory = tmp_path / "run"
    with serving() as wandb:
        assert not lines_of_error(ran(*QUICK, "tracking.name=mine", f"hydra.run.dir={directory}", **wandb.variables))
        (run,) = wandb.runs.values()
        before = content(run)
        assert "W&B" not in ran("evaluate", directory, *LINE, **{**wandb.variables, "WANDB_MODE": "offline"}, **OTHERS)
        summary = files.read_json(directory / "summary.json")
        assert wandb.unknown == []
        assert run.summary["eval/elbo"] == pytest.approx(summary["eval/elbo"])
        assert content(run) == before
        assert (run.inserted, run.resumed) == (1, 1)
        check_artifacts(wandb, directory, summary["run_id"])
        wandb.runs.clear()  # as where somebody sent us the run: it is not ours to make
        (line,) = lines_of_error(ran("evaluate", directory, *LINE, **wandb.variables))
        assert f"{directory}: W&B is not told (UsageError: Run ({summary['run_id']}) does not exist" in line
        assert not wandb.runs


def test_a_run_that_is_not_tracked_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_run, capfd):
    """Nor does what W&B would refuse fail the verb."""
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(digits_run.directory, "run"))
    monkeypatch.setenv("WANDB_MODE", "online")
    assert cli._guarded(["evaluate", "run", *LINE]) == 0
    assert not capfd.readouterr().err
    assert not (run / "wandb").exists()
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("mode: disabled", "mode: offline"))
    monkeypatch.setenv("WANDB_RUN_ID", "a/b")
    assert cli._guarded(["evaluate", "run", *LINE]) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: run: W&B is not told (WANDB_RUN_ID: W&B takes")


def test_no_artifact_where_none_is_wanted(tmp_path: Path):
    ran(*QUICK, "tracking.artifact=false", f"hydra.run.dir={tmp_path / 'run'}", WANDB_MODE="offline")
    assert not list((tmp_path / "run").glob("wandb/own/model-*"))
