"""W&B gets a copy, read back from its own file; none of its failures reaches training."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.configurations import make
from tests.support.processes import PATIENCE, SMALL, pseudo_terminal, server
from vaex.disk import provenance
from vaex.disk.recorder import Named
from vaex.errors import ConfigError
from vaex.figures import gallery
from vaex.tracking import tracker as tracking

WANDB = Path(sys.executable).with_name("wandb")
ROW = {"train/elbo": -3.0, "valid/elbo": -4.0, "valid/kl_per_latent": [0.5, 0.0], "grad_norm_max": None}


@pytest.fixture(autouse=True)
def default(monkeypatch):
    """The default mode, and the time that a busy machine needs before there is nothing to warn of."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(tracking, "FINISH_SECONDS", PATIENCE)


def records(directory):
    """The records of the one W&B run in a run directory, by kind."""
    (file,) = Path(directory).glob("wandb/*run-*/*.wandb")
    done = subprocess.run([WANDB, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record.get(record["type"]))
    return found


def history(directory):
    return [item["item"] for item in records(directory)["history"]]


def told(directory, caplog, *overrides, group=None, between=lambda: None, status="finished"):
    """Tell a tracker about a run of two epochs, as the loop does; returns its warnings."""
    config = tracking.resolved(make("dataset=digits", *overrides))
    tracker = tracking.open_tracker(config.tracking, directory, group, Named("abcd1234", "gamma-k2-s3"))
    assert isinstance(tracker, tracking.Tracker)
    picture = directory / "samples.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    with caplog.at_level(logging.WARNING, "vaex"):
        tracker.start({"seed": 3, "model": {"latent_dim": 2}})
        tracker.log({"epoch": 1} | ROW)
        between()
        tracker.log({"epoch": 2} | ROW)
        tracker.images({"samples": picture})
        tracker.finish({"status": status, "test/elbo": -5.0, "epoch": 3})
    return [
        record.getMessage() for record in caplog.records if record.name == "vaex" and record.levelno >= logging.WARNING
    ]


def test_everything_can_be_read_back(tmp_path, caplog):
    assert told(tmp_path, caplog, "tracking.tags=[a,b]", "tracking.name=mine", group="outputs/sweep") == []
    found = records(tmp_path)
    (run, *_) = found["run"]
    assert run["run_id"] == "abcd1234"
    assert (run["project"], run["display_name"], run["run_group"], run["tags"]) == (
        "vaex",
        "mine",
        "outputs/sweep",
        ["a", "b"],
    )
    assert run["config"]["update"]["model"] == {"latent_dim": 2}
    rows = [item["item"] for item in found["history"]]
    assert [row["epoch"] for row in rows] == [1, 2, 2]
    assert [row["train/elbo"] for row in rows[:2]] == [-3.0, -3.0]
    assert rows[0]["valid/kl_per_latent._type"] == "histogram"
    assert rows[2]["samples._type"] == "image-file"
    updates = {key: value for record in found["summary"] for key, value in record["update"].items()}
    assert (updates["test/elbo"], updates["status"]) == (-5.0, "finished")
    assert updates.get("epoch", 2) == 2  # of the last row; a run that fails may say a later one
    assert found["exit"][0]["exit_code"] == 0


def test_wandbs_own_variables_hold_where_a_key_is_unset(tmp_path, caplog, monkeypatch):
    named = {"PROJECT": "p", "NAME": "n", "TAGS": "t,u", "RUN_GROUP": "g", "ENTITY": "e", "NOTES": "o"}
    for name, value in named.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "theirs").mkdir()
    assert told(tmp_path / "theirs", caplog, group="sweep") == []
    run = records(tmp_path / "theirs")["run"][0]
    assert [run[key] for key in ("project", "display_name", "tags", "run_group", "entity", "notes")] == [
        "p",
        "n",
        ["t", "u"],
        "g",
        "e",
        "o",
    ]
    (tmp_path / "ours").mkdir()
    ours = (
        "tracking.project=P",
        "tracking.name=N",
        "tracking.tags=[T]",
        "tracking.group=G",
        "tracking.entity=E",
        "tracking.notes=O",
    )
    assert told(tmp_path / "ours", caplog, *ours, group="sweep") == []
    run = records(tmp_path / "ours")["run"][0]
    assert [run[key] for key in ("project", "display_name", "tags", "run_group", "entity", "notes")] == [
        "P",
        "N",
        ["T"],
        "G",
        "E",
        "O",
    ]


