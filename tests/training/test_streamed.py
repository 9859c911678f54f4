"""Streamed runs killed at several moments go on bit for bit; a shard that is lost under way costs one line, no epoch.

Here files are as large as they are in use: several chunks and windows an epoch, two sizes of chunks.
"""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import epochs_on_disk, lines_of_error, results, server, until
from vaex.packing import rows, writer

pytestmark = pytest.mark.slow

ROWS = 180_300
TRAINING = ("training.epochs=3", "training.batch_size=500", "model.hidden=[16]", "model.latent_dim=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """141 MB: three windows, five chunks of 72 or 73 batches, the last of them not full."""
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 28, 28, 1), np.uint8)
    images[:, ::2] = images[:, 1:2]
    made = tmp_path_factory.mktemp("data") / "packed"
    parts = {"train": images, "valid": images[:60_000], "test": images[-1000:]}
    writer.write(rows.Source({name: rows.of_arrays(part, None) for name, part in parts.items()}), made)
    return made


def arguments(folder: Path, directory: Path, placement: str) -> tuple[str, ...]:
    where = ("dataset=shards", f"dataset.path={folder}", f"dataset.placement={placement}")
    return (*where, *TRAINING, f"hydra.run.dir={directory}")


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "whole"
    code, text = server().run(*arguments(folder, directory, "stream"))
    assert code == 0, text
    return directory


def test_placements_have_the_same_bits_with_chunks_and_windows_as_they_are(folder, whole, tmp_path):
    code, text = server().run(*arguments(folder, tmp_path / "run", "device"))
    assert code == 0, text
    assert results(tmp_path / "run") == results(whole)
    segment = json.loads((whole / "manifest.json").read_text())["segments"][0]
    assert segment["placement"] == "stream"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_killed_and_resumed_it_is_bit_for_bit_the_same(folder, whole, tmp_path, share):
    directory = tmp_path / "run"
    length = (whole / "summary.json").stat().st_mtime - (whole / "config.yaml").stat().st_mtime
    run = server().start(*arguments(folder, directory, "stream"))
    until(lambda: (directory / "config.yaml").exists() or run.poll() is not None)
    time.sleep(share * length)
    run.kill(signal.SIGKILL)
    run.wait()
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert results(directory) == results(whole)


def test_a_shard_that_is_lost_under_way_ends_the_run_which_goes_on_when_it_is_back(folder, whole, tmp_path):
    directory, shard = tmp_path / "run", folder / "train-00000.npy"
    run = server().start(*arguments(folder, directory, "stream"))
    until(lambda: epochs_on_disk(directory) >= 1 or run.poll() is not None)
    shard.rename(folder / "away")
    try:
        code = run.wait()
    finally:
        (folder / "away").rename(shard)
    lines = lines_of_error(run.text())
    assert code == 3, run.text()
    assert any(f"{shard}: cannot be read: No such file" in line for line in lines), lines
    assert json.loads((directory / "summary.json").read_text())["status"] == "failed"
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert results(directory) == results(whole)
