"""What `vaex data pack` takes: each source read back from the folder, against the file that it was made of."""

import gzip
import io
import json
import shlex
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.disks import small_disk
from tests.support.packed import pack, small_files
from vaex import files
from vaex.commands import data, train
from vaex.data import packed
from vaex.data.dataset import Dataset, Split, split_by_fractions
from vaex.datasets import arrays, digits
from vaex.errors import DataError, InputError, VaexError
from vaex.packing import sources

RNG = np.random.default_rng(1)
FRACTIONS: dict[str, Any] = {"limit": None, "fractions": (0.8, 0.1, 0.1), "split_seed": 3}


def section(name: str, path: Path | None = None, **more: Any) -> Any:
    """The Config of a dataset, as the command composes it."""
    if name == "arrays":
        return arrays.Config(name="arrays", path=str(path), key=None, range=more.get("range"), **FRACTIONS)
    return digits.Config(name="digits", **FRACTIONS)


def packed_from(named: Path | str, folder: Path, row: int, **more: Any) -> Dataset:
    from vaex.packing import writer

    with small_files(row):
        writer.write(sources.open_source(str(named), lambda *given: section(*given, **more)), folder)
    return packed.read(folder)


def in_file_order(images: np.ndarray, labels: Any = None) -> list[Split]:
    """The splits of `dataset=arrays`, each with its rows as they lie in the file, found by numbers for images."""
    config = section("arrays", Path("-"))
    numbers = np.arange(len(images), dtype=np.float32).reshape(-1, 1, 1, 1)
    made = split_by_fractions(config, Split(numbers, None))
    rows = [np.sort(split.images.ravel().astype(int)) for split in (made.train, made.valid, made.test)]
    return [Split(images[part], None if labels is None else labels[part]) for part in rows]


def same(found: Dataset, expected: list[Split]) -> bool:
    pairs = zip((found.train, found.valid, found.test), expected, strict=True)
    return all(np.array_equal(np.asarray(one.images), other.images) for one, other in pairs)


def test_a_npy_of_float64_rows_becomes_float32_images(tmp_path):
    array = RNG.random((50, 6))
    np.save(tmp_path / "x.npy", array)
    found = packed_from(tmp_path / "x.npy", tmp_path / "packed", 24)
    images = array.astype(np.float32)[:, None, :, None]
    assert same(found, in_file_order(images))
    assert found.values == (float(images.min()), float(images.max()), False)


def test_a_npz_of_a_mask_and_factors(tmp_path):
    array, factors = RNG.integers(0, 2, (50, 3, 4), np.uint8), np.arange(50.0)
    np.savez(tmp_path / "x.npz", images=array, factors=factors)
    found = packed_from(tmp_path / "x.npz", tmp_path / "packed", 12, range=(0, 1))
    expected = in_file_order(array[..., None] * np.uint8(255), factors[:, None])
    assert same(found, expected)
    assert found.values == (0, 255, True)
    assert found.labels_named == ("factor_0",)
    assert np.array_equal(found.train.labels, expected[0].labels)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_file_and_the_labels_beside_it(tmp_path, zipped):
    images, labels = RNG.integers(0, 256, (50, 3, 4), np.uint8), RNG.integers(0, 9, 50, np.uint8)
    for name, array in (("my-images-idx3-ubyte", images), ("my-labels-idx1-ubyte", labels)):
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    found = packed_from(tmp_path / "my-images-idx3-ubyte", tmp_path / "packed", 12)
    expected = in_file_order(images[..., None], labels[:, None])
    assert same(found, expected)
    assert np.array_equal(found.test.labels, expected[2].labels)


def test_a_dataset_by_its_name_keeps_its_splits_and_labels(tmp_path):
    found, expected = packed_from("digits", tmp_path / "packed", 256), digits.load(section("digits"))
    assert same(found, [expected.train, expected.valid, expected.test])
    assert np.array_equal(found.valid.labels, expected.valid.labels)
    assert found.values == expected.values


