"""A source of images -> the folder of `data/packed.py`, whole or not at all."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from vaex import files
from vaex.data.dataset import FIRST_ROWS, type_of_images
from vaex.data.packed import INDEX, SPLITS
from vaex.data.values import beyond
from vaex.errors import DataError, InputError, VaexError
from vaex.packing.rows import Part, Source

BLOCK_BYTES, WINDOW = 1 << 20, 64
"""A block is about as large as a disk reads well at once; so many blocks are a window, 64 MiB."""

SHARD_BYTES = 1 << 28
"""Of a file, about: few enough files, and each copied or checked in seconds."""

PART_BYTES = 1 << 24
"""Read and written at once."""

Tell = Callable[[str, int, int], None]


def write(source: Source, folder: Path, tell: Tell = lambda split, done, of: None) -> dict[str, Any]:
    """Write the folder, which must not be there; returns the index. `tell` hears how far it is.

    It is made beside its place under a hidden name, so one that is there is whole; what an attempt that was killed
    left is removed by the next.
    """
    with _disk(folder):
        if folder.exists() or folder.is_symlink():
            raise InputError(f"{folder}: is there already; remove it, or name another place")
    made = folder.with_name(f".{folder.name}.packing")
    with _made(made, folder), files.locked(made, "packing"), _disk(folder):
        try:
            _empty(made)
            index = _Writer(made, source, tell).write()
            (made / ".lock").unlink()
            made.rename(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        files.sync_directory(folder.parent)
    return index


@contextmanager
def _made(made: Path, folder: Path) -> Iterator[None]:
    """The folder under its hidden name, and those above it; where it comes to nothing, they go again."""
    above = [each for each in made.parents if not each.exists()]
    with _disk(folder):
        made.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else has put something there
            for each in above:
                each.rmdir()
        raise


def _empty(made: Path) -> None:
    for path in made.iterdir():
        if path.name != ".lock":
            path.unlink()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """One line for what the disk says."""
    try:
        yield
    except OSError as error:
        full = "; nothing was kept" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise VaexError(f"{folder}: cannot be written: {files.first_line(error)}{full}") from error


class _Writer:
    def __init__(self, folder: Path, source: Source, tell: Tell):
        self._folder, self._source, self._tell = folder, source, tell
        first = source.splits["train"].read(np.arange(1))
        self._shape, self._dtype = first.shape[1:], first.dtype
        row = max(1, first.nbytes)
        self._block = max(1, BLOCK_BYTES // row)
        self._a_part = max(1, PART_BYTES // row)
        self._a_shard = max(1, SHARD_BYTES // row // self._block) * self._block
        self._low, self._high, self._few = np.inf, -np.inf, True
        self._two: set[float] = set()

    def write(self) -> dict[str, Any]:
        splits = {name: self._split(name, self._source.splits[name]) for name in SPLITS}
        self._check_range()
        pictures = sum(part.rows for part in self._source.splits.values())
        index = {
            "format": 1,
            "shape": list(map(int, self._shape)),
            "dtype": str(self._dtype),
            "block": self._block,
            "window": WINDOW,
            "values": {"low": self._low, "high": self._high, "few": self._few},
            "labels_named": list(self._source.labels_named),
            "remarks": [*self._source.remarks, *self._source.frames.remarks(pictures)],
            **splits,
        }
        files.write_json(self._folder / INDEX, index)
        return index

    def _split(self, name: str, part: Part) -> dict[str, Any]:
        starts = range(0, part.rows, self._a_shard)
        shards = [
            self._shard(name, part, number, first, min(first + self._a_shard, part.rows))
            for number, first in enumerate(starts)
        ]
        labels = None if part.labels is None else self._labels(name, np.ascontiguousarray(part.labels))
        return {"images": shards, "labels": labels}

    def _shard(self, split: str, part: Part, number: int, first: int, end: int) -> dict[str, Any]:
        def pieces() -> Iterator[np.ndarray]:
            for start in range(first, end, self._a_part):
                stop = min(start + self._a_part, end)
                images = np.ascontiguousarray(part.read(np.arange(start, stop)))
                self._check(images, split, part, start)
                yield images
                self._tell(split, stop, part.rows)

        return self._file(f"{split}-{number:05}.npy", (end - first, *self._shape), self._dtype, pieces())

    def _labels(self, split: str, labels: np.ndarray) -> dict[str, Any]:
        return self._file(f"{split}-labels.npy", labels.shape, labels.dtype, iter([labels]))

    def _file(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], pieces: Iterator[np.ndarray]) -> Any:
        sha256 = hashlib.sha256()

        class Hashed:
            def write(self, content: Any) -> int:
                sha256.update(content)
                return file.write(content)

        with (self._folder / name).open("wb", buffering=0) as file:
            described = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(Hashed(), described)  # pyright: ignore[reportArgumentType]
            for piece in pieces:
                left = memoryview(piece.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
                sha256.update(left)
                while left:
                    left = left[file.write(left) :]
            os.fsync(file.fileno())
            size = file.tell()
        return {"name": name, "rows": shape[0], "bytes": size, "sha256": sha256.hexdigest()}

    def _check(self, images: type_of_images, split: str, part: Part, start: int) -> None:
        """Take in smallest and largest value; raise `DataError` for what cannot be packed."""
        if images.shape[1:] != self._shape or images.dtype != self._dtype:
            raise DataError(f"{split}: images {images.shape[1:]} {images.dtype}, others {self._shape} {self._dtype}")
        low, high = images.min(), images.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            row = part.place(start + int(np.argmin(np.isfinite(images).all(axis=(1, 2, 3)))))
            raise DataError(f"{self._source.named}: values that are not finite in float32, as in row {row} ({split})")
        self._low, self._high = min(self._low, float(low)), max(self._high, float(high))
        self._two |= {float(low), float(high)} if self._few else set()
        self._few = self._few and len(self._two) <= 2 and _only(images[:FIRST_ROWS], low, high)
        self._few = self._few and _only(images, low, high)

    def _check_range(self) -> None:
        declared, scale = self._source.declared, 255 if self._dtype == np.uint8 else 1
        low, high = self._low / scale, self._high / scale
        if declared and (low < declared[0] or high > declared[1]):
            values = f"values from {beyond(low, declared[0])} to {beyond(high, declared[1])}"
            raise DataError(f"{self._source.named}: {values}, outside dataset.range={list(declared)}")


def _only(images: type_of_images, low: Any, high: Any) -> bool:
    return bool(((images == low) | (images == high)).all())
