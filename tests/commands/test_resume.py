"""`vaex resume`: exact after any end, refused where it could not be exact."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from tests.support.processes import (
    ENDLESS,
    OF_THE_MACHINE,
    SMALL,
    begun,
    cut_off,
    epochs_on_disk,
    finished,
    lines_of_error,
    results,
    server,
    until,
)
from vaex import config as configuration
from vaex import files
from vaex.commands import resume
from vaex.disk import checkpoint, metrics, progress
from vaex.disk.alterations import refuse_altered
from vaex.errors import ConfigError, InputError

LONG = "training.epochs=40"


def resumed(directory: Path, *overrides: object) -> tuple[int, str]:
    return server().run("resume", directory, *overrides)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed with SIGKILL after some checkpoints; not to be written to."""
    directory = tmp_path_factory.mktemp("killed") / "run"
    cut_off(directory, signal.SIGKILL, LONG, epochs=8)
    return directory


@pytest.fixture
def copy(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "run"))


def test_a_killed_run_goes_on_exactly_and_keeps_its_tracks(copy: Path):
    (copy / ".metrics.jsonl.0123.tmp").write_bytes(b"what a kill leaves")
    (copy / "checkpoints" / ".epoch_000009.ckpt.0123.tmp").write_bytes(b"what a kill leaves")
    code, text = resumed(copy)
    assert code == 0, text
    assert results(copy) == results(finished(LONG))
    manifest = files.read_json(copy / "manifest.json")
    assert [segment["command"].split()[1] for segment in manifest["segments"]] == [SMALL[0], "resume"]
    assert not list(copy.rglob("*.tmp"))
    summary, whole = (files.read_json(path / "summary.json") for path in (copy, finished(LONG)))
    assert {key: value for key, value in summary.items() if key not in OF_THE_MACHINE} == {
        key: value for key, value in whole.items() if key not in OF_THE_MACHINE
    }


def test_what_a_crash_can_leave_is_mended(copy: Path):
    """metrics.jsonl ends in the middle of a line, the newest checkpoint is damaged, summary.json is an old one."""
    with (copy / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 99, "st')
    newest = max((copy / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    files.write_json(copy / "summary.json", {"status": "interrupted", "epoch": 1})
    code, text = resumed(copy)
    assert code == 0, text
    warning = next(line for line in text.splitlines() if "damaged" in line)
    assert newest.name in warning
    assert "using an earlier one" in warning
    assert results(copy) == results(finished(LONG))


def test_without_any_checkpoint_it_starts_from_the_beginning(copy: Path):
    shutil.rmtree(copy / "checkpoints")
    code, text = resumed(copy)
    assert code == 0, text
    assert "no usable checkpoint" in text
    assert results(copy) == results(finished(LONG))


def test_ctrl_c_marks_the_run_interrupted_and_both_segments_have_one_wandb_id(tmp_path: Path):
    directory, offline = tmp_path / "run", {"WANDB_MODE": "offline"}
    run = cut_off(directory, signal.SIGINT, LONG, env=offline)
    assert lines_of_error(run.text()) == ["vaex: stopping at the end of this epoch; once more to stop now"]
    summary = files.read_json(directory / "summary.json")
    assert summary["epoch"] == epochs_on_disk(directory) < 40
    assert max((directory / "checkpoints").iterdir()).name == f"epoch_{summary['epoch']:06d}.ckpt"
    assert f"hydra.run.dir={directory}" in files.read_json(directory / "manifest.json")["segments"][0]["command"]
    code, text = server().run("resume", directory, env=offline)
    assert code == 0, text
    assert results(directory) == results(finished(LONG))
    ids = {path.name.rpartition("-")[2] for path in (directory / "wandb").glob("offline-run-*")}
    assert ids == {files.read_json(directory / "summary.json")["run_id"]}
    assert len(list((directory / "wandb").glob("offline-run-*"))) == 2


def test_sigterm_is_143_and_the_second_one_ends_it_at_once(tmp_path: Path):
    cut_off(tmp_path / "once", signal.SIGTERM, LONG)

    epoch_of_a_second = ("model.hidden=[600,600]", "training.batch_size=4", "checkpoint.every=1000")
    run = begun(tmp_path / "twice", ENDLESS, *epoch_of_a_second, epochs=1)
    run.kill(signal.SIGTERM)
    until(lambda: "stopping at the end" in run.text())
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert not (tmp_path / "twice" / "summary.json").exists()  # as the end of the epoch would have left


def test_longer_is_a_fresh_longer_run_and_the_history_is_kept(tmp_path: Path):
    directory = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "run"))
    code, text = resumed(directory, "training.epochs=9", "checkpoint.keep=3")
    assert code == 0, text
    assert results(directory) == results(finished("training.epochs=9"))
    (entry,) = files.read_json(directory / "config_history.json")["history"]
    assert entry["differences"] == ["training.epochs: 6 then, 9 now", "checkpoint.keep: 2 then, 3 now"]
    assert entry["config_before"]["training"]["epochs"] == 6
    assert files.read_yaml(directory / "config.yaml")["training"]["epochs"] == 9
    code, text = resumed(directory, "training.epochs=8")
    assert (code, text) == (2, "vaex: training.epochs: the run has 9 epochs already, got 8\n")


def test_only_one_process_at_a_time(tmp_path: Path):
    directory = tmp_path / "run"
    first = begun(directory, ENDLESS)
    code, text = resumed(directory)
    assert (code, text.splitlines()) == (
        2,
        [f"vaex: {directory}: another process is training here; wait for it or stop it"],
    )
    code, text = server().run(*SMALL, f"hydra.run.dir={directory}")
    assert code == 2
    assert "holds a run already" in text
    first.kill(signal.SIGINT)
    assert first.wait() == 130
    assert epochs_on_disk(directory) == files.read_json(directory / "summary.json")["epoch"]


def test_a_directory_being_started_is_left_alone(tmp_path: Path):
    """Between its creation and config.yaml only the lock protects it."""
    with files.locked(tmp_path):
        code, text = server().run(*SMALL, f"hydra.run.dir={tmp_path}")
    assert code == 2
    assert lines_of_error(text) == [f"vaex: {tmp_path}: another process is training here; wait for it or stop it"]
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".hydra"}
    assert server().run(*SMALL, "training.epochs=1", f"hydra.run.dir={tmp_path}")[0] == 0


