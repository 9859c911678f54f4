"""Runs and sweeps from Python: the same as those of the command line, and what is refused."""

import textwrap

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vaex
from tests.support.processes import ROOT
from vaex.errors import ConfigError, InputError

QUICK = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "tracking.mode=disabled", "model.hidden=[16]")


def test_a_run_has_the_bits_of_the_command_lines(digits_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["dataset=digits", "training.epochs=2", "tracking.mode=disabled"]
    then = vaex.load(digits_run.directory).summary
    run = vaex.train(vaex.compose(*overrides), tmp_path / "run")
    assert run.summary["parameters_sha256"] == then["parameters_sha256"]
    assert run.summary["identity"] == then["identity"]
    with pytest.raises(InputError, match="holds a run already"):
        vaex.train(vaex.compose(*overrides), tmp_path / "run")


def test_a_sweep_of_overrides_and_one_of_configurations_are_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = vaex.sweep([*QUICK, "loss=sigma,gamma", "seed=0,1"])
    assert table[["loss", "seed", "status"]].to_numpy().tolist() == [
        [loss, seed, "finished"] for loss in ("sigma", "gamma") for seed in (0, 1)
    ]
    (directory,) = tmp_path.glob("outputs/*/*")
    assert {"sweep.csv", "sweep.json", "report.html", "0", "3"} <= {path.name for path in directory.iterdir()}
    (second,) = table[(table.loss == "sigma") & (table.seed == 1)].runs
    assert second.directory.name == "1"
    configs = [vaex.compose(*QUICK, f"loss={loss}", f"seed={seed}") for loss in ("sigma", "gamma") for seed in (0, 1)]
    again = vaex.sweep(configs, tmp_path / "again")
    assert again["parameters_sha256"].tolist() == table["parameters_sha256"].tolist()
    assert again[["loss", "seed"]].to_numpy().tolist() == table[["loss", "seed"]].to_numpy().tolist()
    assert vaex.load_sweep(tmp_path / "again")["job"].tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="is a sweep: name one of its jobs"):
        vaex.load(tmp_path / "again")
    with pytest.raises(InputError, match="holds a run already"):
        vaex.sweep(configs, tmp_path / "again")


def test_a_diverged_run_is_a_result(tmp_path):
    run = vaex.train(vaex.compose(*QUICK, "loss=gamma", "optimizer=sgd", "optimizer.learning_rate=1e6"), tmp_path / "r")
    assert run.summary["status"] == "diverged"
    assert np.isfinite(run.decode(np.zeros(10))).all()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: vaex.compose("loss=sigm"), r"^loss: no option 'sigm'; did you mean 'sigma'"),
        (lambda: vaex.compose("seed=0,1"), r"is a sweep"),
        (lambda: vaex.compose("--cfg"), r"^'--cfg': expected an override, key=value"),
        (lambda: vaex.sweep("seed=0,1"), r"^vaex\.sweep: expected a list"),
        (lambda: vaex.sweep([]), r"^vaex\.sweep: expected a list"),
        (lambda: vaex.sweep([*QUICK, vaex.compose(*QUICK)]), r"^vaex\.sweep: overrides or configurations, not both"),
        (
            lambda: vaex.sweep(["hydra/launcher=basic", "seed=0,1"]),
            r"^hydra/launcher=basic: vaex\.sweep trains",
        ),
        (lambda: vaex.load_run, r"has no attribute 'load_run'; vaex\.load is what it was"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(ask, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, InputError, AttributeError), match=words) as raised:
        ask()
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_the_example_in_readme(tmp_path, monkeypatch, capsys):
    """Trained, encoded, scattered and decoded in under 15 lines."""
    section = (ROOT / "README.md").read_text().partition("## In Python\n\n")[2]
    code = textwrap.dedent(section.partition("\n\n`vaex.load")[0])
    assert len(code.splitlines()) < 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    matplotlib.use("agg")
    found: dict = {}
    exec(code, found)
    scatter, grid = map(plt.figure, plt.get_fignums())
    assert len(scatter.axes[0].collections[0].get_offsets()) == 180
    assert grid.axes[0].images[0].get_array().shape == (72, 72)
    elbo, bound = map(float, capsys.readouterr().out.splitlines()[-1].split())
    assert -28 < elbo < bound < -24
    plt.close("all")
