"""The user's own NumPy file, .npy or .npz. Nothing in it is ever unpickled."""

import io
import math
import tokenize
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy
from pydantic.dataclasses import dataclass

from vaex import files
from vaex.config import STRICT
from vaex.config.validation import nearest
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions, type_of_images
from vaex.data.values import beyond
from vaex.errors import DataError

UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What damaged files raise in NumPy and zipfile."""
BAD_HEADER = (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)
"""What NumPy raises for a damaged header, which it parses as a Python literal."""
HEADER_BYTES = 16384
"""More than NumPy itself accepts as a header."""
EXPANSION = 100
"""A compressed member of a .npz may not declare more than this times its size …"""
ALWAYS_ALLOWED = 1 << 28
"""… unless it is smaller than this, in bytes."""
FACTORS = "factors"
"""The array of a .npz that says what is known of each image: N or N x L, a column a factor."""


class Wanted(NamedTuple):
    """What an array must be: the kinds of its dtype (NumPy's letters) and its number of axes, and both in words."""

    kinds: str
    axes: tuple[int, ...]
    values: str
    shapes: str


OF_IMAGES = Wanted("f", (2, 3, 4), "uint8 or float", "N x H x W, N x H x W x C or N x D")
OF_FACTORS = Wanted("biufU", (1, 2), "numbers or text", "N or N x L")


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
    images = _as_images(read(files.expanded(config.path), config.key))
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
    try:
        with path.open("rb") as stream:
            if stream.read(2) != b"PK":
                return _from_stream(stream, path.stat().st_size, str(path), OF_IMAGES)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            if key is None:
                others = [name for name in members if name != FACTORS or len(members) == 1]
                key = others[0] if len(others) == 1 else "images"
            return _from_archive(path, archive, key, OF_IMAGES)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_factors(path: Path) -> Shaped[np.ndarray, "N L"] | None:
    """What is known of each image, from a .npz; None where nothing is. Raises `DataError`."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if FACTORS not in _members(archive):
                return None
            factors = _from_archive(path, archive, FACTORS, OF_FACTORS)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return factors[:, None] if factors.ndim == 1 else factors


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"dataset.path: {path} cannot be read: {getattr(error, 'strerror', None) or error}")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _from_archive(path: Path, archive: zipfile.ZipFile, key: str, wanted: Wanted) -> Shaped[np.ndarray, "..."]:
    members = _members(archive)
    if key not in members:
        raise DataError(f"dataset.key: {path} has no array {key!r}{nearest(key, members)} (it has {_some(members)})")
    info = members[key]
    # A size in a zip directory is only a claim, and so is the compressed one, which the file itself bounds.
    honest = min(info.compress_size, path.stat().st_size)
    if info.file_size > max(EXPANSION * honest, ALWAYS_ALLOWED):
        raise DataError(f"{path}: {key!r} unpacks from {honest} to {info.file_size} bytes; save it as .npy instead")
    with archive.open(info) as stream:
        return _from_stream(stream, info.file_size, f"{path}[{key}]", wanted)


def _from_stream(
    stream: IO[bytes] | io.BufferedIOBase, size: int, name: str, wanted: Wanted
) -> Shaped[np.ndarray, "..."]:
    """Check the header against the size before NumPy allocates what the header asks for."""
    stream.seek(0)
    head = io.BytesIO(stream.read(HEADER_BYTES))
    try:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(head)]
        shape, _, dtype = read_header(head)
    except BAD_HEADER as error:
        raise DataError(f"{name}: not a NumPy array (.npy or .npz)") from error
    if dtype != np.uint8 and dtype.kind not in wanted.kinds:
        raise DataError(f"{name}: values of type {dtype}; expected {wanted.values}")
    if len(shape) not in wanted.axes or min(shape) < 1:
        raise DataError(f"{name}: shape {shape}; expected {wanted.shapes}, each at least 1")
    expected = head.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise DataError(f"{name}: its header declares {shape} {dtype}, {expected} bytes in all, not {size}")
    stream.seek(0)
    return npy.read_array(stream, allow_pickle=False)


def _as_images(array: Shaped[np.ndarray, "..."]) -> type_of_images:
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


def _some(names: dict[str, zipfile.ZipInfo]) -> str:
    return ", ".join(list(names)[:8]) + (", …" if len(names) > 8 else "") or "none"
