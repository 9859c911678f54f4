"""What `vaex data pack` takes: each source read back from the folder, against the file that it was made of."""

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.disks import small_disk
from tests.support.packed import pack, small_files
from vaex.commands import data
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


def test_what_cannot_be_packed_is_one_line_and_leaves_nothing(tmp_path):
    array = RNG.random((50, 6))
    array[17, 3] = np.nan
    np.save(tmp_path / "nan.npy", array)
    np.save(tmp_path / "wide.npy", 2 * RNG.random((50, 6)))
    (tmp_path / "text.txt").write_text("hello")
    for named, said, more in (
        ("nan.npy", "not finite", {}),
        ("wide.npy", r"outside dataset\.range", {"range": (0, 1)}),
        ("text.txt", "not a .npy, .npz or idx file", {}),
        ("nothing", "no file or folder, and no dataset", {}),
    ):
        with pytest.raises((DataError, InputError), match=said):
            packed_from(tmp_path / named, tmp_path / "packed", 24, **more)
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


def test_what_hugging_face_saved(tmp_path):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets: pip install datasets")
    from vaex.datasets import images

    pixels = RNG.integers(0, 256, (20, 4, 4), np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    pictures = [{"bytes": png(each), "path": None} for each in pixels]
    rows = datasets.table.InMemoryTable.from_pydict(
        {"image": pictures, "label": [0, 1] * 10}, schema=features.arrow_schema
    )
    info = datasets.DatasetInfo(features=features)
    saved = datasets.Dataset(
        rows, info=info, fingerprint="made"
    )  # else a hash of itself, which dill cannot always make
    saved.save_to_disk(str(tmp_path / "saved"))
    config = images.Config(name="images", path="", size=4, channels=1, **FRACTIONS)
    source = sources.open_source(str(tmp_path / "saved"), lambda *given: config)
    order = np.random.RandomState(3).permutation(20)
    part = source.splits["train"]
    assert np.array_equal(part.read(np.arange(part.rows)), pixels[np.sort(order[:16])][..., None])
    assert part.labels[:, 0].tolist() == [number % 2 for number in np.sort(order[:16])]
