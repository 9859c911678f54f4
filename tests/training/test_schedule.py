"""A run whose numbers change from an epoch on, against two halves made by hand, bit for bit."""

import shutil
from pathlib import Path

import pytest

from tests.support.configurations import make
from vaex import files
from vaex.commands import reproduce, resume
from vaex.disk import checkpoint, metrics
from vaex.disk.directory import Job
from vaex.training import run

COMMON = ("dataset=digits", "model.hidden=[8]", "tracking.mode=disabled", "dataset.limit=300", "checkpoint.keep=9")
CHANGE = "{epoch: 3, optimizer.learning_rate: 0.004, kl_weight.beta: 2.0, seed: 5}"
CHANGED = ("optimizer.learning_rate=0.004", "kl_weight.beta=2.0", "seed=5")
FILES = ("metrics.jsonl", "steps.npz", "model.safetensors")


def trained(directory: Path, *overrides: str, resumed: bool = False) -> Path:
    job = Job(make(*COMMON, *overrides), directory, "", resumed=resumed, figures=False)
    assert run.run([[job]]).statuses == {directory: "finished"}
    return directory


def results(directory: Path) -> list[object]:
    """Everything but the times."""
    summary = files.read_json(directory / "summary.json")
    rows = [
        {k: v for k, v in row.items() if "second" not in k} for row in metrics.read_rows(directory / "metrics.jsonl")
    ]
    return [rows, summary["steps_sha256"], summary["parameters_sha256"], summary["test/loss"]]


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run") / "run", "training.epochs=4", f"schedule=[{CHANGE}]")


def test_it_is_two_halves_made_by_hand(scheduled: Path, tmp_path: Path):
    trained(tmp_path / "run", "training.epochs=2")
    halves = trained(tmp_path / "run", "training.epochs=4", *CHANGED, resumed=True)
    assert results(halves) == results(scheduled)
    plain = trained(tmp_path / "plain", "training.epochs=4")
    assert results(plain)[0][:2] == results(scheduled)[0][:2]
    assert results(plain)[0][2:] != results(scheduled)[0][2:]


@pytest.mark.parametrize("epoch", [2, *(pytest.param(epoch, marks=pytest.mark.slow) for epoch in (1, 3))])
def test_cut_off_and_resumed_it_is_the_same(scheduled: Path, tmp_path: Path, epoch: int):
    shutil.copytree(scheduled, tmp_path / "run")
    for later in range(epoch + 1, 5):
        checkpoint.path_of(tmp_path / "run", later).unlink()
    (tmp_path / "run" / "summary.json").unlink()
    assert resume.resume(tmp_path / "run", []) == 0
    assert results(tmp_path / "run") == results(scheduled)


def test_reproduce_says_identical(scheduled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert reproduce.main([str(scheduled), f"hydra.run.dir={tmp_path / 'again'}"]) == 0
    assert "reproduce: identical" in capsys.readouterr().out


def test_it_may_be_trained_for_longer(scheduled: Path, tmp_path: Path):
    shutil.copytree(scheduled, tmp_path / "run")
    assert resume.resume(tmp_path / "run", ["training.epochs=5"]) == 0
    whole = trained(tmp_path / "whole", "training.epochs=5", f"schedule=[{CHANGE}]")
    assert results(tmp_path / "run") == results(whole)


@pytest.mark.slow
def test_in_a_vmapped_pack_each_lane_has_its_own(tmp_path: Path):
    """Against packs whose lanes all have one configuration, changed by hand between two halves."""
    schedules = ["[]", f"[{CHANGE}]", "[{epoch: 2, kl_weight.beta: 0.5}]"]

    def pack(name: str, epochs: int, *of_lanes: tuple[str, ...], resumed: bool = False) -> list[list[object]]:
        places = [tmp_path / name / str(number) for number in range(len(of_lanes))]
        configs = [make(*COMMON, f"training.epochs={epochs}", *own) for own in of_lanes]
        jobs = [Job(c, p, "", resumed=resumed, figures=False) for c, p in zip(configs, places, strict=True)]
        assert {*run.run([jobs]).statuses.values()} == {"finished"}
        return [results(place) for place in places]

    mixed = pack("mixed", 3, *((f"schedule={each}",) for each in schedules))
    pack("hand", 1, (), (), ())
    pack("hand", 2, (), (), ("kl_weight.beta=0.5",), resumed=True)
    hand = pack("hand", 3, (), CHANGED, ("kl_weight.beta=0.5",), resumed=True)
    assert mixed == hand
    assert mixed[0] != mixed[1] != mixed[2]