def test_wandbs_own_place_holds(tmp_path, caplog, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "theirs"))
    (tmp_path / "theirs").mkdir()
    assert told(tmp_path / "run", caplog) == []
    assert records(tmp_path / "theirs")["run"]
    assert not (tmp_path / "run" / "wandb").exists()


def test_what_a_run_can_do_without_costs_it_nothing_else(tmp_path, caplog):
    """A picture that is no picture: one warning, and the summary comes all the same."""
    (warning,) = told(tmp_path, caplog, between=lambda: (tmp_path / "samples.png").write_bytes(b"no picture"))
    assert warning.startswith("W&B failed (")
    found = records(tmp_path)
    assert {key for record in found["summary"] for key in record["update"]} >= {"test/elbo", "status"}
    assert found["exit"][0]["exit_code"] == 0


def test_a_diverged_run_has_its_tag_and_has_failed(tmp_path, caplog):
    assert told(tmp_path, caplog, "tracking.tags=[a]", status="diverged") == []
    found = records(tmp_path)
    assert [run["tags"] for run in found["run"]][-1] == ["a", "diverged"]
    assert found["exit"][0]["exit_code"] == 1


@pytest.mark.parametrize("run_id", ["a/b", " a", "a:b"])
def test_a_bad_run_id_is_refused_before(monkeypatch, run_id):
    monkeypatch.setenv("WANDB_RUN_ID", run_id)
    with pytest.raises(ConfigError, match="WANDB_RUN_ID: W&B takes characters other than"):
        tracking.resolved(make())
    assert tracking.resolved(make("tracking.mode=disabled")).tracking.mode == "disabled"
    monkeypatch.setenv("WANDB_RUN_ID", "a-b_c")
    assert tracking.resolved(make()).tracking.mode == "offline"


def test_under_an_agent_a_run_has_the_agents_id(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "the_agents")
    assert provenance.new_id() != "the_agents"
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert provenance.new_id() == "the_agents"


UNFIT = [
    ("tracking.project", "WANDB_PROJECT", "a/b", "none of"),
    ("tracking.project", "WANDB_PROJECT", "p" * 129, "at most 128 characters"),
    ("tracking.tags", "WANDB_TAGS", "t" * 65, "1 to 64 characters"),
]


@pytest.mark.parametrize(("key", "variable", "value", "message"), UNFIT)
def test_names_that_wandb_would_refuse_are_refused_before(monkeypatch, key, variable, value, message):
    override = f"{key}=[{value}]" if key.endswith("tags") else f"{key}='{value}'"
    with pytest.raises(ConfigError, match=f"{key}: W&B takes .*{message}"):
        tracking.resolved(make(override))
    assert tracking.resolved(make(override, "tracking.mode=disabled")).tracking.mode == "disabled"
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"{variable}: W&B takes .*{message}"):
        tracking.resolved(make())
    assert tracking.resolved(make("tracking.project=p", "tracking.tags=[t]")).tracking.project == "p"


def test_an_empty_tag_is_refused():
    with pytest.raises(ConfigError, match="W&B takes 1 to 64"):
        tracking.resolved(make("tracking.tags=['']"))


def test_the_jobs_of_a_sweep_do_not_share_the_run_of_an_agent(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "the_agents")
    tracking.leave_agent([tracking.resolved(make())])
    assert "an agent has one run" in caplog.text
    caplog.clear()
    assert told(tmp_path, caplog, group="sweep") == []
    assert records(tmp_path)["run"][0]["run_id"] == "abcd1234"


