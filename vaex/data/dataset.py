"""What a run trains on: three splits of images, and the rules that make them from arrays.

Images are (N, H, W, C): uint8, whose mean value / 255 lies in [0, 1] (the train step converts on the device), or
float32, used as they are.
"""

import dataclasses
import hashlib
import math
from functools import cached_property
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from vaex.config import STRICT
from vaex.data.blocks import Blocks
from vaex.data.stored import Stored
from vaex.errors import DataError

type_of_images = UInt8[np.ndarray, "N H W C"] | Float32[np.ndarray, "N H W C"]
type_of_rows = type_of_images | Stored
"""Images in memory, or on a disk, where only parts of them are read."""
type_of_labels = Shaped[np.ndarray, "N L"]

FIRST_ROWS = 64


class Values(NamedTuple):
    """Smallest and largest value of all images, as stored; `few`: every value is one of the two."""

    low: float
    high: float
    few: bool


class Split(NamedTuple):
    """Images, and for each image a row of labels (one column a name in `Dataset.labels_named`) or none at all."""

    images: type_of_rows
    labels: type_of_labels | None

    def take(self, rows: slice | np.ndarray) -> "Split":
        """The chosen rows: a view for a slice, a copy for indices."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])

    def in_memory(self) -> "InMemory":
        """The rows, read where they lie on a disk."""
        return InMemory(np.asarray(self.images), self.labels)


class InMemory(NamedTuple):
    """A split whose images are there."""

    images: type_of_images
    labels: type_of_labels | None


class Packed(NamedTuple):
    """What is known of data that stay on a disk without looking at all of them, and the blocks they are read in."""

    digest: str
    values: Values
    blocks: Blocks

    def limited(self, rows: int) -> "Packed":
        """Of the first `rows` training rows, and the same share of the others."""
        return self._replace(digest=hashlib.sha256(f"{self.digest} {rows}".encode()).hexdigest())


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test rows; `remarks` has what a person should know of how they were read.

    `labels_in_digest`: whether the labels make the data what they are, or have only come along. `packed` is there
    where the images are `Stored`.
    """

    train: Split
    valid: Split
    test: Split
    labels_named: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    labels_in_digest: bool = True
    packed: Packed | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @cached_property
    def digest(self) -> str:
        """SHA-256 over dtype, shape and bytes of the images and labels of the three splits, in hex.

        Of packed data that of their index, which has those of all files.
        """
        if self.packed:
            return self.packed.digest
        sha256 = hashlib.sha256()
        splits = (self.train, self.valid, self.test)
        for array in (array for split in splits for array in (split.images, self._decisive(split.labels))):
            if array is None:
                sha256.update(b"none")
            else:
                sha256.update(f"{array.dtype.str}{array.shape}".encode())
                sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()

    def _decisive(self, labels: type_of_labels | None) -> type_of_labels | None:
        return labels if self.labels_in_digest else None

    @cached_property
    def values(self) -> Values:
        """Which values the images of all splits take."""
        if self.packed:
            return self.packed.values
        splits = [np.asarray(split.images) for split in (self.train, self.valid, self.test)]
        low, high = min(images.min() for images in splits), max(images.max() for images in splits)
        # Few rows tell it of nearly every dataset; only what is still of two values is looked at as a whole.
        few = all(_only(images[:FIRST_ROWS], low, high) for images in splits)
        return Values(float(low), float(high), few and all(_only(images, low, high) for images in splits))

    @property
    def extremes(self) -> type_of_images | None:
        """Two images, of the smallest and of the largest value, for a check that would read all; None in memory."""
        if self.packed is None:
            return None
        ends = np.array(self.packed.values[:2], self.train.images.dtype)
        return np.broadcast_to(ends[:, None, None, None], (2, *self.shape))

    def limited(self, rows: int | None) -> "Dataset":
        """The first `rows` training rows; of valid and test the same share, at least one row each."""
        if rows is None or rows >= len(self.train.images):
            return self

        def share(split: Split) -> Split:
            return split.take(slice(max(1, round(len(split.images) * rows / len(self.train.images)))))

        train, valid, test = self.train.take(slice(rows)), share(self.valid), share(self.test)
        packed = self.packed and self.packed.limited(rows)
        return dataclasses.replace(self, train=train, valid=valid, test=test, packed=packed)


def _only(images: type_of_images, low: np.generic, high: np.generic) -> bool:
    return bool(((images == low) | (images == high)).all())


type_of_limit = Annotated[int, Field(ge=1)] | None
"""Training rows to keep; null keeps all."""


def _sum_to_one(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise PydanticCustomError("fractions", "expected three fractions that sum to 1")
    return fractions


type_of_fraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class Fractions:
    """What every dataset's Config has besides its own keys, where the data come without a division into splits.

    `fractions: null` makes every split all rows: to set beside a fit of all of them, such as PCA's.
    """

    limit: type_of_limit
    fractions: (
        Annotated[tuple[type_of_fraction, type_of_fraction, type_of_fraction], AfterValidator(_sum_to_one)] | None
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]


def split_by_fractions(
    config: Fractions, rows: Split, labels_named: tuple[str, ...] = (), remarks: tuple[str, ...] = ()
) -> Dataset:
    """Shuffle with `split_seed`, cut into train, valid and test by `fractions`, keep `limit` of it.

    Without fractions the three are all rows, in the one shuffled order, so that `limit` keeps the same rows of each.
    Raises `DataError` when a split would be empty.
    """
    n = len(rows.images)
    # RandomState: its stream is frozen for good (NEP 19); default_rng's may change with NumPy's version.
    order = np.random.RandomState(config.split_seed).permutation(n)
    if config.fractions is None:
        all_rows = rows.take(order)
        return Dataset(all_rows, all_rows, all_rows, labels_named, remarks).limited(config.limit)
    n_valid, n_test = (round(n * fraction) for fraction in config.fractions[1:])
    n_train = n - n_valid - n_test
    if min(n_train, n_valid, n_test) < 1:
        raise DataError(
            f"dataset.fractions: {list(config.fractions)} of {n} rows leave {n_train} for train, {n_valid} for "
            f"valid, {n_test} for test; each needs at least one"
        )
    parts = np.split(order, [n_train, n_train + n_valid])
    train, valid, test = (rows.take(part) for part in parts)
    return Dataset(train, valid, test, labels_named, remarks).limited(config.limit)