def test_the_command_packs_a_folder_of_pictures_and_says_how_to_use_it(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    pixels = RNG.integers(0, 256, (20, 5, 5, 3), np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "pictures" / f"{number:02}.png")
    words = ["pack", str(tmp_path / "pictures"), str(tmp_path / "packed"), "dataset.size=5", "dataset.channels=3"]
    assert data.main([*words, "dataset.fractions=[0.5,0.25,0.25]"]) == 0
    told = capsys.readouterr().out
    assert "10 train, 5 valid, 5 test images, 5 x 5 x 3 uint8" in told
    assert f"vaex dataset=shards dataset.path={tmp_path / 'packed'}" in told
    found = packed.read(tmp_path / "packed")
    order = np.random.RandomState(0).permutation(20)
    assert same(found, [Split(pixels[np.sort(part)], None) for part in np.split(order, [10, 15])])
    assert data.main(["verify", str(tmp_path / "packed")]) == 0
    (tmp_path / "packed" / "test-00000.npy").unlink()
    assert data.main(["verify", str(tmp_path / "packed")]) == 1
    with pytest.raises(InputError, match="is there already"):
        data.main(words)


def test_the_line_that_uses_a_folder_is_one_that_can_be_typed(tmp_path, capsys):
    folder = tmp_path / "p,q = (r)'s $x"
    np.save(tmp_path / "x.npy", RNG.random((50, 6)))
    assert data.main(["pack", str(tmp_path / "x.npy"), str(folder)]) == 0
    words = shlex.split(capsys.readouterr().out.rpartition("; vaex ")[2])
    assert train.composed(words, checked=False).jobs[0].dataset.path == str(folder)


def test_what_is_left_of_pictures_with_several_frames_is_remarked(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        first, second = (Image.fromarray(each) for each in RNG.integers(0, 256, (2, 4, 4), np.uint8))
        first.save(tmp_path / "pictures" / f"{number:02}.gif", save_all=True, append_images=[second] * (number < 3))
    words = ["pack", str(tmp_path / "pictures"), str(tmp_path / "packed"), "dataset.size=4", "dataset.channels=1"]
    assert data.main(words) == 0
    said = "3 of 20 pictures have several frames; only the first of each is used"
    assert packed.read(tmp_path / "packed").remarks == (said,)


def test_what_cannot_be_packed_is_one_line_and_leaves_nothing(tmp_path):
    array = RNG.random((50, 6))
    array[17, 3] = np.nan
    np.save(tmp_path / "nan.npy", array)
    np.save(tmp_path / "wide.npy", 2 * RNG.random((50, 6)))
    (tmp_path / "text.txt").write_text("hello")
    for named, said, more in (
        ("nan.npy", r"nan\.npy: values that are not finite in float32, as in row 17 \(", {}),
        ("wide.npy", r"wide\.npy: values from .*, outside dataset\.range", {"range": (0, 1)}),
        ("text.txt", "not a .npy, .npz, idx or ArrayRecord file", {}),
        ("nothing", "no file or folder, and no dataset", {}),
    ):
        with pytest.raises((DataError, InputError), match=said):
            packed_from(tmp_path / named, tmp_path / "new" / "place" / "packed", 24, **more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.npy", "text.txt", "wide.npy"]


def test_what_a_killed_attempt_left_is_no_hindrance(tmp_path):
    left = tmp_path / ".packed.packing"
    left.mkdir()
    (left / "train-00007.npy").write_bytes(b"half")
    images = np.zeros((9, 2, 2, 1), np.uint8)
    pack(tmp_path / "packed", images, images, images)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    assert not (tmp_path / "packed" / "train-00007.npy").exists()
    index = json.loads((tmp_path / "packed" / "index.json").read_text())
    assert index["values"] == {"low": 0.0, "high": 0.0, "few": True}


def test_two_at_once_are_told_apart(tmp_path):
    images = np.zeros((9, 2, 2, 1), np.uint8)
    (tmp_path / ".packed.packing").mkdir()
    with files.locked(tmp_path / ".packed.packing"), pytest.raises(InputError, match="another process is packing here"):
        pack(tmp_path / "packed", images, images, images)


def test_a_name_that_no_disk_takes_is_one_line(tmp_path):
    images = np.zeros((9, 2, 2, 1), np.uint8)
    with pytest.raises(VaexError, match=r"cannot be written: .*File name too long"):
        pack(tmp_path / ("x" * 300), images, images, images)


def test_a_full_disk_is_one_line_and_leaves_nothing():
    images = np.zeros((500, 32, 32, 1), np.uint8)
    with small_disk("300k") as folder:
        with pytest.raises(VaexError, match="No space left on device; nothing was kept"):
            pack(folder / "packed", images, images[:1], images[:1])
        assert list(folder.iterdir()) == []


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def of_pictures(*_: Any) -> Any:
    from vaex.datasets import images

    return images.Config(name="images", path="", size=4, channels=1, **FRACTIONS)


def written_records(path: Path, records: list[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def test_array_record_files_of_pictures(tmp_path):
    """Two files of a folder, one after the other by their names, and one file."""
    pytest.importorskip("grain", reason="Grain: pip install grain")
    pixels = RNG.integers(0, 256, (20, 4, 4), np.uint8)
    (tmp_path / "records").mkdir()
    for name, part in {"a-0": pixels[:13], "a-1": pixels[13:]}.items():
        written_records(tmp_path / "records" / f"{name}.array_record", [png(each) for each in part])
    order = np.random.RandomState(3).permutation(20)
    train = sources.open_source(str(tmp_path / "records"), of_pictures).splits["train"]
    assert np.array_equal(train.read(np.arange(train.rows)), pixels[np.sort(order[:16])][..., None])
    alone = sources.open_source(str(tmp_path / "records" / "a-0.array_record"), of_pictures)
    assert sum(part.rows for part in alone.splits.values()) == 13


def test_what_is_no_picture_in_an_array_record_is_named(tmp_path):
    pytest.importorskip("grain", reason="Grain: pip install grain")
    example = b"\x0a\x10" + b"features" * 2
    for name, record, told in [
        ("text", b"hello", r"record \d+: not an image; expected BMP"),
        ("example", example, r"record \d+: a tf\.train\.Example; write the picture's own file as the record"),
    ]:
        written_records(tmp_path / name, [record] * 20)
        part = sources.open_source(str(tmp_path / name), of_pictures).splits["train"]
        with pytest.raises(DataError, match=told):
            part.read(np.arange(1))
    whole = (tmp_path / "text").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut: cannot be read as ArrayRecord"):
        sources.open_source(str(tmp_path / "cut"), of_pictures)


def test_array_record_without_grain_is_one_line(tmp_path, monkeypatch):
    from vaex.packing import array_record

    monkeypatch.setitem(sys.modules, "grain.sources", None)
    (tmp_path / "a").write_bytes(array_record.SIGNATURE + bytes(100))
    with pytest.raises(InputError, match=r'a: Grain, .* is not installed: pip install "vaex-experiments\[stream\]"'):
        sources.open_source(str(tmp_path / "a"), of_pictures)


def test_a_folder_in_the_source_itself_is_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match=r"pictures/out lies in .*pictures; name a place outside"):
        data.main(["pack", str(tmp_path / "pictures"), str(tmp_path / "pictures" / "out")])
