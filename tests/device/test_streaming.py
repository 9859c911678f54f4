"""The same seed gives the same batches, and the same bits, wherever the images are while a run trains."""

import gc
import itertools
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support.configurations import make
from tests.support.packed import pack
from vaex.config import Config, dump, identity, parse
from vaex.data import packed
from vaex.data.dataset import Dataset
from vaex.device import compiled, feeding, memory, placement, streaming
from vaex.device.datasets import load
from vaex.errors import ConfigError
from vaex.vae import objective, step

DEVICE = jax.devices()[0]
SMALL = ("training.batch_size=16", "model.hidden=[8]", "model.latent_dim=2")


@pytest.fixture(scope="module")
def packed_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """230 rows in 58 blocks, 20 windows; the last batch and the last block are not full."""
    digits = load(make("dataset=digits", *SMALL).dataset)
    folder = tmp_path_factory.mktemp("data") / "packed"
    pack(folder, digits.train.images[:230], digits.valid.images[:29], digits.test.images[:29])
    return folder


def trained(feed: Any, config: Config, dataset: Dataset) -> list[np.ndarray]:
    """All numbers of two epochs, of one that does not follow them, and of both evaluations."""
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    state, found = jax.device_put(compiled.init(program, hyper.seed), DEVICE), []
    for number in (0, 1, 5):
        state, steps = feed.train(hyper, state, np.int32(number))
        found += jax.tree.leaves(jax.device_get(steps))
    numbers = step.weighed(hyper, state)
    found += [feed.evaluate(split, numbers, state.parameters, np.float32(1.5)) for split in ("valid", "test")]
    return [np.array(leaf) for leaf in jax.tree.leaves((jax.device_get(state), found))]


def feed_of(placed: str, config: Config, dataset: Dataset) -> Any:
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    where = placement.Placement(placed == "stream", "")
    return feeding.feed(where, dataset, program, hyper, DEVICE, {})


@pytest.mark.parametrize("of", ["arrays", "packed"])
def test_an_epoch_has_the_same_bits_streamed_and_on_the_device(of, packed_digits, monkeypatch):
    own = (
        ("dataset=shards", f"dataset.path={packed_digits}")
        if of == "packed"
        else ("dataset=digits", "dataset.limit=230")
    )
    config = make(*own, *SMALL)
    dataset = load(config.dataset)
    assert (placement.blocks_of(dataset) is None) == (of == "arrays")
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * 16 * 64 * 4)  # five batches: three chunks of them
    both = [trained(feed_of(placed, config, dataset), config, dataset) for placed in ("device", "stream")]
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(*both, strict=True))


def test_what_fits_a_window_is_shuffled_as_arrays_are(tmp_path):
    images = np.zeros((10, 2, 2, 1), np.uint8)
    pack(tmp_path / "small", images, images, images)
    assert placement.blocks_of(packed.read(tmp_path / "small")) is None


@pytest.mark.parametrize(("steps", "most"), [(1, 5), (2, 5), (3, 2), (5, 2), (430, 334), (7, 3), (100, 7), (11, 100)])
def test_chunks_are_alike_and_none_has_a_single_step(steps, most):
    shares = streaming.shares(steps, most)
    assert sum(shares) == steps
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= min(steps, streaming.FEWEST_STEPS)
    assert max(shares) <= most + 1


@pytest.mark.parametrize(("count", "steps"), [(16, 4), (13, 4), (14, 4)])
def test_batches_by_the_host_are_those_of_the_step(count, steps):
    rows, weights = streaming.batches(count, steps, 4)
    expected = step.batches(jax.numpy.arange(count, dtype=jax.numpy.int32), 4)
    assert np.array_equal(rows, expected[0])
    assert np.array_equal(weights, expected[1])


