"""`vaex reproduce`: the same run again, the verdict on it, and nothing executed from a directory that somebody sent."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import command
from tests.support.packed import pack
from tests.support.processes import SMALL, finished, results, server
from vaex import errors, files
from vaex.commands import reproduce
from vaex.disk import metrics
from vaex.disk.alterations import first_altered_epoch
from vaex.study.verdict import Recorded, compare, read_recorded

SIX = "training.epochs=6"
DIVERGING = ("loss=gamma", "optimizer.learning_rate=1e3", "training.epochs=3")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A finished run that a test may alter."""
    return Path(shutil.copytree(finished(SIX), tmp_path / "run"))


def reproduced(path: Path, *overrides: object, **variables: str) -> tuple[int, str, Path]:
    """Exit code, output, and the new directory."""
    new = path.parent / "again"
    code, text = server().run("reproduce", path, *overrides, f"hydra.run.dir={new}", env=variables)
    return code, text, new


def test_two_threads_are_reproduced_on_one_core(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NPROC")
    core = str(min(os.sched_getaffinity(0)))
    new = f"hydra.run.dir={tmp_path / 'again'}"
    done = command(tmp_path, "reproduce", copy, new, before=("taskset", "-c", core))
    assert done.code == 0, done
    assert done.stdout.splitlines()[-1] == "reproduce: identical"
    assert files.read_json(tmp_path / "again" / "manifest.json")["environment"]["threads"] == 2
    assert results(tmp_path / "again") == results(copy)
    assert files.read_json(tmp_path / "again" / "reproduce.json")["verdict"] == "identical"


def test_a_diverged_run_diverges_at_the_same_step(tmp_path: Path):
    code, text = server().run(*SMALL, *DIVERGING, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1, text
    code, text, new = reproduced(tmp_path / "run")
    assert (code, text.splitlines()[-1]) == (0, "reproduce: identical"), text
    step = files.read_json(tmp_path / "run" / "summary.json")["first_nonfinite_step"]
    assert files.read_json(new / "summary.json")["first_nonfinite_step"] == step
    assert len(metrics.read_steps(new / "steps.npz")["loss"]) == step


def test_a_bare_configuration_has_nothing_to_compare(copy: Path, tmp_path: Path):
    (tmp_path / "alone").mkdir()
    bare = shutil.copy(copy / "config.yaml", tmp_path / "alone" / "sent.yaml")
    code, text = server().run("reproduce", bare, f"hydra.run.dir={tmp_path / 'again'}")
    assert code == 0, text
    assert "nothing was recorded to compare with" in text.splitlines()[-1]
    assert results(tmp_path / "again") == results(copy)


def test_overrides_make_a_variation_without_a_verdict(copy: Path):
    code, text, new = reproduced(copy, "loss=sigma", "training.epochs=2")
    assert code == 0, text
    assert "  loss.name: gamma then, sigma now" in text.splitlines()
    assert "  training.epochs: 6 then, 2 now" in text.splitlines()
    then, now = (files.read_json(path / "summary.json")["valid/elbo"] for path in (copy, new))
    assert re.search(rf"valid/elbo +{then} +{now}\n", text)
    assert "reproduce:" not in text
    assert files.read_json(new / "reproduce.json")["verdict"] is None


def test_what_was_recorded_online_goes_nowhere(copy: Path):
    """tracking.mode of the saved run does not count, and tracking.* and plugins= are no variation."""
    config = files.read_yaml(copy / "config.yaml")
    config["tracking"]["mode"] = "online"
    files.write_yaml(copy / "config.yaml", config)
    code, text, new = reproduced(copy, "tracking.name=mine", "plugins=[]", WANDB_BASE_URL="http://127.0.0.1:9")
    assert (code, text.splitlines()[-1]) == (0, "reproduce: identical"), text
    assert files.read_yaml(new / "config.yaml")["tracking"]["mode"] == "disabled"  # from WANDB_MODE
    assert not (new / "wandb").exists()


def alter_line(directory: Path, number: int) -> None:
    path = directory / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[number - 1])
    row["valid/kl"] += 1e-9
    lines[number - 1] = json.dumps(row) + "\n"
    path.write_text("".join(lines))


def alter_json(path: Path, key: str) -> None:
    files.write_json(path, files.read_json(path) | {key: "0" * 64})


def alter_seed(directory: Path) -> None:
    files.write_yaml(directory / "config.yaml", files.read_yaml(directory / "config.yaml") | {"seed": 1})


def flip(path: Path, position: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


ALTERATIONS = {
    "a metric": (lambda run: alter_line(run, 4), "metrics.jsonl was altered, first at epoch 4"),
    "a line's form": (lambda run: flip(run / "metrics.jsonl", 0), "metrics.jsonl was altered, first at epoch 1"),
    "the last newline": (lambda run: cut(run / "metrics.jsonl"), "metrics.jsonl was altered, first at epoch 6"),
    "all lines": (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl was altered, first at epoch 1"),
    "the seed": (alter_seed, "config.yaml was altered after the run"),
    "the data": (lambda run: alter_json(run / "manifest.json", "dataset_sha256"), "the dataset's digest in manifest"),
    "a parameter": (lambda run: flip(run / "model.safetensors"), "model.safetensors was altered"),
    "a step": (lambda run: flip(run / "steps.npz", 200), "steps.npz was altered"),
    "steps cut": (lambda run: cut(run / "steps.npz"), "steps.npz was altered"),
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_alterations_are_told_from_the_digests_before_anything_is_run(
    what: str, copy: Path, capsys: pytest.CaptureFixture[str]
):
    alter, message = ALTERATIONS[what]
    alter(copy)
    new = copy.parent / "again"
    assert reproduce.main([str(copy), f"hydra.run.dir={new}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "reproduce: different"
    assert len(lines) == 2
    assert lines[1].startswith(f"  {message}")
    assert not new.exists()


def test_other_data_than_the_run_had(copy: Path):
    """Manifest and summary agree with each other, but not with the data here."""
    for name in ("manifest.json", "summary.json"):
        alter_json(copy / name, "dataset_sha256")
    code, text, new = reproduced(copy)
    assert (code, text) == (
        1,
        "reproduce: different\n  the dataset here is not the one of the run (SHA-256 differs)\n",
    )
    assert not new.exists()


def test_results_that_were_forged_with_their_digests_differ_from_the_run(copy: Path):
    alter_line(copy, 3)
    rows = metrics.read_rows(copy / "metrics.jsonl")
    summary = files.read_json(copy / "summary.json")
    summary["epoch_sha256"] = [metrics.digest(row) for row in rows]
    files.write_json(copy / "summary.json", summary)
    manifest = files.read_json(copy / "manifest.json")
    manifest["environment"]["versions"]["jax"] = "0.9\x1b[31m\nred"
    files.write_json(copy / "manifest.json", manifest)
    code, text, new = reproduced(copy)
    assert code == 1
    verdict = text[text.index("reproduce:") :].splitlines()
    assert verdict[0] == "reproduce: different"
    assert verdict[1].startswith("  first at epoch 3: valid/kl was ")
    assert verdict[2].startswith(r"  likely cause: environment.versions.jax: 0.9\x1b[31m\nred then, ")
    assert r"environment.versions.jax: 0.9\x1b[31m\nred then" in text
    assert "\x1b" not in text
    assert files.read_json(new / "reproduce.json")["verdict"] == "different"


HOSTILE = {
    "_target_": {"_target_": "os.system", "name": "mlp"},
    "a resolver": "${oc.env:HOME}",
    "hydra.searchpath": {"searchpath": ["file:///tmp"]},
    "markup": "[red]<script>alert(1)</script>[/]\n\x1b]0;title\x07‮",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_directory_that_somebody_sent_executes_nothing(what: str, copy: Path, tmp_path: Path):
    config = files.read_yaml(copy / "config.yaml")
    section = {"_target_": "model", "a resolver": "seed", "hydra.searchpath": "hydra"}.get(what, HOSTILE[what])
    files.write_yaml(copy / "config.yaml", config | {section: HOSTILE[what]})
    with pytest.raises(errors.ConfigError) as caught:
        reproduce.main([str(copy), f"hydra.run.dir={tmp_path / 'again'}"])
    assert str(caught.value).isprintable()
    assert not (tmp_path / "again").exists()


def test_markup_in_names_is_shown_as_text(copy: Path):
    """Where any text is allowed: a name for W&B, the directory itself, keys of the metrics, the summary's status."""
    strange = copy.rename(copy.parent / "[red]<b>\x1b[31m\n‮")
    config = files.read_yaml(strange / "config.yaml")
    config["tracking"]["name"] = HOSTILE["markup"]
    files.write_yaml(strange / "config.yaml", config)
    summary = files.read_json(strange / "summary.json")
    files.write_json(strange / "summary.json", summary | {"status": "finished[/]\x1b[2J"})
    code, text, _ = reproduced(strange)
    assert "\x1b" not in text
    assert "‮" not in text
    assert code == 0, text
    code, text = server().run("resume", strange, "seed=3")
    assert code == 2
    assert "\x1b" not in text


def test_plugins_are_not_taken_from_the_saved_run(copy: Path, tmp_path: Path):
    (copy / "mine.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'executed')!r}).touch()\n")
    config = files.read_yaml(copy / "config.yaml") | {"plugins": [str(copy / "mine.py")]}
    files.write_yaml(copy / "config.yaml", config | {"loss": {"name": "mine"}})
    with pytest.raises(errors.ConfigError, match="if you trust them, add plugins="):
        reproduce.main([str(copy)])
    assert not (tmp_path / "executed").exists()
    with pytest.raises(errors.ConfigError):
        reproduce.main([str(copy), f"plugins=[{copy / 'mine.py'}]"])
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "text", ["[" * 30_000, "- " * 30_000 + "x", "{a: " * 15_000, "? " * 30_000], ids=lambda t: t[:3]
)
def test_a_file_nested_without_end_is_refused(text: str, tmp_path: Path):
    """libyaml's loader calls itself for each level: unasked, it would end the process."""
    (tmp_path / "deep.yaml").write_text(text)
    with pytest.raises(errors.InputError, match=r"deep\.yaml: cannot be read as YAML: more than 100 levels deep"):
        reproduce.main([str(tmp_path / "deep.yaml")])


def test_aliases_pipes_and_pickles_are_refused(copy: Path, tmp_path: Path):
    bomb = "\n".join(["a0: &a0 [1, 2]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(errors.InputError, match="aliases"):
        reproduce.main([str(tmp_path / "bomb.yaml")])
    (copy / "manifest.json").unlink()
    os.mkfifo(copy / "manifest.json")
    with pytest.raises(errors.InputError, match="not a regular file"):
        reproduce.main([str(copy)])
    (copy / "manifest.json").unlink()
    with (copy / "steps.npz").open("wb") as file:
        np.savez(file, allow_pickle=True, **dict.fromkeys(metrics.STEP_COLUMNS, np.array([object()])))  # type: ignore
    with pytest.raises(errors.InputError, match=r"steps\.npz"):
        read_recorded(copy)


# compare, on results made by hand: what another machine's chaos looks like


def recorded(noise: float = 0.0, first: float = 0.0, epochs: int = 3, **summary: object) -> Recorded:
    """Three epochs of ten steps; `first` relative on the first losses, `noise` on everything later."""
    factors = np.where(np.arange(10 * epochs) < 5, 1 + first, 1 + noise)
    steps = {name: (300 * factors).astype(np.float32) for name in metrics.STEP_COLUMNS}
    rows = [
        {"epoch": n, "seconds": noise, "train/elbo": -240 * (1 + noise), "valid/elbo": -250 * (1 + noise)}
        for n in range(1, epochs + 1)
    ]
    final = {"status": "finished", "test/elbo": -255 * (1 + noise), "parameters_sha256": str(noise)}
    return Recorded(final | summary, rows, steps)


def test_verdicts():
    same = compare(recorded(), recorded(), [])
    assert (same.name, same.exit_code, same.reasons) == ("identical", 0, ())
    near = compare(recorded(), recorded(noise=4e-3, first=5e-6), ["versions.jax: 1 then, 2 now"])
    assert (near.name, near.exit_code) == ("equal within tolerance", 0)
    assert near.reasons[0].startswith("first at step 1: loss was 300.0, is 300.0014")
    assert near.reasons[-3] == "largest difference of the first 5 losses: 5.0e-06 relative, at step 5"
    assert near.reasons[-2] == "largest difference of a metric: 4.0e-03 relative, train/elbo at epoch 3"
    assert near.reasons[-1] == "likely cause: versions.jax: 1 then, 2 now"
    for then, now in (
        (recorded(), recorded(parameters_sha256="others, after the same steps")),
        (recorded(), recorded(noise=6e-3)),
        (recorded(), recorded(first=2e-5)),
        (recorded(), recorded(epochs=2)),
        (recorded(epochs=2), recorded()),
        (recorded(), recorded(status="diverged", first_nonfinite_step=7)),
        (recorded(), recorded(**{"test/elbo": -300.0})),
    ):
        verdict = compare(then, now, ["versions.jax: 1 then, 2 now"])
        assert (verdict.name, verdict.exit_code) == ("different", 1)
        assert verdict.reasons[-1] == "likely cause: versions.jax: 1 then, 2 now"


def test_one_bit_of_a_step_or_a_parameter_is_not_identical():
    now = recorded()
    assert now.steps is not None
    now.steps["kl"].view(np.uint32)[17] ^= 1
    verdict = compare(recorded(), now, [])
    assert verdict.name == "equal within tolerance"
    assert verdict.reasons[0].startswith("first at step 18: kl was 300.0, is 300.00003")
    verdict = compare(recorded(), recorded(parameters_sha256="other"), [])
    assert verdict.reasons[0] == "parameters_sha256 was 0.0, is other"


def test_a_run_that_was_cut_off_is_compared_as_far_as_it_goes():
    cut_off = recorded(epochs=2, status="interrupted")
    verdict = compare(cut_off, recorded(), [])
    assert (verdict.name, verdict.reasons) == ("identical", ("its first 2 epochs: the original was cut off",))
    killed = Recorded(None, cut_off.rows, cut_off.steps)
    assert compare(killed, recorded(), []).name == "identical"
    assert compare(killed, recorded(noise=1e-3), []).name == "equal within tolerance"
    assert compare(killed, recorded(epochs=1), []).name == "different"


def test_the_first_altered_epoch(tmp_path: Path):
    rows = [{"epoch": n, "seconds": n, "valid/elbo": -n} for n in (1, 2, 3)]
    digests = [metrics.digest(row | {"seconds": 0}) for row in rows]
    assert first_altered_epoch(rows, digests) is None
    assert first_altered_epoch(rows, [digests[0], "", digests[2]]) == 2
    assert first_altered_epoch(rows[:2], digests) == 3
    assert first_altered_epoch(rows, digests[:1]) == 2
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\nnot json\n')
    assert first_altered_epoch(metrics.each_row(tmp_path / "metrics.jsonl"), [digests[0]]) == 1


def test_a_byte_of_packed_data_that_has_changed_is_different(tmp_path: Path):
    """A run looks at sizes only; the verdict is of every byte."""
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    pack(tmp_path / "packed", images, images[:8], images[:8])
    small = ("training.batch_size=8", "model.hidden=[4]", "training.epochs=1", "tracking.mode=disabled")
    data = ("dataset=shards", f"dataset.path={tmp_path / 'packed'}")
    code, text = server().run(*data, *small, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, text
    shard = sorted((tmp_path / "packed").glob("train-*.npy"))[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    code, text = server().run("reproduce", tmp_path / "run", f"hydra.run.dir={tmp_path / 'again'}")
    assert code == 1
    assert f"{shard}: damaged (SHA-256)" in text
    assert not (tmp_path / "again").exists()
