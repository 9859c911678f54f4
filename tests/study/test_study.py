"""What is read for a comparison: known directories, damaged ones, none that runs anything."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.conftest import Finished
from tests.support.made_runs import write_run
from vaex import config, files
from vaex.disk import metrics
from vaex.errors import InputError
from vaex.study import runs


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Twelve jobs: loss x latent size x seed."""
    number = 0
    for loss in ("sigma", "gamma"):
        for size in (2, 10, 5):
            for seed in (0, 1):
                overrides = (f"loss={loss}", f"model.latent_dim={size}", f"seed={seed}")
                write_run(tmp_path / "sweep" / str(number), [-3.0, -2.0], *overrides)
                number += 1
    return tmp_path / "sweep"


def test_a_sweep_in_the_order_of_its_jobs(sweep):
    found = runs.read([sweep])
    assert [run.name for run in found.runs] == [f"job {number}" for number in range(12)]
    assert (found.by, found.against, found.variants) == ("loss", "gamma", ["gamma", "sigma"])
    assert found.varied == {"seed": [0, 1], "model.latent_dim": [2, 5, 10]}
    run = found.runs[0]
    assert (run.status, run.variant, run.flat["model.latent_dim"]) == ("finished", "sigma", 2)
    assert run.rows[1]["valid/elbo"] == -2
    assert run.steps is not None
    assert len(run.steps["loss"]) == 20
    assert run.manifest["run_id"] == "0"
    assert found.problems == ()


def test_what_is_compared_when_only_one_loss_is_there(tmp_path):
    for number, size in enumerate((10, 2, 5)):
        write_run(tmp_path / str(number), [-1.0], f"model.latent_dim={size}", f"seed={number % 2}")
    found = runs.read([tmp_path])
    assert (found.by, found.against, found.variants) == ("model.latent_dim", "10", ["10", "2", "5"])
    only_seeds = runs.read([tmp_path / "0"])
    assert (only_seeds.by, only_seeds.variants) == ("loss", ["gamma"])


def test_a_group_that_differs_is_compared_whole(tmp_path):
    for number, name in enumerate(("sgd", "adam")):
        write_run(tmp_path / str(number), [-1.0], f"optimizer={name}")
    found = runs.read([tmp_path])
    assert (found.by, found.against, found.varied) == ("optimizer", "sgd", {})


def test_a_section_without_names_is_compared_by_what_differs_in_it(tmp_path):
    for number, kind in enumerate(("float32", "bfloat16")):
        write_run(tmp_path / str(number), [-1.0], f'precision.network="{kind}"', f'precision.posterior="{kind}"')
    found = runs.read([tmp_path], by="precision")
    assert found.variants == ["network=float32, posterior=float32", "network=bfloat16, posterior=bfloat16"]


def test_one_loss_in_two_forms_is_two_variants(tmp_path):
    for number, epsilon in enumerate((0.0, 1e-6)):
        write_run(tmp_path / str(number), [-1.0], "loss=sigma", f"loss.epsilon={epsilon}")
    write_run(tmp_path / "2", [-1.0], "loss=gamma")
    assert runs.read([tmp_path]).variants == ["gamma", "sigma (epsilon=0.0)", "sigma (epsilon=1e-06)"]


def test_lone_runs_and_sweeps_mixed_and_a_run_named_twice_counts_once(sweep, tmp_path, monkeypatch):
    lone = write_run(tmp_path / "lone", [-1.0], "loss=softplus")
    deep = write_run(tmp_path / "other" / "a" / "b=1", [-1.0], "loss=bounded")
    monkeypatch.chdir(tmp_path)
    found = runs.read([sweep, lone, deep.parent, sweep / "3", lone / "..", Path("lone")])
    assert len(found.runs) == 14
    assert [run.name for run in found.runs][-2:] == ["lone", "other/a/b=1"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b'{"status": "great"}', b'{"status": []}']
)
def test_a_damaged_summary_is_named(sweep, content):
    (sweep / "4" / "summary.json").write_bytes(content)
    found = runs.read([sweep])
    assert len(found.runs) == 12
    assert found.runs[4].status == "interrupted"
    (problem,) = found.problems
    assert problem.startswith("job 4: summary.json: ")


@pytest.mark.parametrize(
    ("damage", "epochs", "words"),
    [
        (lambda text: text[:-10], 1, "ends within a line, cut after epoch 1"),
        (lambda text: text.splitlines(keepends=True)[0], 1, "1 of 2 epochs"),
        (lambda text: text.replace('"epoch": 2', '"epoch": 7'), 1, "damaged, cut after epoch 1"),
        (lambda text: "\0" + text, 0, "damaged, cut after epoch 0"),
        (lambda text: "", 0, "0 of 2 epochs"),
    ],
)
def test_a_damaged_metrics_file_is_cut_and_named(sweep, damage, epochs, words):
    path = sweep / "4" / "metrics.jsonl"
    path.write_text(damage(path.read_text()))
    found = runs.read([sweep])
    assert len(found.runs[4].rows) == epochs
    assert found.problems == (f"job 4: metrics.jsonl: {words}",)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "steps.npz", "manifest.json"])