def test_chunks_take_the_windows_rows_in_order():
    images = [np.arange(start, start + 7).reshape(7, 1, 1, 1) for start in (0, 7, 14)]
    windows = [(part, np.array([3, 0, 6, 1, 2, 4, 5])) for part in images]
    room = itertools.cycle([np.empty((12, 1, 1, 1), int)])
    chunks = [chunk.copy() for chunk in streaming.filled(iter(windows), [8, 8, 5], 4, room)]
    assert [len(chunk) for chunk in chunks] == [8, 8, 8]
    taken = list(itertools.chain(*(chunk.ravel() for chunk in chunks)))[:21]
    assert taken == [start + place for start in (0, 7, 14) for place in (3, 0, 6, 1, 2, 4, 5)]


def test_what_is_read_ahead_leaves_the_chunk_in_use_alone():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    with ThreadPoolExecutor(1) as thread:
        chunks = streaming.filled(iter([(images, np.arange(40))]), [8] * 5, 4, streaming.rooms(8, images))
        for number, chunk in enumerate(streaming.beside(chunks, thread)):
            thread.submit(int).result()  # the next one has been read by now
            assert chunk.ravel().tolist() == list(range(8 * number, 8 * number + 8))


def test_a_pack_that_has_ended_leaves_neither_thread_nor_memory():
    """Not even until the next search for cycles, which is rare: a sweep has many packs."""
    config = make("dataset=digits", "dataset.limit=230", *SMALL)
    dataset = load(config.dataset)
    feed = feed_of("stream", config, dataset)
    trained(feed, config, dataset)
    (thread,) = feed._reader._threads
    there = weakref.ref(feed)
    gc.collect()
    gc.disable()
    try:
        feed.close()
        del feed
        assert there() is None
    finally:
        gc.enable()
    assert not thread.is_alive()


def test_what_goes_wrong_beside_is_raised_here():
    def made() -> Any:
        yield 1
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"), ThreadPoolExecutor(1) as thread:
        list(streaming.beside(made(), thread))


def test_the_placement_is_no_part_of_an_identity():
    streamed = make("dataset=digits", "dataset.placement=stream")
    configs = [replace(streamed, placement=where) for where in ("auto", "device", "stream")]
    assert len({identity(config) for config in configs}) == 1
    assert [dump(config)["dataset"]["placement"] for config in configs] == ["auto", "device", "stream"]
    assert [parse(dump(config)) for config in configs] == configs
    plain = dump(streamed)
    plain["dataset"]["placement"] = "disk"
    with pytest.raises(ConfigError, match=r"dataset\.placement: expected 'auto', 'device' or 'stream', got \"disk\""):
        parse(plain)


def test_auto_streams_what_is_larger_than_half_of_the_room(monkeypatch, capsys):
    config = make("dataset=digits", *SMALL)
    size = placement.size_of(load(config.dataset))
    for room, streamed in ((2 * size, False), (2 * size - 2, True)):
        placement._decided.cache_clear()
        monkeypatch.setattr(placement, "room", lambda device, room=room: room)
        assert placement.of(config, DEVICE).streamed == streamed
        assert ("dataset.placement=auto" in capsys.readouterr().out) == streamed
    placement._decided.cache_clear()


@pytest.mark.parametrize("version", [1, 2])
def test_the_room_is_what_the_groups_around_a_process_leave(version, tmp_path, monkeypatch):
    names = memory.V1 if version == 1 else memory.V2
    groups = tmp_path / "groups"
    root = groups / ("memory" if version == 1 else "")
    own = root / "batch" / "job"
    own.mkdir(parents=True)
    for folder, limit, used, read in ((own, "9000000000", "500", "100"), (own.parent, "1000", "700", "300")):
        (folder / names[0]).write_text(limit)
        (folder / names[1]).write_text(used)
        (folder / "memory.stat").write_text(f"cache 9\n{names[2]} {read}\n")
    told = tmp_path / "cgroup"
    told.write_text("4:memory:/batch/job\n0::/\n" if version == 1 else "0::/batch/job\n")
    monkeypatch.setattr(memory, "GROUPS", groups)
    monkeypatch.setattr(memory, "OWN", told)
    assert memory.room(DEVICE) == 600
