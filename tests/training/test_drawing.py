"""figures.every: grids beside training, the same bits, and no picture that ends a run."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.processes import results
from vaex import cli, files
from vaex.trained import pictures
from vaex.training import drawing

QUICK = ("dataset=digits", "dataset.limit=200", "model.hidden=[16]", "training.epochs=5")
EACH = {"reconstructions.png", "samples.png"}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of this size is shorter than a picture: wait for it, so that each that is due is drawn."""
    begin = drawing.Figures.epoch

    def epoch(self, number, parameters):
        self.wait()
        begin(self, number, parameters)

    monkeypatch.setattr(drawing.Figures, "epoch", epoch)


def drawn(run: Path) -> dict[str, set[str]]:
    return {folder.name: {path.name for path in folder.iterdir()} for folder in (run / "figures").glob("epoch_*")}


@pytest.mark.usefixtures("patient")
def test_grids_of_every_second_epoch_and_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert cli._guarded([*QUICK, "hydra.run.dir=plain"]) == 0
    assert cli._guarded([*QUICK, "hydra.run.dir=run", "figures.every=2", "checkpoint.every=3"]) == 0
    assert not capfd.readouterr().err
    run, plain = tmp_path / "run", tmp_path / "plain"
    assert results(run) == results(plain)
    identities = {files.read_json(path / "summary.json")["identity"] for path in (run, plain)}
    assert len(identities) == 1
    assert drawn(run) == {"epoch_2": EACH, "epoch_4": EACH}
    assert not drawn(plain)
    pictures = [Image.open(folder / "samples.png").tobytes() for folder in (run / "figures").glob("epoch_*")]
    assert len({*pictures, Image.open(run / "figures" / "samples.png").tobytes()}) == 3
    assert Image.open(run / "figures/samples.png").tobytes() == Image.open(plain / "figures/samples.png").tobytes()
    assert cli._guarded(["resume", "run", "training.epochs=7", "figures.every=1"]) == 0
    assert set(drawn(run)) == {"epoch_2", "epoch_4", "epoch_6"}


@pytest.mark.usefixtures("patient")
def test_a_picture_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "beside_training", lambda *_: 1 / 0)
    assert cli._guarded([*QUICK, "hydra.run.dir=run", "figures.every=4"]) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "vaex: run: no figures (ZeroDivisionError: division by zero)"
    assert files.read_json(tmp_path / "run" / "summary.json")["status"] == "finished"
    assert (tmp_path / "run" / "figures" / "samples.png").exists()


def test_a_link_in_the_place_of_an_epochs_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert cli._guarded([*QUICK, "training.epochs=1", "hydra.run.dir=run"]) == 0
    (tmp_path / "run" / "figures" / "epoch_2").symlink_to(tmp_path)
    assert cli._guarded(["resume", "run", "training.epochs=3", "figures.every=2"]) == 2
    assert "figures/epoch_2: is a link to another place" in capfd.readouterr().err