def test_a_finished_or_diverged_run_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    directory = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    assert resume.main([str(directory)]) == 0
    assert capsys.readouterr().out == f"{directory}: finished after epoch 6; nothing to do\n"
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    files.write_json(directory / "summary.json", {"status": "diverged", "epoch": 6})
    assert resume.main([str(directory)]) == 1
    assert resume.main([str(directory), "training.epochs=9"]) == 1


@pytest.mark.parametrize("damage", ["metrics", "steps", "model"])
def test_a_finished_run_that_cannot_go_on_stays_as_it_is(tmp_path: Path, damage: str):
    """To train it for longer fails on one line, before its summary and configuration are given up."""
    directory = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "run"))
    if damage == "metrics":
        (directory / "metrics.jsonl").write_text("garbage\n")
    elif damage == "steps":
        (directory / "steps.npz").write_bytes(b"garbage")
    else:
        config = (directory / "config.yaml").read_text()
        (directory / "config.yaml").write_text(config.replace("latent_dim: 4", "latent_dim: 5"))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in directory.rglob("*")}
    code, text = resumed(directory, "training.epochs=9")
    assert (code, len(lines_of_error(text)), text.count("\n")) == (2, 1, 1)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in directory.rglob("*")} == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1"], "seed: cannot change"),
        (["loss=sigma"], "loss: cannot change"),
        (["model.latent_dim=3"], r"model\.latent_dim: cannot change"),
        (["training.batch_size=3"], r"training\.batch_size: cannot change"),
        (["training.epochs=none"], r"training\.epochs: expected an integer"),
        (["training.epochs"], "malformed override"),
        (["tracking.mood=offline"], "unknown key"),
    ],
)
def test_keys_that_may_not_change(overrides: list[str], message: str):
    with pytest.raises(InputError, match=message):
        resume.main([str(finished("training.epochs=6")), *overrides])


def test_a_schedule_over_all_epochs_cannot_be_made_longer(tmp_path: Path):
    directory = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "run"))
    config = files.read_yaml(directory / "config.yaml")
    config["optimizer"]["schedule"] = "cosine"
    files.write_yaml(directory / "config.yaml", config)
    with pytest.raises(ConfigError, match="follows a schedule"):
        resume.main([str(directory), "training.epochs=7"])


def test_directories_that_hold_no_run(tmp_path: Path):
    code, text = resumed(tmp_path / "nowhere")
    assert code == 2
    assert text == f"vaex: {tmp_path / 'nowhere'}: no such run directory\n"
    (tmp_path / "sweep").mkdir()
    with pytest.raises(InputError, match="not a run directory: it has no config"):
        resume.main([str(tmp_path / "sweep")])
    (tmp_path / "sweep" / "multirun.yaml").touch()
    with pytest.raises(InputError, match=r"is a sweep: name one of its jobs, as in `vaex resume .*sweep/0`"):
        resume.main([str(tmp_path / "sweep")])
    (tmp_path / "config.yaml").write_text("[")
    with pytest.raises(InputError, match=r"config\.yaml"):
        resume.main([str(tmp_path)])
    with pytest.raises(InputError, match="expected a run directory"):
        resume.main([])


