"""What a worker finds out before it trains: where it is, which devices it has, what is there of its runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.configurations import make
from vaex.config import Config, identity
from vaex.disk import threads
from vaex.disk.directory import Job
from vaex.engines import parcel, worker
from vaex.engines.parcel import Parcel

DIGITS = ("dataset=digits", "dataset.limit=200", "training.batch_size=64")


def one(folder: Path, config: Config) -> Parcel:
    """A parcel of one job in `folder`, which the worker sees."""
    (folder / "0").mkdir(parents=True)
    (folder / "token").touch()
    (sent,) = parcel.of_sweep(folder, [[Job(config, folder / "0", "job 0")]], together=1, lanes=4, token="token")
    return replace(sent, threads=threads.count() or threads.cores())


def test_plugins_are_found_from_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "own.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sys.argv", ["vaex"])
    config = make(*DIGITS, "plugins=[./own.py]")
    sent = one(tmp_path / "sweep", config)
    (tmp_path / "sweep" / "0" / "config.yaml").write_text("")
    manifest = {"segments": [{"identity": identity(config)}]}
    (tmp_path / "sweep" / "0" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "sweep" / "0" / "summary.json").write_text('{"status": "finished"}')
    monkeypatch.chdir(tmp_path / "there")
    report = worker.train(sent.as_text())
    assert (list(report.statuses.values()), report.told) == (["finished"], ())
    assert Path.cwd() == tmp_path / "there"


def test_a_worker_with_fewer_devices_makes_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["vaex"])
    report = worker.train(one(tmp_path / "sweep", make(*DIGITS, "training.epochs=1", "training.devices=2")).as_text())
    ((_, line),) = report.told
    assert list(report.statuses.values()) == ["failed"]
    assert line.startswith("training.devices: expected at most the number of devices here, 1 (cpu), got 2")
    assert not list((tmp_path / "sweep" / "0").iterdir())


@pytest.mark.parametrize(
    ("override", "left", "expected"),
    [("seed=0", 9, 4), ("seed=0", 3, 3), ("training.devices=2", 9, 1), ("pack.strategy=vmap", 9, 1)],
)
def test_packs_train_side_by_side_only_alone_on_a_cpu(override: str, left: int, expected: int, tmp_path: Path):
    assert len(worker.devices(one(tmp_path / "sweep", make(*DIGITS, override)), left)) == expected
