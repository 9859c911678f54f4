"""Packed data read back, byte by byte, and what is said of a folder that is not as it was packed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.packed import pack
from vaex.data import packed
from vaex.data.packed import INDEX
from vaex.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (61, 3, 5, 2), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pack(tmp_path / "packed", IMAGES, IMAGES[:9], IMAGES[20:22])
    return tmp_path / "packed"


def test_what_was_packed_is_what_is_read(folder):
    data = packed.read(folder)
    for split, expected in ((data.train, IMAGES), (data.valid, IMAGES[:9]), (data.test, IMAGES[20:22])):
        assert split.images.shape == expected.shape
        assert (np.asarray(split.images) == expected).all()
        assert split.labels[:, 0].tolist() == list(range(len(expected)))
    assert data.shape == (3, 5, 2)
    assert data.values == (IMAGES.min(), IMAGES.max(), False)
    assert len(list(folder.glob("train-0*.npy"))) == 8


ROWS = [5, -1, slice(3, 30), slice(50, 99), slice(40, 3), slice(None, None, 7), [60, 0, 8, 8]]


@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_those_of_an_array(folder, rows):
    images = packed.read(folder).train.images
    assert np.array_equal(np.asarray(images[rows]), IMAGES[rows])


def test_a_slice_is_a_view_of_which_rows_are_read(folder):
    part = packed.read(folder).train.images[10:50]
    assert (np.asarray(part[5:7]) == IMAGES[15:17]).all()
    assert (part[[39, 0]] == IMAGES[[49, 10]]).all()
    with pytest.raises(IndexError):
        part[[40]]


def test_blocks_around_rows_hold_them(folder):
    rows = np.array([60, 9, 10, 8, 0])
    near, places = packed.read(folder).train.images.near(rows, 4, np.empty((12, *IMAGES.shape[1:]), IMAGES.dtype))
    assert len(near) == 4 + 4 + 1
    assert (near[places] == IMAGES[rows]).all()


def test_the_digest_is_of_every_byte_and_of_the_rows_that_are_kept(folder, tmp_path):
    other = IMAGES.copy()
    other[60, 2, 4, 1] ^= 1
    pack(tmp_path / "other", other, IMAGES[:9], IMAGES[20:22])
    pack(tmp_path / "again", IMAGES, IMAGES[:9], IMAGES[20:22])
    data = packed.read(folder)
    digests = [packed.read(tmp_path / name).digest for name in ("other", "again")]
    assert digests[0] != data.digest == digests[1]
    few = data.limited(20)
    assert few.digest != data.digest
    assert (np.asarray(few.train.images) == IMAGES[:20]).all()
    assert [len(split.images) for split in (few.valid, few.test)] == [3, 1]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def another_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"(8, 3, 5, 2)", b"(8, 5, 3, 2)"))


@pytest.mark.parametrize("damage", [Path.unlink, cut, another_header])
def test_a_shard_that_is_not_as_it_was_is_named_when_the_folder_is_opened(folder, damage):
    damage(folder / "train-00003.npy")
    with pytest.raises(DataError, match=r"train-00003\.npy: .*vaex data verify"):
        packed.read(folder)


def test_a_shard_that_is_cut_off_while_it_is_read_is_named(folder):
    images = packed.read(folder).train.images
    cut(folder / "train-00003.npy")
    assert (np.asarray(images[:24]) == IMAGES[:24]).all()
    with pytest.raises(DataError, match=r"train-00003\.npy: ends before byte"):
        np.asarray(images)


def test_verify_finds_a_changed_byte(folder):
    path = folder / "valid-00000.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (folder / "test-labels.npy").unlink()
    states = dict(packed.states(folder))
    assert {name for name, state in states.items() if state != "here"} == {"valid-00000.npy", "test-labels.npy"}
    assert (states["valid-00000.npy"], states["test-labels.npy"]) == ("damaged", "missing")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.update(format=2), "format"),
        (lambda index: index.update(shape=[3, 5]), "shape"),
        (lambda index: index["train"]["images"][0].update(name="../x.npy"), "name"),
        (lambda index: index["train"].update(images=[]), "images"),
        (lambda index: index.pop("values"), "values"),
    ],
)
def test_an_index_that_says_something_else_is_one_line(folder, change, said):
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(DataError, match=rf"index\.json: not an index of packed data: .*{said}"):
        packed.read(folder)


def test_no_index_is_one_line(tmp_path):
    with pytest.raises(DataError, match="vaex data pack"):
        packed.read(tmp_path)