def test_without_a_home_wandb_is_as_silent_as_ever(tmp_path, caplog, monkeypatch, capfd):
    tracking.leave_wandb()  # so that it starts its server in this environment
    for name in ("WANDB_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    assert told(tmp_path, caplog) == []
    tracking.leave_wandb()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("key", "variable", "mode"),
    [
        ("null", None, "offline"),
        ("null", "online", "online"),
        ("null", "dryrun", "offline"),
        ("null", "disabled", "disabled"),
        ("offline", "online", "offline"),
        ("disabled", "online", "disabled"),
    ],
)
def test_the_mode_is_the_key_else_the_variable_else_offline(monkeypatch, key, variable, mode):
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert tracking.resolved(make(f"tracking.mode={key}")).tracking.mode == mode
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(ConfigError, match="WANDB_MODE: expected online"):
        tracking.resolved(make())


def test_disabled_leaves_nothing(tmp_path, caplog):
    assert told(tmp_path, caplog, "tracking.mode=disabled") == []
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


def offline(*arguments):
    """Run `vaex arguments...` for two epochs with W&B offline: nothing goes wrong, so nothing is said of it."""
    code, text = server().run(*arguments, *SMALL, "training.epochs=2", env={"WANDB_MODE": "offline"})
    assert code == 0, text
    assert "vaex:" not in text


def test_a_run_tells_wandb_its_epochs_figures_and_summary(tmp_path):
    offline(f"hydra.run.dir={tmp_path / 'run'}")
    found = records(tmp_path / "run")
    rows = [item["item"] for item in found["history"]]
    assert [row["epoch"] for row in rows if "train/elbo" in row] == [1, 2]
    assert {key for key in rows[-1] if key.endswith("._type")} == {
        f"{name}._type" for name in (*gallery.AT_END, "examples")
    }
    assert found["run"][0]["config"]["update"]["dataset"]["name"] == "digits"
    updates = {key for record in found["summary"] for key in record["update"]}
    assert {"test/elbo", "best/valid/elbo", "status"} <= updates


def test_a_sweep_is_one_group_with_one_run_a_job(tmp_path):
    directory = tmp_path / "sweep"
    offline("-m", "seed=3,4", "sweep.figures_up_to=0", f"hydra.sweep.dir={directory}")
    runs = [records(directory / str(number))["run"][0] for number in range(2)]
    assert len({run["run_id"] for run in runs}) == 2
    assert {run["run_group"] for run in runs} == {"/".join(directory.parts[-2:])}
    assert [run["config"]["update"]["seed"] for run in runs] == [3, 4]
    assert [run["display_name"] for run in runs] == ["s3", "s4"]


# Failures: one warning, and everything else as if nothing had been


def test_online_without_a_key(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (warning,) = told(tmp_path, caplog, "tracking.mode=online")
    assert "No API key" in warning
    assert "training goes on" in warning


def test_online_on_a_terminal_asks_nobody(tmp_path, caplog, monkeypatch):
    """W&B's menu would wait in a thread that outlives the run."""
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 60.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pseudo_terminal() as (_, theirs), open(theirs, "r+b", buffering=0, closefd=False) as terminal:
        stdin, stderr = (io.TextIOWrapper(terminal, write_through=True) for _ in range(2))
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        (warning,) = told(tmp_path, caplog, "tracking.mode=online")
    assert "No API key" in warning


def test_a_directory_that_cannot_be_written(tmp_path, caplog):
    (tmp_path / "wandb").write_text("a file where W&B wants its directory")
    (warning,) = told(tmp_path, caplog)
    assert "W&B failed (" in warning
    assert (tmp_path / "wandb").read_text().startswith("a file")


@pytest.mark.slow
def test_a_server_that_does_not_answer(tmp_path):
    overrides = ("dataset=digits", "training.epochs=1", "tracking.mode=online", "hydra.run.dir=here")
    key = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    with (tmp_path / "said").open("w") as said:  # no pipe: W&B's own process holds it after ours has ended
        command = [sys.executable, "-m", "vaex", *overrides]
        code = subprocess.run(
            command, cwd=tmp_path, env=os.environ | key, stdout=said, stderr=said, timeout=PATIENCE
        ).returncode
    assert code == 0
    assert (tmp_path / "said").read_text().count("vaex: W&B") == 1
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["status"] == "finished"