def test_other_data_than_the_run_was_trained_on(copy: Path):
    manifest = files.read_json(copy / "manifest.json")
    files.write_json(copy / "manifest.json", manifest | {"dataset_sha256": "0" * 64})
    before = (copy / "metrics.jsonl").read_bytes()
    code, text = resumed(copy)
    assert code == 2
    assert text == f"vaex: dataset=digits is not what {copy} was trained on (SHA-256 differs)\n"
    assert (copy / "metrics.jsonl").read_bytes() == before


def edit(directory: Path, old: str, new: str) -> None:
    path = directory / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("seed: 0", "seed: 7"), ("learning_rate: 0.001", "learning_rate: 0.01")])
@pytest.mark.parametrize("status", ["killed", "finished"])
def test_a_configuration_edited_since_is_not_gone_on_with(copy: Path, tmp_path: Path, status: str, old: str, new: str):
    """Of a killed run the manifest knows it, of one that has ended its summary, too."""
    if status == "finished":
        copy = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "finished"))
        manifest = files.read_json(copy / "manifest.json")
        files.write_json(copy / "manifest.json", manifest | {"segments": [], "seed": 7})  # an older one
    edit(copy, old, new)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    with pytest.raises(
        InputError, match=r"config\.yaml was altered after the run, so it cannot go on: .* reproduce RUN"
    ):
        resume.main([str(copy), "training.epochs=50"])
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_run_of_an_older_version_goes_on(copy: Path):
    """Its manifest has neither identity nor place of its segments."""
    manifest = files.read_json(copy / "manifest.json")
    for segment in manifest["segments"]:
        del segment["identity"], segment["cwd"]
    files.write_json(copy / "manifest.json", manifest)
    code, text = resumed(copy)
    assert code == 0, text
    assert results(copy) == results(finished(LONG))


@pytest.mark.parametrize("version", ["this one", "an older one"])
@pytest.mark.parametrize("moment", ["before config.yaml is written", "after"])
def test_a_kill_while_the_configuration_changes_leaves_a_run_that_goes_on(copy: Path, moment: str, version: str):
    config = files.read_yaml(copy / "config.yaml")
    config["training"]["epochs"] = 41
    longer = configuration.identity(configuration.parse(config))
    manifest = files.read_json(copy / "manifest.json")
    manifest["segments"].append(manifest["segments"][0] | {"identity": longer})
    if version == "an older one":
        del manifest["segments"][0]["identity"]
    files.write_json(copy / "manifest.json", manifest)
    if moment == "after":
        files.write_yaml(copy / "config.yaml", config)
    refuse_altered(copy, manifest, {}, configuration.parse(files.read_yaml(copy / "config.yaml")))


def test_what_is_cut_back_and_then_interrupted_was_altered_by_nobody(copy: Path):
    """The newest checkpoint is damaged, and Ctrl-C comes before the first epoch of those that are made again."""
    (newest, before), _ = checkpoint.epochs(copy)[:2], checkpoint.path_of(copy, checkpoint.latest(copy)).unlink()
    assert newest > before
    record = checkpoint.load(checkpoint.path_of(copy, before))[1]
    cut = progress.cut_back(copy, record, "id")
    assert files.sha256_of_file(copy / "steps.npz") == files.sha256(metrics.steps_bytes(cut.steps))
    assert len(metrics.read_steps(copy / "steps.npz")["loss"]) == record["steps"]


@pytest.mark.parametrize("what", ["metrics.jsonl", "steps.npz", "the dataset"])
def test_altered_results_are_not_gone_on_with(tmp_path: Path, what: str):
    directory = Path(shutil.copytree(finished("training.epochs=6"), tmp_path / "run"))
    if what == "metrics.jsonl":
        path = directory / what
        path.write_text(path.read_text().replace('"step": 36,', '"step": 37,', 1))
    elif what == "steps.npz":
        shutil.copy(finished("training.epochs=9") / what, directory / what)
    else:
        manifest = files.read_json(directory / "manifest.json")
        files.write_json(directory / "manifest.json", manifest | {"dataset_sha256": "0" * 64})
    with pytest.raises(InputError, match=f"{what}.*(altered|not the one in summary)"):
        resume.main([str(directory), "training.epochs=9"])


def test_plugins_run_code_so_the_user_names_them_again(copy: Path):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "evil.py").write_text(f"import pathlib\npathlib.Path({str(copy / 'executed')!r}).touch()\n")
    config["plugins"] = [str(copy / "evil.py")]
    config["loss"] = {"name": "evil"}
    (copy / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="if you trust them, add plugins="):
        resume.main([str(copy)])
    assert not (copy / "executed").exists()


@pytest.mark.parametrize("name", ["vaex.log", ".lock"])
def test_nothing_is_appended_through_a_link(name: str, copy: Path, tmp_path: Path):
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(tmp_path / "somewhere")
    with pytest.raises(InputError, match="is a link to another place"):
        resume.main([str(copy)])
    assert not (tmp_path / "somewhere").exists()
