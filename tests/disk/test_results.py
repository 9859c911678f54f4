"""Runs and sweeps read back from disk: known answers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import vaex
from vaex.disk import results, sweep
from vaex.errors import InputError


def make_job(folder, overrides, summary):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))


def test_load_sweep_in_job_order_with_typed_columns(tmp_path):
    for number in (10, 2, 0):
        overrides = [f"model.latent_dim={number}", "loss=gamma", "optimizer.learning_rate=1e-3", "x.flag=true"]
        make_job(tmp_path / str(number), overrides, {"status": "finished", "test/elbo": -1.5 * number, "list": [1]})
    make_job(tmp_path / "11", ["model.latent_dim=11", "loss=sigma"], None)
    table = vaex.load_sweep(tmp_path)
    assert list(table["job"]) == [0, 2, 10, 11]
    assert list(table["model.latent_dim"]) == [0, 2, 10, 11]
    assert table["model.latent_dim"].dtype == np.int64
    assert table["optimizer.learning_rate"].dropna().tolist() == [1e-3] * 3
    assert table["x.flag"].dropna().tolist() == [True] * 3
    assert table["status"].tolist() == ["finished"] * 3 + ["interrupted"]
    assert table["test/elbo"].dropna().tolist() == [0, -3, -15]
    assert "list" not in table
    columns = ["model.latent_dim", "loss", "optimizer.learning_rate", "x.flag"]
    assert results.override_columns(table) == columns


@pytest.mark.parametrize("source", ["sweep.json", "config.yaml"])
def test_columns_hold_what_came_of_interpolations_and_quotes(tmp_path, source):
    overrides = [
        "seed=$\\{hydra\\:job.num\\}",
        "tracking.name='a b'",
        "loss=gamma",
        "++kl_weight.beta=2",
        "dataset.key=null",
    ]
    config = {"seed": 3, "tracking": {"name": "a b"}, "loss": {"name": "gamma"}, "kl_weight": {"beta": 2.0}}
    make_job(tmp_path / "0", overrides, {"status": "finished"})
    if source == "sweep.json":
        sweep.write(tmp_path, [sweep.Noted(0, Path("0"), tuple(overrides), "", config)])
    else:
        (tmp_path / "0" / "config.yaml").write_text(yaml.safe_dump(config))
    row = vaex.load_sweep(tmp_path).iloc[0].to_dict()
    assert row == {
        **{"job": 0, "seed": 3, "tracking.name": "a b", "loss": "gamma", "++kl_weight.beta": 2, "dataset.key": "null"},
        "status": "finished",
    }


def test_jobs_in_directories_of_another_name(tmp_path):
    for number, name in enumerate(["loss=sigma", "loss=gamma"]):
        make_job(tmp_path / "deep" / name, [name], {"status": "finished"})
        hydra = {"hydra": {"job": {"num": number}}}
        (tmp_path / "deep" / name / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(hydra))
    assert vaex.load_sweep(tmp_path)["loss"].tolist() == ["sigma", "gamma"]


def test_what_is_no_sweep_is_refused(tmp_path, digits_run):
    for directory in (tmp_path, digits_run.directory, tmp_path / "nope"):
        with pytest.raises(InputError, match="holds no jobs of a sweep"):
            vaex.load_sweep(directory)


def test_a_damaged_overrides_file_is_named(tmp_path):
    make_job(tmp_path / "0", ["a=b"], {"status": "finished"})
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("[")
    with pytest.raises(InputError, match=r"overrides\.yaml"):
        vaex.load_sweep(tmp_path)


def printed(code: str) -> str:
    """By a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_lone_run_waits_for_nothing_that_only_sweeps_need():
    late = {"pandas", "matplotlib", "wandb", "optuna", "ray", "scipy"}
    assert printed(f"import sys; from vaex.sweeping import start; print({late} & set(sys.modules))") == "set()\n"


def test_import_vaex_is_light_and_offers_its_names():
    code = (
        "import sys, vaex; assert not {'jax', 'pandas', 'numpy', 'hydra', 'wandb'} & set(sys.modules); "
        "assert {'load', 'load_sweep', 'Run'} <= set(dir(vaex)); print(vaex.load_sweep.__module__)"
    )
    assert printed(code) == "vaex.api.training\n"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = vaex.nope