def test_a_missing_file_is_named(sweep, name):
    (sweep / "4" / name).unlink()
    found = runs.read([sweep])
    assert len(found.runs) == 12
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"job 4: {name}: ")
    assert "is not there" in found.problems[0] or "No such file" in found.problems[0]


def test_a_truncated_steps_file_costs_only_what_is_in_it(sweep):
    path = sweep / "4" / "steps.npz"
    path.write_bytes(path.read_bytes()[:200])
    found = runs.read([sweep])
    assert found.runs[4].steps is None
    assert found.runs[4].measures["stability/grad_norm_max"] is None
    assert found.runs[4].measures["stability/valid_change_mean"] == 1
    assert found.problems[0].startswith("job 4: steps.npz: not a readable steps.npz")


@pytest.mark.parametrize("content", [b"", b"a: [", b"- 1", b"a: &x 1\nb: *x", b"\xff"])
def test_a_run_without_a_readable_configuration_is_left_out_and_named(sweep, content):
    (sweep / "4" / "config.yaml").write_bytes(content)
    (sweep / "5" / "config.yaml").unlink()  # killed before it was written: Hydra's own folder shows that it was meant
    (sweep / "5" / ".hydra").mkdir()
    found = runs.read([sweep])
    assert len(found.runs) == 10
    assert [problem.partition(": ")[0] for problem in found.problems] == ["job 4", "job 5"]
    assert all("left out: config.yaml: " in problem for problem in found.problems)


def test_a_configuration_of_another_shape_is_data_all_the_same(sweep):
    (sweep / "4" / "config.yaml").write_text("loss: 3\nmodel: [1, {a: b}]\n2: {x: 2026-01-01}\n")
    assert "null" in runs.read([sweep]).variants


def test_what_is_no_study_is_refused(tmp_path, sweep):
    (tmp_path / "empty").mkdir()
    for directory, words in ((tmp_path / "empty", "holds no run"), (tmp_path / "nope", "no such directory")):
        with pytest.raises(InputError, match=f"{directory.name}: {words}"):
            runs.read([sweep, directory])
    shutil.copytree(sweep / "4", tmp_path / "bad")
    (tmp_path / "bad" / "config.yaml").write_text("")
    with pytest.raises(InputError, match=r"config\.yaml: expected a mapping"):
        runs.read([tmp_path / "bad"])
    with pytest.raises(InputError, match=r"--by losss: no run has such a key or group; did you mean 'loss'\?"):
        runs.read([sweep], by="losss")
    with pytest.raises(
        InputError, match=r"--against gama: no such variant; did you mean 'gamma'\? \(variants: sigma, gamma\)"
    ):
        runs.read([sweep], against="gama")


def test_reading_runs_nothing_and_starts_no_jax(tmp_path):
    """A plugin in the saved configuration, a pickle in steps.npz, code in the YAML: all stay what they are, bytes."""
    mark = tmp_path / "mark"
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(mark)!r}, 'w')")
    run = write_run(tmp_path / "run", [-1.0], values={"plugins": [str(evil)]})
    np.savez(run / "steps.npz", loss=np.array([print], dtype=object), allow_pickle=True)
    other = write_run(tmp_path / "other", [-1.0])
    (other / "config.yaml").write_text(f"!!python/object/apply:os.system ['touch {mark}']")
    code = f"""
import sys
from pathlib import Path
from vaex.study import runs
found = runs.read([Path({str(run)!r}), Path({str(other)!r})])
assert len(found.runs) == 1 and len(found.problems) == 2, found.problems
assert "jax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_names_that_a_terminal_would_obey_are_shown_as_text(tmp_path):
    write_run(tmp_path / "a\x1b[31m" / "0", [-1.0], values={"dataset.name": "x\x1b[2J"})
    write_run(tmp_path / "a\x1b[31m" / "1", [-1.0])
    (tmp_path / "a\x1b[31m" / "1" / "summary.json").write_text("")
    found = runs.read([tmp_path])
    assert all("\x1b" not in text for run in found.runs for text in (run.name, run.variant))
    assert all("\x1b" not in problem for problem in found.problems)


def test_a_real_sweep(digits_sweep):
    found = runs.read([digits_sweep.directory])
    assert (found.by, found.against) == ("model.latent_dim", "5")
    assert found.varied == {"optimizer.learning_rate": [0.001, 0.002]}
    assert found.problems == ()
    summary = json.loads((digits_sweep.directory / "0" / "summary.json").read_text())
    assert found.runs[0].measures.items() <= summary.items()
    assert found.runs[0].config == yaml.safe_load((digits_sweep.directory / "0" / "config.yaml").read_text())


def test_a_made_run_has_no_more_than_a_real_one(tmp_path: Path, digits_run: Finished):
    """So that the runs these tests are made of cannot drift from what training writes."""
    made, real = write_run(tmp_path / "run", [-30.0, -28.0], "loss=sigma", "seed=3"), digits_run.directory
    assert config.parse(files.read_yaml(made / "config.yaml")).seed == 3
    for name in ("manifest.json", "summary.json"):
        assert set(files.read_json(made / name)) <= set(files.read_json(real / name))
    rows = [metrics.read_rows(directory / "metrics.jsonl") for directory in (made, real)]
    assert set(rows[0][0]) <= set(rows[1][0])
