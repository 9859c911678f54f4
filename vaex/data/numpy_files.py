"""Arrays in NumPy files that somebody made, .npy or .npz by their content. Nothing in them is ever unpickled.

A header is checked against the file's size before NumPy allocates, or maps, what the header asks for.
"""

import io
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy

from vaex.errors import DataError
from vaex.files import first_line

UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What damaged files raise in NumPy and zipfile."""
BAD_HEADER = (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)
"""What NumPy raises for a damaged header, which it parses as a Python literal."""
HEADER_BYTES = 16384
"""More than NumPy itself accepts as a header."""
EXPANSION = 100
"""A compressed member of a .npz may not declare more than this times its size …"""
ALWAYS_ALLOWED = 1 << 28
"""… unless it is smaller than this, in bytes."""


class Wanted(NamedTuple):
    """What an array must be: the kinds of its dtype (NumPy's letters) and its number of axes, and both in words."""

    kinds: str
    axes: tuple[int, ...]
    values: str
    shapes: str


def names(path: Path) -> list[str] | None:
    """The arrays' names in a .npz; None for a file that is no archive. Raises `DataError`."""
    with _named(path):
        with path.open("rb") as stream:
            if stream.read(2) != b"PK":
                return None
        with zipfile.ZipFile(path) as archive:
            return list(_members(archive))


def read(path: Path, wanted: Wanted) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy; raises `DataError` that names the file."""
    with _named(path), path.open("rb") as stream:
        _check(stream, path.stat().st_size, str(path), wanted)
        return npy.read_array(stream, allow_pickle=False)


def mapped(path: Path, wanted: Wanted) -> Shaped[np.memmap, "..."]:
    """The array of a .npy, which stays on disk; raises `DataError` that names the file."""
    with _named(path):
        with path.open("rb") as stream:
            _check(stream, path.stat().st_size, str(path), wanted)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and dtype of a .npy in C order, and the byte at which its values begin; raises `DataError`."""
    with _named(path), path.open("rb") as stream:
        shape, by_column, dtype, offset = _header(stream, str(path))
    if by_column:
        raise DataError(f"{path}: its values lie column by column; save it with np.ascontiguousarray")
    return shape, dtype, offset


def member(path: Path, name: str, wanted: Wanted) -> Shaped[np.ndarray, "..."]:
    """An array of a .npz that has it; raises `DataError` that names the file."""
    with _named(path), zipfile.ZipFile(path) as archive:
        info = _members(archive)[name]
        # A size in a zip directory is only a claim, and so is the compressed one, which the file itself bounds.
        honest = min(info.compress_size, path.stat().st_size)
        if info.file_size > max(EXPANSION * honest, ALWAYS_ALLOWED):
            raise DataError(
                f"{path}: {name!r} unpacks from {honest} to {info.file_size} bytes; save it as .npy instead"
            )
        with archive.open(info) as stream:
            _check(stream, info.file_size, f"{path}[{name}]", wanted)
            return npy.read_array(stream, allow_pickle=False)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _check(stream: IO[bytes] | io.BufferedIOBase, size: int, name: str, wanted: Wanted) -> None:
    """Raise `DataError` unless the header is of such an array and of as many bytes; leaves the stream at its start."""
    shape, _, dtype, offset = _header(stream, name)
    if dtype != np.uint8 and dtype.kind not in wanted.kinds:
        raise DataError(f"{name}: values of type {dtype}; expected {wanted.values}")
    if len(shape) not in wanted.axes or min(shape) < 1:
        raise DataError(f"{name}: shape {shape}; expected {wanted.shapes}, each at least 1")
    expected = offset + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise DataError(f"{name}: its header declares {shape} {dtype}, {expected} bytes in all, not {size}")
    stream.seek(0)


def _header(stream: IO[bytes] | io.BufferedIOBase, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran's order, dtype, and where the values begin."""
    head = io.BytesIO(stream.read(HEADER_BYTES))
    try:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(head)]
        return (*read_header(head), head.tell())
    except BAD_HEADER as error:
        raise DataError(f"{name}: not a NumPy array (.npy or .npz)") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in what is raised for a damaged one."""
    try:
        yield
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}") from error
