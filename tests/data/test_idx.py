import contextlib
import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaex.data import idx
from vaex.errors import DataError


def payload(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_an_array_comes_back(shape: list[int], random):
    array = np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    np.testing.assert_array_equal(idx.read(payload(array), "x"), array)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_array_or_a_data_error(content: bytes):
    for candidate in (content, b"\0\0\x08" + content):
        with contextlib.suppress(DataError):
            assert idx.read(candidate, "x").size > 0


GOOD = payload(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not an idx file"),
        (b"\0\0\x08", "not an idx file"),
        (b"\x89PNG" + GOOD, "not an idx file: it starts with the bytes 89 50 4e 47"),
        (b"\0\0\x08\0", "not an idx file"),
        (b"\0\0\x08\x41" + 65 * b"\0\0\0\x01" + b"\x07", "not an idx file"),  # more dimensions than NumPy has
        (b"\0\0\x0d" + GOOD[3:], "idx type 0x0d; expected unsigned bytes"),
        (GOOD[:9], "cut off inside its header"),
        (GOOD[:-1], "6 values; the file has 5"),
        (GOOD + b"\0", "6 values; the file has 7"),
        (struct.pack(">HBB2I", 0, 8, 2, 0, 28), "0 values; the file has 0"),
    ],
)
def test_what_is_wrong_is_said_and_the_file_named(content: bytes, what: str):
    with pytest.raises(DataError) as caught:
        idx.read(content, "some-file")
    assert str(caught.value).startswith("some-file: ")
    assert what in str(caught.value)


def test_a_huge_declared_shape_allocates_nothing():
    huge = struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4) + b"abc"
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="the file has 3"):
            idx.read(huge, "x")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_gzip_comes_back_also_in_several_members():
    assert idx.decompress(gzip.compress(GOOD), "x", len(GOOD)) == GOOD
    assert idx.decompress(gzip.compress(b"ab") + gzip.compress(b"cd"), "x", 4) == b"abcd"


@pytest.mark.parametrize("cut", [1, 9, 20, -9, -1])
def test_truncated_gzip_is_refused_by_name(cut: int):
    with pytest.raises(DataError, match=r"^x\.gz: truncated or damaged gzip file: "):
        idx.decompress(gzip.compress(bytes(range(256)) * 4)[:cut], "x.gz", 1024)


def test_damaged_gzip_is_refused():
    packed = bytearray(gzip.compress(bytes(range(256)) * 4))
    packed[-6] ^= 1  # of the checksum
    with pytest.raises(DataError, match="damaged"):
        idx.decompress(bytes(packed), "x.gz", 1024)
    with pytest.raises(DataError, match="damaged"):
        idx.decompress(b"<html>not found</html>", "x.gz", 1024)


def test_a_bomb_is_refused_before_it_unpacks():
    bomb = gzip.compress(bytes(200_000_000), 1)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than the expected 1000 bytes"):
            idx.decompress(bomb, "x.gz", 1000)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(bomb)
    finally:
        tracemalloc.stop()
