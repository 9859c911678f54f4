"""`vaex evaluate`: what it leaves on disk, what it refuses, and that one run's fault is not another's."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import Finished
from tests.support.processes import lines_of_error, server, until
from vaex import cli, files
from vaex.datasets import arrays  # noqa: F401  (or two threads would import: jaxtyping's hook is not made for that)
from vaex.device import compiled
from vaex.disk import saved
from vaex.training.run import program_of

ALL = "evaluation.metrics=[elbo,nll,active_units,information,probe,knn]"
FEW = "evaluation.samples=20"


@pytest.fixture
def run(digits_run: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, from where commands are given."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(digits_run.directory, "run"))


def evaluation(directory: Path) -> dict:
    return files.read_json(directory / "evaluation.json")


def test_values_with_errors_go_to_both_files_and_the_screen(run: Path, capfd: pytest.CaptureFixture[str]):
    before = files.read_json(run / "summary.json")
    assert cli._guarded(["evaluate", "run", ALL, FEW]) == 0
    shown = capfd.readouterr()
    assert not shown.err
    found = evaluation(run)
    assert found["format"] == 1
    assert found["parameters_sha256"] == files.sha256_of_file(run / "model.safetensors")
    assert list(found["metrics"]) == ["elbo", "nll", "active_units", "information", "probe", "knn"]
    for entry in found["metrics"].values():
        assert (entry["split"], entry["samples"], entry["seed"], entry["examples"]) == ("test", 20, 0, 180)
        assert entry["seconds"] >= 0
    nll, elbo = found["metrics"]["nll"], found["metrics"]["elbo"]["values"]
    assert [row["samples"] for row in nll["lists"]["nll/curve"]] == [1, 10, 20]
    assert nll["missing"]["nll/bits_per_dimension"].startswith("not a likelihood of grey pixels")
    assert "not a likelihood of grey pixels" in shown.out
    assert nll["values"]["nll"]["value"] < -elbo["elbo"]["value"]
    assert elbo["elbo"]["value"] == pytest.approx(before["test/elbo"], abs=1.5)
    assert len(found["metrics"]["active_units"]["lists"]["active_units/latents"]) == 10
    information = {name: each["value"] for name, each in found["metrics"]["information"]["values"].items()}
    assert information["information"] + information["information/marginal_kl"] == pytest.approx(
        information["information/kl"] + information["information/gap"]
    )
    assert information["information/kl"] == pytest.approx(elbo["elbo/kl"]["value"], rel=1e-5)
    assert found["metrics"]["probe"]["values"]["probe/class/accuracy"]["value"] > 0.3

    summary = files.read_json(run / "summary.json")
    assert {key: value for key, value in summary.items() if not key.startswith("eval/")} == before
    assert summary["eval/nll"] == nll["values"]["nll"]["value"]
    assert summary["eval/nll_se"] == nll["values"]["nll"]["standard_error"]


def test_a_second_evaluation_replaces_the_same_metrics_and_keeps_the_others(run: Path):
    assert cli._guarded(["evaluate", "run", "evaluation.metrics=[elbo,nll]", FEW]) == 0
    first = evaluation(run)["metrics"]
    assert (
        cli._guarded(["evaluate", "run", "evaluation.metrics=[nll]", "evaluation.samples=3", "evaluation.limit=7"]) == 0
    )
    second = evaluation(run)["metrics"]
    assert second["elbo"] == first["elbo"]
    assert (second["nll"]["samples"], second["nll"]["examples"]) == (3, 7)
    summary = files.read_json(run / "summary.json")
    assert summary["eval/elbo"] == first["elbo"]["values"]["elbo"]["value"]
    assert summary["eval/nll"] == second["nll"]["values"]["nll"]["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluation.metrics=[elb]"], "evaluation.metrics: no metric 'elb'; did you mean 'elbo'? (metrics: "),
        (["evaluation.knn.neighbors=3"], "evaluation.knn.neighbors: unknown key; did you mean 'evaluation.knn.neighb"),
        (["evaluation.sampels=3"], "evaluation.sampels: unknown key; did you mean 'evaluation.samples'?"),
        (
            ["evaluation.split=tset"],
            "evaluation.split: expected 'train', 'valid' or 'test', got \"tset\"; did you mean",
        ),
        (["evaluation.samples=0"], "evaluation.samples: expected greater than or equal to 1, got 0"),
        (["seed=3"], "seed=3: vaex evaluate takes evaluation.KEY=VALUE"),
        ([], "vaex evaluate: run names no metric; add evaluation.metrics="),
        (["evaluation.metrics=[]"], "vaex evaluate: run names no metric; add evaluation.metrics="),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(arguments, message, run: Path, capfd: pytest.CaptureFixture[str]):
    before = (run / "summary.json").read_bytes()
    assert cli._guarded(["evaluate", "run", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"vaex: {message}")
    assert (run / "summary.json").read_bytes() == before
    assert not (run / "evaluation.json").exists()


def test_each_run_of_a_sweep_stands_for_itself(
    digits_sweep: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Diverged, with a damaged model, without one: a line each; the last is measured, and the table has it."""
    monkeypatch.chdir(tmp_path)
    sweep = Path(shutil.copytree(digits_sweep.directory, "sweep"))
    summary = files.read_json(sweep / "0" / "summary.json")
    files.write_json(sweep / "0" / "summary.json", summary | {"status": "diverged"})
    model = (sweep / "1" / "model.safetensors").read_bytes()
    (sweep / "1" / "model.safetensors").write_bytes(model[: len(model) // 2])
    (sweep / "2" / "model.safetensors").unlink()
    (sweep / "3" / "evaluation.json").write_text("{}")
    assert cli._guarded(["evaluate", "sweep", "evaluation.metrics=[elbo]", FEW]) == 1
    lines = sorted(capfd.readouterr().err.splitlines())
    starts = [
        "vaex: sweep/0: diverged: only a finished run is evaluated",
        "vaex: sweep/1/model.safetensors: cannot be read as safetensors: ",
        "vaex: sweep/2/model.safetensors: cannot be read as safetensors: No such file",
        "vaex: sweep/3/evaluation.json: not an evaluation of vaex; it is written anew",
    ]
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    table = pd.read_csv(sweep / "sweep.csv")
    assert table["eval/elbo"].notna().tolist() == [False, False, False, True]
    assert table["eval/elbo_se"][3] > 0


def test_interrupted_without_its_data_and_without_a_summary_is_a_line_each(
    digits_sweep: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The last one goes on with its metrics, whatever became of the others."""
    monkeypatch.chdir(tmp_path)
    sweep = Path(shutil.copytree(digits_sweep.directory, "sweep"))
    summary = files.read_json(sweep / "0" / "summary.json")
    files.write_json(sweep / "0" / "summary.json", summary | {"status": "interrupted"})
    config = files.read_yaml(sweep / "1" / "config.yaml")
    gone = {key: config["dataset"][key] for key in ("limit", "fractions", "split_seed")}
    gone |= {"name": "arrays", "path": "gone.npz", "key": None, "range": None}
    (sweep / "1" / "config.yaml").write_text(yaml.safe_dump(config | {"dataset": gone}))
    (sweep / "2" / "summary.json").unlink()
    assert cli._guarded(["evaluate", "sweep", "evaluation.metrics=[elbo]", FEW]) == 1
    first, second, third = sorted(capfd.readouterr().err.splitlines())
    assert first.startswith("vaex: dataset.path: gone.npz is not a file (looked in ")
    assert first.endswith("; if the data are elsewhere now, add dataset.path=NEW")
    assert second == (
        "vaex: sweep/0: interrupted: only a finished run is evaluated; `vaex resume sweep/0` goes on with it"
    )
    assert third == "vaex: sweep/2/summary.json: is not there"
    assert pd.read_csv(sweep / "sweep.csv")["eval/elbo"].notna().tolist() == [False, False, False, True]


def test_a_model_that_is_not_the_one_saved_is_a_line_and_not_judged(run: Path, capfd: pytest.CaptureFixture[str]):
    """A flipped bit that leaves a plausible number, which nothing but the digest can tell."""
    content = bytearray((run / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (run / "model.safetensors").write_bytes(content)
    assert cli._guarded(["evaluate", "run", "evaluation.metrics=[elbo]", FEW]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        "vaex: run/model.safetensors: is not the model that the run saved (its SHA-256 is not the one"
    )
    assert not (run / "evaluation.json").exists()


@pytest.mark.parametrize("kind", [bool, str])
def test_factors_may_be_truths_or_words(kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2, (200, 2)).astype(bool)
    factors = levels if kind is bool else np.where(levels, "yes", "no")
    np.savez("d.npz", images=rng.random((200, 4, 4)).astype(np.float32), factors=factors)
    quick = ("training.epochs=1", "tracking.mode=disabled", "model.hidden=[8]", "dataset.fractions=null")
    line = ("dataset=arrays", "dataset.path=d.npz", "evaluation.metrics=[disentanglement]", "hydra.run.dir=r", *quick)
    assert cli._guarded(list(line)) == 0
    assert 0 <= evaluation(Path("r"))["metrics"]["disentanglement"]["values"]["disentanglement/mig"]["value"] <= 1


def test_runs_of_one_program_share_what_is_compiled(
    digits_sweep: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Six runs of two programs, side by side: the draws and the encoding are compiled twice each."""
    monkeypatch.chdir(tmp_path)
    names = [shutil.copytree(digits_sweep.directory / str(number % 4), f"run{number}") for number in range(6)]
    programs = {program_of(saved.read_saved(Path(name), [])) for name in names}
    compiled_for, finish = [], compiled._finished
    monkeypatch.setattr(compiled, "_finished", lambda *arguments: (compiled_for.append(1), finish(*arguments))[1])
    monkeypatch.setattr(compiled, "_made", {})
    assert cli._guarded(["evaluate", *names, "evaluation.metrics=[elbo,active_units]", FEW]) == 0
    assert len(compiled_for) == 2 * len(programs)


def test_what_the_data_lack_and_what_a_plugin_raises_is_one_line_and_the_others_go_on(
    run: Path, capfd: pytest.CaptureFixture[str]
):
    config = "\n\n@dataclass(frozen=True, config=STRICT)\nclass Config:\n    wanted: int\n\n\n"
    imports = "from pydantic.dataclasses import dataclass\nfrom vaex.config import STRICT\n"
    Path("odd.py").write_text(
        f"{imports}from vaex.judging.estimate import Estimate\nNEEDS = ()\n{config}"
        "def measure(config, subject):\n"
        "    return {'odd': Estimate(config.wanted / (len(subject.images('test')) - 180), None)}\n"
    )
    line = ["evaluation.metrics=[disentanglement,odd,elbo]", "plugins=[./odd.py]", "evaluation.odd={wanted: 3}", FEW]
    assert cli._guarded(["evaluate", "run", *line]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "vaex: run: disentanglement: needs factors, and dataset=digits has one, 'class', where several are compared",
        "vaex: run: odd: ZeroDivisionError: division by zero",
    ]
    assert list(evaluation(run)["metrics"]) == ["elbo"]
    limited = ["evaluation.metrics=[odd]", *line[1:], "evaluation.limit=90"]
    assert cli._guarded(["evaluate", "run", *limited]) == 0
    assert files.read_json(run / "summary.json")["eval/odd"] == -1 / 30


def test_ctrl_c_leaves_the_finished_metrics(run: Path, tmp_path: Path):
    """active_units is there before the draws of elbo are compiled."""
    line = ("evaluation.metrics=[active_units,elbo,probe]", "evaluation.samples=2000")
    process = server().start("evaluate", "run", *line, cwd=tmp_path)
    until(lambda: (run / "evaluation.json").exists() or process.poll() is not None, pause=0.01)
    process.kill(signal.SIGINT)
    assert process.wait() == 130
    assert len(lines_of_error(process.text())) == 1
    assert list(evaluation(run)["metrics"]) == ["active_units"]
    assert files.read_json(run / "summary.json")["status"] == "finished"
