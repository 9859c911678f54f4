"""The idx format of MNIST (LeCun, Cortes & Burges 1998), and the gzip around it.

A payload is two zero bytes, the code of the type (8: unsigned byte), the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values in C order.
"""

import gzip
import io
import math
import mmap
import struct
import zlib

import numpy as np
from jaxtyping import UInt8

from vaex.errors import DataError

UNSIGNED_BYTE = 8
MOST_DIMENSIONS = 4
"""Images, rows, columns, channels."""


def read(payload: bytes | mmap.mmap, name: str) -> UInt8[np.ndarray, "..."]:
    """The array of a decompressed idx payload: a read-only view of its bytes.

    Raises `DataError`, which starts with `name`, unless it is whole, of unsigned bytes, and holds at least one row.
    """
    zeros, code, n_dims = struct.unpack_from(">HBB", payload) if len(payload) >= 4 else (-1, 0, 0)
    if zeros != 0 or not 1 <= n_dims <= MOST_DIMENSIONS:
        raise DataError(f"{name}: not an idx file: it starts with the bytes {payload[:4].hex(' ') or '(none)'}")
    if code != UNSIGNED_BYTE:
        raise DataError(f"{name}: values of idx type 0x{code:02x}; expected unsigned bytes (0x08)")
    start = 4 + 4 * n_dims
    if len(payload) < start:
        raise DataError(f"{name}: cut off inside its header: {len(payload)} of {start} bytes")
    shape = struct.unpack_from(f">{n_dims}I", payload, 4)
    values = len(payload) - start
    if math.prod(shape) != values or values == 0:
        raise DataError(f"{name}: the header declares {shape}, {math.prod(shape)} values; the file has {values}")
    return np.frombuffer(payload, np.uint8, offset=start).reshape(shape)


def decompress(packed: bytes, name: str, limit: int) -> bytes:
    """The content of a gzip file, refused as soon as it grows over `limit` bytes.

    Raises `DataError`, which starts with `name`, for a truncated, damaged or oversized file.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            payload = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: truncated or damaged gzip file: {error}") from error
    if len(payload) > limit:
        raise DataError(f"{name}: holds more than the expected {limit} bytes")
    return payload
