"""Images that stay in files, and are read a part at a time: an array, as far as rows of it are concerned.

Read, not mapped: a file that ends too early, or a disk that fails, is an error with a name, where a page of a mapped
file that is not there would end the process.
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from vaex.errors import DataError
from vaex.files import first_line


@dataclass(frozen=True)
class Shard:
    """A file with rows one after the other in C order, from a byte on."""

    path: Path
    offset: int
    rows: int


@dataclass(frozen=True, eq=False)
class Stored:
    """Rows `start` to `stop` of what the shards hold together. A slice is a view; indices are read, and are a copy."""

    shards: tuple[Shard, ...]
    shape_of_row: tuple[int, int, int]
    dtype: np.dtype[Any]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As an array's: N x H x W x C."""
        return (len(self), *self.shape_of_row)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 1 + len(self.shape_of_row)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self._row_bytes

    @cached_property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape_of_row)) * self.dtype.itemsize

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([shard.rows for shard in self.shards])

    def __getitem__(self, rows: Any) -> Any:
        """A view for a slice of step 1, what is read for an index or indices."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return replace(self, start=self.start + start, stop=self.start + max(start, stop))
            return self.take(np.arange(start, stop, step))
        if isinstance(rows, (int, np.integer)):
            return self.take(np.array([rows]))[0]
        rows = np.asarray(rows)
        return self.take(np.flatnonzero(rows) if rows.dtype == bool else rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Shaped[np.ndarray, "N H W C"]:
        """All rows, read."""
        images = np.empty(self.shape, self.dtype)
        self.read(0, images)
        return images if dtype is None else images.astype(dtype, copy=False)

    def take(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n H W C"]:
        """Some rows, in their order; raises `DataError`."""
        rows = np.where(rows < 0, rows + len(self), rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"row {rows.max()} of {len(self)}")
        images = np.empty((len(rows), *self.shape_of_row), self.dtype)
        for place, row in enumerate(rows):
            self.read(int(row), images[place : place + 1])
        return images

    def near(
        self, rows: Int[np.ndarray, " n"], block: int, room: Shaped[np.ndarray, "N H W C"]
    ) -> tuple[Shaped[np.ndarray, "m H W C"], Int[np.ndarray, " n"]]:
        """The blocks of so many rows in which some rows lie, read into `room`, and where those are in them."""
        numbers, places = np.unique(rows // block, return_inverse=True)
        starts = numbers * block
        counts = np.minimum(starts + block, len(self)) - starts
        before = np.cumsum(counts) - counts
        images = room[: counts.sum()]
        for start, count, first in zip(starts.tolist(), counts.tolist(), before.tolist(), strict=True):
            self.read(start, images[first : first + count])
        return images, before[places] + rows % block

    def read(self, first: int, images: Shaped[np.ndarray, "n H W C"]) -> None:
        """Fill `images` with the rows from `first` on; raises `DataError` that names the file."""
        row, done = self.start + first, 0
        while done < len(images):
            number = int(np.searchsorted(self._ends, row, side="right"))
            shard = self.shards[number]
            begins = int(self._ends[number]) - shard.rows
            count = min(len(images) - done, begins + shard.rows - row)
            _read(shard.path, shard.offset + (row - begins) * self._row_bytes, images[done : done + count])
            row, done = row + count, done + count


def _read(path: Path, offset: int, images: np.ndarray) -> None:
    """Fill an array from a byte of a file on."""
    left = memoryview(images.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            while left:
                count = os.preadv(descriptor, [left], offset)
                if count == 0:
                    raise DataError(
                        f"{path}: ends before byte {offset + len(left)}: it was changed since it was opened"
                    )
                left, offset = left[count:], offset + count
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}") from error
