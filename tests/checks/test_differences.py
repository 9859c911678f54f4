"""What differs between runs and sweeps of known content: configuration, data, surroundings, results, steps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.configurations import make
from tests.support.made_runs import MANIFEST, write_run
from vaex.checks import differences, sides
from vaex.checks.differences import Difference
from vaex.disk import metrics

ELBO = (-300.0, -250.0)


def between(first: Path, second: Path) -> list[Difference]:
    return differences.between(sides.of_directory(first), sides.of_directory(second))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "first", ELBO)


@pytest.fixture
def other(run: Path) -> Path:
    """A copy that a test may alter."""
    return Path(shutil.copytree(run, run.parent / "second"))


def altered(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_same_run_elsewhere_differs_in_nothing(run: Path, other: Path):
    altered(other / "summary.json", wall_seconds=99.0, seconds=3.0)
    assert between(run, other) == []


def test_what_decides_no_number_is_told_apart(tmp_path: Path, run: Path):
    second = write_run(tmp_path / "second", ELBO, values={"checkpoint.keep": 7, "training.batch_size": 64})
    assert between(run, second) == [
        Difference("training.batch_size", "128", "64"),
        Difference("checkpoint.keep", "2", "7", decides=False),
    ]


def test_data_versions_and_code(run: Path, other: Path):
    environment = {"versions": {"jax": "0.12.0", "numpy": "2.4.6"}, "threads": 2, "devices": ["cpu"]}
    altered(other / "manifest.json", dataset_sha256="cd" * 32, environment=environment, code={"commit": "beef"})
    assert between(run, other) == [
        Difference("data (SHA-256)", f"{'ab' * 6}…", f"{'cd' * 6}…"),
        Difference("environment.versions.jax", "0.10.2", "0.12.0"),
        Difference("code.commit", "c0ffee", "beef"),
        Difference("code.diff_sha256", "null", "–"),
    ]
    altered(other / "manifest.json", dataset_sha256="ab" * 32, environment=None, code=None)
    assert between(run, other) == []  # of what an older run did not record nothing can be said


def test_the_same_data_under_another_path_are_the_same(tmp_path: Path):
    for name in ("first", "second"):
        write_run(tmp_path / name, ELBO, values={"dataset.path": f"{name}.npy"})
    assert between(tmp_path / "first", tmp_path / "second") == []
    altered(tmp_path / "second" / "manifest.json", dataset_sha256="cd" * 32)
    assert [each.key for each in between(tmp_path / "first", tmp_path / "second")] == ["dataset.path", "data (SHA-256)"]


def test_results_and_the_first_step_at_which_a_bit_differs(run: Path, other: Path):
    steps = {name: values.copy() for name, values in metrics.read_steps(run / "steps.npz").items()}
    steps["kl"][6] = np.nextafter(steps["kl"][6], np.float32(9))
    steps["loss"][9] += 1
    (other / "steps.npz").write_bytes(metrics.steps_bytes([steps]))
    altered(other / "summary.json", **{"valid/elbo": -251.0, "eval/nll": 3.0, "eval/nll_se": 0.1})
    altered(run / "summary.json", **{"eval/nll": 3.5})
    found = between(run, other)
    assert found[:2] == [
        Difference("valid/elbo", "-250", "-251"),
        Difference("eval/nll", "3.5", "3", decides=False),
    ]
    before, after = (side[len("7: kl ") :] for side in (found[2].first, found[2].second))
    assert found[2].key == "first step apart"
    assert found[2].first.startswith("7: kl ")
    assert np.float32(before) == metrics.read_steps(run / "steps.npz")["kl"][6] < np.float32(after)


def test_jobs_of_sweeps_are_paired_by_what_varies_in_them(tmp_path: Path):
    for seed in range(3):
        write_run(tmp_path / "first" / str(seed), ELBO, f"seed={seed}")
        elbo = (-300.0, -250.0 - seed)
        write_run(tmp_path / "second" / str(2 - seed), elbo, f"seed={seed}", values={"training.batch_size": 64})
    assert between(tmp_path / "first", tmp_path / "second") == [
        Difference("training.batch_size", "128", "64"),
        Difference("jobs", "3, 0 of them in both", "3"),
        Difference("train/loss (2 of 3 pairs, here seed=2)", "250", "252"),
        Difference("valid/loss (2 of 3 pairs, here seed=2)", "250", "252"),
        Difference("valid/elbo (2 of 3 pairs, here seed=2)", "-250", "-252"),
        Difference("valid/reconstruction (2 of 3 pairs, here seed=2)", "245", "247"),
        Difference("test/elbo (2 of 3 pairs, here seed=2)", "-250", "-252"),
    ]
    shutil.rmtree(tmp_path / "second" / "0")
    fewer = between(tmp_path / "first", tmp_path / "second")
    assert Difference("seed", "0, 1, 2", "0, 1") in fewer
    assert Difference("valid/elbo (1 of 2 pairs, here seed=1)", "-250", "-251") in fewer


def test_a_run_and_what_would_be_run_here_and_now(run: Path):
    surroundings = {"environment": MANIFEST["environment"] | {"threads": 4}, "code": MANIFEST["code"]}
    configs = [make("dataset=digits", f"model.latent_dim={size}") for size in (10, 20)]
    here = sides.of_configurations("two", configs, surroundings)
    found = differences.between(sides.of_directory(run), here)
    assert [each for each in found if each.decides] == [
        Difference("model.latent_dim", "10", "10, 20"),
        Difference("jobs", "1, 1 of them in both", "2"),
        Difference("environment.threads", "2", "4"),
    ]


def test_a_run_and_a_job_of_a_sweep_are_a_pair_where_they_are_the_same_and_it_is_named(tmp_path: Path, run: Path):
    for seed, elbo in enumerate((-251.0, -249.0)):
        write_run(tmp_path / "sweep" / str(seed), (-300.0, elbo), f"seed={seed}")
    assert Difference("valid/elbo (job 0)", "-250", "-251") in between(run, tmp_path / "sweep")
    other = write_run(tmp_path / "other", ELBO, "seed=1", values={"training.batch_size": 64})
    assert {each.key for each in between(other, tmp_path / "sweep")} == {"seed", "training.batch_size", "jobs"}


@pytest.mark.parametrize("name", sides.NEEDED)
def test_what_is_missing_or_damaged_could_not_be_compared(run: Path, other: Path, name: str):
    (other / name).unlink()
    (line,) = sides.not_compared(sides.of_directory(run), sides.of_directory(other))
    assert line.split("second: ")[1].startswith(f"{sides.NEEDED[name]} ({name}: ")
    (other / name).write_bytes(b"{")
    assert sides.not_compared(sides.of_directory(other), sides.of_directory(run))
    to_be_run = sides.of_configurations("here", [make("dataset=digits")], {})
    needed = sides.not_compared(sides.of_directory(other), to_be_run)
    assert len(needed) == (name == "manifest.json")  # what was never run has no results to miss


def test_of_two_whole_runs_all_is_compared(run: Path, other: Path):
    assert sides.not_compared(sides.of_directory(run), sides.of_directory(other)) == ()
