"""The user's own NumPy file, .npy or .npz. Nothing in it is ever unpickled."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped
from pydantic.dataclasses import dataclass

from vaex import files
from vaex.config import STRICT
from vaex.config.validation import nearest
from vaex.data import numpy_files
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions, type_of_images
from vaex.data.values import beyond
from vaex.errors import DataError

FACTORS = "factors"
"""The array of a .npz that says what is known of each image: N or N x L, a column a factor."""


OF_IMAGES = numpy_files.Wanted("f", (2, 3, 4), "uint8 or float", "N x H x W, N x H x W x C or N x D")
OF_FACTORS = numpy_files.Wanted("biufU", (1, 2), "numbers or text", "N or N x L")


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """The file, the array in it, and the range of values the user declares."""

    name: Literal["arrays"]
    path: str
    key: str | None
    range: tuple[float, float] | None


def load(config: Config) -> Dataset:
    """N x H x W [x C] or N x D images, uint8 or float; N x D becomes (N, 1, D, 1). Raises `DataError`.

    Labels are the factors of a .npz, if it has any. A model does not see them, so they are not in the digest.
    """
    images = as_images(read(files.expanded(config.path), config.key))
    if config.range == (0, 1) and images.dtype == np.uint8 and images.max() <= 1:
        images = images * np.uint8(255)  # a mask: 1 is white; a byte a pixel still
    _check_values(images, config.range, config.path)
    factors = read_factors(files.expanded(config.path))
    if factors is None:
        return split_by_fractions(config, Split(images, None))
    if len(factors) != len(images):
        raise DataError(f"{config.path}: {len(factors)} rows of {FACTORS!r} for {len(images)} images")
    names = tuple(f"factor_{column}" for column in range(factors.shape[1]))
    return replace(split_by_fractions(config, Split(images, factors), names), labels_in_digest=False)


def read(path: Path, key: str | None) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file, or the one called `key` of a .npz file; raises `DataError` that names the file.

    Without a key it is the only one (but for factors), or "images".
    """
    if not path.is_file():
        raise DataError(f"dataset.path: {path} is not a file")
    members = numpy_files.names(path)
    if members is None:
        return numpy_files.read(path, OF_IMAGES)
    if key is None:
        others = [name for name in members if name != FACTORS or len(members) == 1]
        key = others[0] if len(others) == 1 else "images"
    if key not in members:
        raise DataError(f"dataset.key: {path} has no array {key!r}{nearest(key, members)} (it has {_some(members)})")
    return numpy_files.member(path, key, OF_IMAGES)


def read_factors(path: Path) -> Shaped[np.ndarray, "N L"] | None:
    """What is known of each image, from a .npz; None where nothing is. Raises `DataError`."""
    if FACTORS not in (numpy_files.names(path) or ()):
        return None
    factors = numpy_files.member(path, FACTORS, OF_FACTORS)
    return factors[:, None] if factors.ndim == 1 else factors


def as_images(array: Shaped[np.ndarray, "..."]) -> type_of_images:
    """N x H x W x C of what was read, float32 where it is not uint8."""
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            array = array.astype(np.float32, copy=False)
    if array.ndim == 2:
        return array[:, None, :, None]
    return array[..., None] if array.ndim == 3 else array


def _check_values(images: type_of_images, declared: tuple[float, float] | None, name: str) -> None:
    if not np.isfinite(images).all():
        rows = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        raise DataError(f"{name}: {len(rows)} rows with values that are not finite in float32, first row {rows[0]}")
    if declared is None:
        return
    scale = 255 if images.dtype == np.uint8 else 1
    low, high = float(images.min()) / scale, float(images.max()) / scale
    if low < declared[0] or high > declared[1]:
        values = f"values from {beyond(low, declared[0])} to {beyond(high, declared[1])}"
        raise DataError(f"{name}: {values}, outside dataset.range={list(declared)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") or "none"
