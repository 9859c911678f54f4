"""`vaex check` and `vaex diff` as they are typed: exit codes, what is warned of, what is recorded."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.commands.test_cli import inside, one_line  # noqa: F401
from tests.conftest import Finished
from vaex.disk import sweep
from vaex.sweeping import ending
from vaex.terminal.screen import Screen, log_to
from vaex.training.run import Outcome

QUICK = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "tracking.mode=disabled")


@pytest.fixture
def expecting(tmp_path: Path, digits_run: Finished) -> Path:
    """A finished run of which two things were expected, one of them wrongly."""
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("summary.json", "manifest.json"):
        shutil.copy(digits_run.directory / name, directory)
    config = yaml.safe_load((digits_run.directory / "config.yaml").read_text())
    config["expect"] = {"status": "finished", "epoch": 1}
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return directory


def test_a_plain_run_only_warns(expecting: Path, capfd):
    log_to(Screen())
    outcome = Outcome({expecting: "finished"}, None, ended_by_policy=False)
    assert ending.of_run(outcome) == 0
    shown = capfd.readouterr()
    assert shown.out == "ok      status: finished, expected finished\n"
    assert shown.err == "vaex: not ok  epoch: 2, expected 1, 1 above\n"
    assert ending.of_run(outcome, checked=True) == 1
    shown = capfd.readouterr()
    assert (shown.out.splitlines()[1], shown.err) == ("not ok  epoch: 2, expected 1, 1 above", "")
    assert ending.of_run(outcome._replace(signal=2), checked=True) == 130
    assert ending.of_run(outcome._replace(statuses={expecting: "failed"}), checked=True) == 3
    assert capfd.readouterr() == ("", "")


def test_where_nothing_is_expected_a_check_is_no_yes(expecting: Path, capfd):
    log_to(Screen())
    (expecting / "config.yaml").write_text("expect: null\n")
    outcome = Outcome({expecting: "finished"}, None, ended_by_policy=False)
    assert ending.of_run(outcome) == 0
    assert capfd.readouterr() == ("", "")
    assert ending.of_run(outcome, checked=True) == 2
    assert "was begun without expectations" in capfd.readouterr().err


def test_a_run_may_diverge_as_expected(expecting: Path):
    summary = json.loads((expecting / "summary.json").read_text()) | {"status": "diverged", "epoch": 1}
    (expecting / "summary.json").write_text(json.dumps(summary))
    (expecting / "config.yaml").write_text("expect: {status: diverged}\n")
    outcome = Outcome({expecting: "diverged"}, None, ended_by_policy=False)
    assert ending.of_run(outcome) == 1
    assert ending.of_run(outcome, checked=True) == 0


def test_a_damaged_expectation_does_not_end_a_run(expecting: Path, capfd):
    log_to(Screen())
    (expecting / "config.yaml").write_text("expect: {epoch: many}\n")
    outcome = Outcome({expecting: "finished"}, None, ended_by_policy=False)
    assert ending.of_run(outcome) == 0
    assert "its expectations were not checked: " in capfd.readouterr().err
    assert ending.of_run(outcome, checked=True) == 1


def test_a_directory_is_checked_against_what_was_expected_or_is_now(inside, expecting: Path):  # noqa: F811
    read = inside("check", str(expecting))
    assert (read.code, read.err) == (1, "")
    assert read.out.endswith("not ok  epoch: 2, expected 1, 1 above\n")
    ok = inside("check", str(expecting), "expect={status: finished}")
    assert (ok.code, ok.out) == (0, "ok      status: finished, expected finished\n")
    assert one_line(inside("check", str(expecting), "experiment=boook"), "did you mean 'book'") == 2
    assert one_line(inside("check", str(expecting), str(expecting)), "expected one run or sweep at a time") == 2
    assert one_line(inside("check", str(expecting), "seed=1"), "seed=1: a directory is only read") == 2


def test_a_directory_that_is_not_the_experiment_is_checked_and_said_to_differ(inside, tmp_path, expecting: Path):  # noqa: F811
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = "# @package _global_\ndefaults: [{override /dataset: digits}]\ntraining: {epochs: %d}\nexpect: {epoch: 2}\n"
    (tmp_path / "conf/experiment/two.yaml").write_text(own % 2)
    (tmp_path / "conf/experiment/three.yaml").write_text(own % 3)
    same = inside("check", str(expecting), "experiment=two", "--config-dir=conf")
    assert (same.code, same.out, same.err) == (0, "ok      epoch: 2, expected 2\n", "")
    other = inside("check", "--config-dir", "conf", str(expecting), "experiment=three")
    assert (other.code, other.out) == (0, same.out)
    assert other.err == f"vaex: {expecting} differs from experiment=three in: training.epochs\n"
    assert inside("diff", "--config-dir=conf", "experiment=two", "experiment=three").code == 1


@pytest.mark.slow
def test_a_run_checks_itself_at_its_end(inside, tmp_path):  # noqa: F811
    ended = inside(*QUICK, "expect={status: finished, epoch: 2}")
    assert ended.code == 0
    assert "ok      status: finished, expected finished\n" in ended.out
    assert ended.err == "vaex: not ok  epoch: 1, expected 2, 1 below\n"
    (directory,) = (tmp_path / "outputs").glob("*/*")
    assert inside("check", str(directory)).code == 1
    longer = inside("resume", str(directory), "training.epochs=2")
    assert (longer.code, longer.err) == (0, "")  # another run than the one that was begun
    assert "expect: null\n" in (directory / "config.yaml").read_text()


@pytest.mark.slow
def test_a_check_runs_an_experiment_lone_or_sweep(inside, tmp_path):  # noqa: F811
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = {
        "defaults": [{"override /dataset": "digits"}],
        "dataset": {"limit": 200},
        "training": {"epochs": 1},
        "tracking": {"mode": "disabled"},
        "expect": [{"finished": 2}, {"where": {"seed": 1}, "epoch": 1}],
        "hydra": {"sweeper": {"params": {"seed": "0,1"}}},
    }
    path = tmp_path / "conf" / "experiment" / "mine.yaml"
    path.write_text(f"# @package _global_\n{yaml.safe_dump(own, sort_keys=False)}")
    ended = inside("check", "experiment=mine", "--config-dir=conf", "hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    assert ended.out.endswith("ok      finished of 2 jobs: 2, expected 2\nok      seed=1: epoch: 1, expected 1\n")
    assert sweep.read(tmp_path / "sweep")[1][0].config["expect"] == own["expect"]
    assert inside("check", "sweep").code == 0
    assert one_line(inside("check", "sweep/1"), "is a job of a sweep, which is checked as a whole: vaex check") == 2
    broken = json.loads((tmp_path / "sweep/1/summary.json").read_text()) | {"status": "failed"}
    (tmp_path / "sweep/1/summary.json").write_text(json.dumps(broken))
    red = inside("check", "sweep")
    assert (red.code, red.out.splitlines()[0]) == (1, "not ok  finished of 2 jobs: 1, expected 2, 1 below")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected an experiment or a directory"),
        (("dataset=digits",), "dataset=digits: nothing to check"),
        (("nowhere",), "nowhere: no such run or sweep directory"),
        ((".",), "holds no jobs of a sweep"),
        (("",), "argument 1 is empty"),
    ],
)
def test_nothing_to_check_is_2_and_leaves_nothing(inside, tmp_path, arguments, message):  # noqa: F811
    assert one_line(inside("check", *arguments), message) == 2
    assert not list(tmp_path.iterdir())


def test_of_a_run_without_expectations_there_is_nothing_to_check(inside, digits_run: Finished):  # noqa: F811
    assert "expect: null\n" in (digits_run.directory / "config.yaml").read_text()
    assert one_line(inside("check", str(digits_run.directory)), "nothing to check: no expect was recorded with it") == 2


def test_diff_of_runs_sweeps_and_what_would_be_run(inside, digits_run: Finished, digits_sweep: Finished):  # noqa: F811
    run, job = digits_run.directory, digits_sweep.directory / "2"  # the same run, lone and in a sweep
    same = inside("diff", str(run), str(job))
    assert (same.code, same.out.splitlines()[-1]) == (0, "no difference in what decides results, nor in results")
    other = inside("diff", str(run), str(digits_sweep.directory / "0"))
    assert other.code == 1
    assert "model.latent_dim" in other.out
    assert "first step apart" in other.out
    here = inside("diff", str(run), "dataset=digits training.epochs=2")
    assert (here.code, here.err) == (0, "")
    assert inside("diff", "experiment=book").code == 0


@pytest.mark.parametrize("name", ["metrics.jsonl", "model.safetensors", "config.yaml"])
def test_diff_holds_files_against_the_recorded_digests(inside, tmp_path, digits_run: Finished, name):  # noqa: F811
    copied = Path(shutil.copytree(digits_run.directory, tmp_path / "copied"))
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content.replace(b"0.00", b"0.01", 1) if name == "config.yaml" else content[:-1] + b"x")
    found = inside("diff", str(digits_run.directory), "copied")
    assert found.code == 1
    assert f"not as the run left it: copied: {name} was altered" in found.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("defaults", ""), "vaex diff: argument 2 is empty"),
        (("DEFAULTS",), "did you mean 'defaults'?"),
        (("defaults", "nowhere"), "neither overrides nor defaults\n"),
        ((), "expected two runs, sweeps or experiments, got 0"),
        (("defaults", "latent_sweep"), "no such run or sweep directory, .*; did you mean 'experiment=latent_sweep'?"),
        (("seed=x",), "seed: expected an integer"),
        ((".",), "holds no run"),
        (("defaults", "--all"), "unknown flag --all"),
    ],
)
def test_what_cannot_be_compared_is_2(inside, arguments, message):  # noqa: F811
    assert one_line(inside("diff", *arguments), message.split(", .*")[0]) == 2
