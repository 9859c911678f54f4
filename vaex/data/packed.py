"""A folder of packed data: images of three splits in .npy shards, and index.json, which says what they are.

The index has the SHA-256 of every file, so its own is that of the data. It is believed for what takes long to find out
(hashes, smallest and largest value); size and header of every file are checked when the folder is opened.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vaex import files
from vaex.config import STRICT
from vaex.data import numpy_files
from vaex.data.blocks import Blocks
from vaex.data.dataset import Dataset, Packed, Split, Values
from vaex.data.stored import Shard, Stored
from vaex.errors import DataError

INDEX = "index.json"
SPLITS = ("train", "valid", "test")

OF_LABELS = numpy_files.Wanted("biufU", (2,), "numbers or text", "N x L")

type_of_count = Annotated[int, Field(ge=1)]
type_of_sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class File:
    """A .npy file of the folder."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*\.npy$")]
    rows: type_of_count
    bytes: type_of_count
    sha256: type_of_sha256


@dataclass(frozen=True, config=STRICT)
class Files:
    """A split: shards of images, and the file of its labels."""

    images: Annotated[tuple[File, ...], Field(min_length=1)]
    labels: File | None


@dataclass(frozen=True, config=STRICT)
class Extremes:
    """`Values` of all images."""

    low: float
    high: float
    few: bool


@dataclass(frozen=True, config=STRICT)
class Index:
    """What index.json holds. `shape` is (H, W, C); `block` is in rows, `window` in blocks (`data/blocks.py`)."""

    format: Literal[1]
    shape: tuple[type_of_count, type_of_count, type_of_count]
    dtype: Literal["uint8", "float32"]
    block: type_of_count
    window: type_of_count
    values: Extremes
    labels_named: tuple[str, ...]
    remarks: tuple[str, ...]
    train: Files
    valid: Files
    test: Files


_ADAPTER = TypeAdapter(Index)


def is_packed(folder: Path) -> bool:
    """Whether a folder has an index."""
    return (folder / INDEX).is_file()


def read_index(folder: Path) -> tuple[Index, str]:
    """The index, and the SHA-256 of its file; raises `DataError`."""
    path = folder / INDEX
    try:
        content = files.read_bytes(path, files.LARGEST_JSON)
        return _ADAPTER.validate_json(content, strict=True), files.sha256(content)
    except FileNotFoundError as error:
        raise DataError(f"{path}: is not there; `vaex data pack SRC {folder}` makes such a folder") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {files.first_line(error)}") from error
    except (ValidationError, ValueError) as error:
        raise DataError(f"{path}: not an index of packed data: {_what(error)}") from error


def _what(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return files.first_line(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def read(folder: Path) -> Dataset:
    """The data, whose images stay on the disk; raises `DataError` for a file that is missing or of another size."""
    index, digest = read_index(folder)
    train, valid, test = (_split(folder, index, getattr(index, name)) for name in SPLITS)
    values, blocks = Values(index.values.low, index.values.high, index.values.few), Blocks(index.block, index.window)
    return Dataset(train, valid, test, index.labels_named, index.remarks, packed=Packed(digest, values, blocks))


def states(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file of the folder, and whether it is here, missing or damaged, by its SHA-256."""
    index, _ = read_index(folder)
    for name in SPLITS:
        split: Files = getattr(index, name)
        for file in (*split.images, *([split.labels] if split.labels else [])):
            yield file.name, _state(folder / file.name, file)


def _state(path: Path, file: File) -> str:
    try:
        return "here" if files.sha256_of_file(path) == file.sha256 else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"


def _split(folder: Path, index: Index, split: Files) -> Split:
    shards = tuple(_shard(folder, index, file) for file in split.images)
    count = sum(shard.rows for shard in shards)
    images = Stored(shards, index.shape, np.dtype(index.dtype), 0, count)
    return Split(images, None if split.labels is None else _labels(folder, split.labels, count, index))


def _labels(folder: Path, file: File, count: int, index: Index) -> Any:
    _check_size(folder / file.name, file)
    labels = numpy_files.read(folder / file.name, OF_LABELS)
    if labels.shape != (count, len(index.labels_named)):
        raise DataError(
            f"{folder / file.name}: labels {labels.shape} of {count} images, {len(index.labels_named)} names"
        )
    return labels


def _shard(folder: Path, index: Index, file: File) -> Shard:
    path = folder / file.name
    _check_size(path, file)
    shape, dtype, offset = numpy_files.header(path)
    if (shape, dtype) != ((file.rows, *index.shape), np.dtype(index.dtype)):
        raise DataError(f"{path}: holds {shape} {dtype}, not what {INDEX} says; {_again(folder)}")
    return Shard(path, offset, file.rows)


def _check_size(path: Path, file: File) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {files.first_line(error)}; {_again(path.parent)}") from error
    if size != file.bytes:
        raise DataError(f"{path}: {size} bytes, {file.bytes} in {INDEX}: damaged; {_again(path.parent)}")


def _again(folder: Path) -> str:
    return f"copy it again, or pack {folder} again (`vaex data verify {folder}` names all that is damaged)"
