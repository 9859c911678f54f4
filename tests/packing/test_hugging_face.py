"""What people save with Hugging Face's `datasets` besides pictures and classes: formats, splits, no class."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.packing.test_sources import of_pictures, png
from vaex.commands import data
from vaex.data import packed
from vaex.errors import DataError
from vaex.packing import sources
from vaex.packing.rows import Source

datasets: Any = pytest.importorskip("datasets", reason="Hugging Face's datasets: pip install datasets")
PIXELS = np.random.default_rng(2).integers(0, 256, (20, 4, 4), np.uint8)


def pictures(pixels: np.ndarray) -> list[Any]:
    return [{"bytes": png(each), "path": None} for each in pixels]


def rows(pixels: np.ndarray = PIXELS, classes: list[int | None] | None = None, columns: tuple[str, ...] = ("image",)):
    """A dataset in memory, of pictures in each of some columns, and classes."""
    return made(pictures(pixels), classes, columns)


def made(each: list[Any], classes: list[int | None] | None = None, columns: tuple[str, ...] = ("image",)):
    """The same of pictures as they are stored."""
    features = {name: datasets.Image() for name in columns} | {"label": datasets.ClassLabel(names=["a", "b"])}
    content: dict[str, list[Any]] = dict.fromkeys(columns, each)
    content["label"] = classes or [number % 2 for number in range(len(each))]
    features = datasets.Features(features)
    table = datasets.table.InMemoryTable.from_pydict(content, schema=features.arrow_schema)
    # a fingerprint, else a hash of itself, which dill cannot always make
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features), fingerprint="made")


def opened(folder: Path, saved: Any, **more: Any) -> Source:
    saved.save_to_disk(str(folder))
    return sources.open_source(str(folder), lambda *_: dataclasses.replace(of_pictures(), **more))


def test_what_was_saved_is_divided_in_the_order_of_its_rows(tmp_path):
    part = opened(tmp_path / "saved", rows()).splits["train"]
    kept = np.sort(np.random.RandomState(3).permutation(20)[:16])
    assert np.array_equal(part.read(np.arange(part.rows)), PIXELS[kept][..., None])
    assert part.labels[:, 0].tolist() == [number % 2 for number in kept]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (None, "is not there"),
        ({"bytes": b"no picture", "path": None}, "not an image"),
        (pictures(np.zeros((1, 4, 4, 4), np.uint8))[0], "has transparent pixels"),
    ],
    ids=["null", "no picture", "transparent"],
)
def test_pictures_are_refused_as_those_of_a_folder_are(tmp_path, broken, told):
    part = opened(tmp_path / "saved", made([broken] * 20)).splits["train"]
    with pytest.raises(DataError, match=f"saved: picture .*: {told}"):
        part.read(np.arange(1))


def test_its_own_splits_keep_what_the_limit_leaves(tmp_path):
    splits = {"train": rows(), "validation": rows(PIXELS[:10]), "test": rows(PIXELS[:1])}
    source = opened(tmp_path / "saved", datasets.DatasetDict(splits), limit=4)
    assert {name: part.rows for name, part in source.splits.items()} == {"train": 4, "valid": 2, "test": 1}
    assert np.array_equal(source.splits["train"].read(np.arange(4)), PIXELS[:4, ..., None])
    assert source.splits["train"].labels[:, 0].tolist() == [0, 1, 0, 1]
    assert source.choices == ()


def test_a_format_that_was_saved_too_changes_nothing(tmp_path):
    """Rows as arrays, and not the column of pictures, which `set_format` leaves out of them."""
    saved = rows()
    saved.set_format("numpy", columns=["label"])
    part = opened(tmp_path / "saved", saved).splits["train"]
    assert part.read(np.arange(2)).shape == (2, 4, 4, 1)
    assert part.labels.shape == (16, 1)


def test_rows_without_a_class_have_minus_one(tmp_path):
    saved = rows(classes=[None, 1, 0, None] * 5)
    labels = opened(tmp_path / "saved", saved, limit=None).splits["train"].labels
    assert labels.dtype.kind == "i"
    order = np.sort(np.random.RandomState(3).permutation(20)[:16])
    assert labels[:, 0].tolist() == [[-1, 1, 0, -1][row % 4] for row in order]


def test_what_is_left_out_is_said(tmp_path, capsys):
    splits = datasets.DatasetDict({"train": rows(columns=("image", "mask")), "test": rows(columns=("image", "mask"))})
    splits.save_to_disk(str(tmp_path / "saved"))
    words = ["pack", str(tmp_path / "saved"), str(tmp_path / "packed"), "dataset.size=4", "dataset.channels=1"]
    assert data.main(words) == 0
    columns, said, _ = capsys.readouterr().out.splitlines()
    assert columns == f"{tmp_path / 'saved'}: of its columns of images (image, mask) image"
    assert said == f"{tmp_path / 'saved'}: of its splits (train, test) train, divided into three"
    assert packed.read(tmp_path / "packed").remarks == ()


def test_a_damaged_file_is_named(tmp_path):
    rows().save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    content = arrow.read_bytes()
    arrow.write_bytes(content[: len(content) // 2])

    def read() -> None:
        sources.open_source(str(tmp_path / "saved"), of_pictures).splits["train"].read(np.arange(16))

    with pytest.raises(DataError, match="saved: cannot be read by Hugging Face's datasets: "):
        read()
