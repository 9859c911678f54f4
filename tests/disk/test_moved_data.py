"""A saved run whose data lie elsewhere now: the recorded digest says whether they are the same, not the path."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import SMALL, lines_of_error, results, server
from vaex import files
from vaex.commands import reproduce, resume
from vaex.errors import InputError

ARRAY = np.random.RandomState(0).randint(0, 256, (40, 4, 4)).astype(np.uint8)
OVERRIDES = ("dataset=arrays", "dataset.path=a.npy", *SMALL[1:], "tracking.mode=disabled")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.npy and a run of two epochs on it, started there by its relative path. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    np.save(folder / "a.npy", ARRAY)
    code, text = server().run(*OVERRIDES, "training.epochs=2", "hydra.run.dir=run", cwd=folder)
    assert code == 0, text
    return folder


@pytest.fixture
def moved(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run in a folder that has the data as moved.npy, and others as other.npy."""
    shutil.copytree(trained / "run", tmp_path / "run")
    manifest = files.read_json(tmp_path / "run" / "manifest.json")
    manifest["segments"][0]["cwd"] = str(tmp_path / "gone")  # started where the data are no more
    files.write_json(tmp_path / "run" / "manifest.json", manifest)
    shutil.rmtree(tmp_path / "run" / ".hydra")
    np.save(tmp_path / "moved.npy", ARRAY)
    np.save(tmp_path / "other.npy", ARRAY[::-1])
    return tmp_path


def test_the_same_bytes_elsewhere_are_the_same_data(moved: Path, trained: Path):
    code, text = server().run("reproduce", "run", "dataset.path=moved.npy", "hydra.run.dir=again", cwd=moved)
    assert (code, text.splitlines()[-1]) == (0, "reproduce: identical"), text
    code, text = server().run("figures", "run", "dataset.path=moved.npy", cwd=moved)
    assert (code, len(text.splitlines())) == (0, 9), text
    code, text = server().run("resume", "run", "dataset.path=moved.npy", "training.epochs=3", cwd=moved)
    assert code == 0, text
    whole = moved / "whole"
    code, text = server().run(*OVERRIDES, "training.epochs=3", f"hydra.run.dir={whole}", cwd=trained)
    assert code == 0, text
    assert results(moved / "run") == results(whole)
    (entry,) = files.read_json(moved / "run" / "config_history.json")["history"]
    assert "dataset.path: a.npy then, moved.npy now" in entry["differences"]
    code, text = server().run("resume", "run", "training.epochs=4", cwd=moved)  # by its new path from now on
    assert code == 0, text


def test_a_variation_of_data_that_lie_elsewhere_is_one_of_the_same_data(moved: Path):
    varied = ("seed=1", "dataset.path=moved.npy", "hydra.run.dir=varied")
    code, text = server().run("reproduce", "run", *varied, cwd=moved)
    assert code == 0, text
    assert "not compared" not in text
    assert files.read_json(moved / "varied" / "reproduce.json")["changed"] == ["seed: 0 then, 1 now"]


def test_other_bytes_are_refused_by_name(moved: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(moved)
    before = {path: path.stat().st_mtime_ns for path in (moved / "run").rglob("*")}
    with pytest.raises(InputError, match=r"^dataset\.path=other\.npy is not what run was trained on \(SHA-256 differs"):
        resume.main(["run", "dataset.path=other.npy", "training.epochs=3"])
    assert reproduce.main(["run", "dataset.path=other.npy"]) == 1
    assert "dataset.path=other.npy is not the run's (SHA-256 differs); dataset=arrays" in capsys.readouterr().out
    code, text = server().run("figures", "run", "dataset.path=other.npy", cwd=moved)
    assert (code, "dataset.path=other.npy is not what run" in text) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in (moved / "run").rglob("*")} == before


def test_where_data_were_sought_is_said(moved: Path):
    for verb in (["resume", "run", "training.epochs=3"], ["reproduce", "run"], ["figures", "run"]):
        code, text = server().run(*verb, cwd=moved)
        assert code == 2
        (line,) = lines_of_error(text)
        places = f"(looked in {moved} and {moved / 'gone'})"
        assert (
            line
            == f"vaex: dataset.path: a.npy is not a file {places}; if the data are elsewhere now, add dataset.path=NEW"
        )


@pytest.mark.parametrize("record", ["manifest", "Hydra's"])
def test_a_relative_path_is_looked_for_from_where_the_run_was_started(trained: Path, tmp_path: Path, record: str):
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    if record == "manifest":
        shutil.rmtree(run / ".hydra")
    else:  # an older run
        manifest = files.read_json(run / "manifest.json")
        for segment in manifest["segments"]:
            del segment["cwd"], segment["identity"]
        files.write_json(run / "manifest.json", manifest)
    code, text = server().run("resume", run, "training.epochs=3", cwd=tmp_path)
    assert code == 0, text
    assert files.read_yaml(run / "config.yaml")["dataset"]["path"] == str(trained / "a.npy")


def test_data_found_from_where_a_run_was_started_alter_no_configuration(trained: Path, tmp_path: Path):
    line = ("diagnose", str(trained / "run"), "--step", "2", "--out", "found")
    code, text = server().run(*line, cwd=tmp_path)
    assert (code, "not as the run left it" in text) == (0, False), text
    code, text = server().run("diff", str(trained / "run"), str(trained / "run"), cwd=tmp_path)
    assert (code, "not as the run left it" in text) == (0, False), text


def test_a_sweep_goes_on_with_moved_data_and_not_with_others(tmp_path: Path):
    np.save(tmp_path / "a.npy", ARRAY)
    grid = ("-m", *OVERRIDES, "training.epochs=1", "seed=0,1,2", "hydra.sweep.dir=sweep", "sweep.figures_up_to=0")
    code, text = server().run(*grid, cwd=tmp_path)
    assert code == 0, text
    sweep, whole = tmp_path / "sweep", shutil.copytree(tmp_path / "sweep" / "1", tmp_path / "whole")
    shutil.rmtree(sweep / "1")  # not begun
    (sweep / "2" / "summary.json").unlink()  # killed
    (tmp_path / "a.npy").rename(tmp_path / "moved.npy")
    np.save(tmp_path / "other.npy", ARRAY[::-1])
    code, text = server().run("resume", "sweep", "dataset.path=other.npy", cwd=tmp_path)
    assert (code, lines_of_error(text)) == (
        2,
        ["vaex: dataset.path=other.npy is not what sweep/0 was trained on (SHA-256 differs)"],
    )
    code, text = server().run("resume", "sweep", "dataset.path=moved.npy", cwd=tmp_path)
    assert code == 0, text
    assert results(sweep / "1") == results(whole)
    code, text = server().run("resume", "sweep", "dataset.path=moved.npy", cwd=tmp_path)
    assert (code, "all 3 jobs have ended" in text, "holds another run" in text) == (0, True, False), text
