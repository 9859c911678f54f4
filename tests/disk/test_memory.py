"""What a file costs: at most twice its size in memory, whatever it declares; text has a limit on its size besides."""

import contextlib
import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from vaex import config, files
from vaex.data import idx
from vaex.disk import alterations, checkpoint, metrics
from vaex.errors import InputError, VaexError

MEGABYTE = 1_000_000
SLACK = MEGABYTE
"""What a reading may take besides: buffers, messages, a table of contents."""

Content = Callable[[], bytes]
"""A parameter is kept from collection on, in each of pytest's processes: so it only tells how to make its megabytes."""

STEPWISE = (
    *("step", "seconds", "examples_per_second", "grad_norm_mean", "grad_norm_max", "update_norm_mean", "sigma_min"),
    *("sigma_max", "sigma_mean", "learning_rate", "kl_weight", "clamped_fraction", "skipped_steps", "active_latents"),
)
"""Columns of metrics.jsonl besides the terms."""


def peak(read: Callable[[], object]) -> int:
    """Bytes allocated at the peak of a reading, NumPy's and what it returns included; a refusal counts as one."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with contextlib.suppress(VaexError):
            read()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def rows(size: int, row: dict[str, object]) -> bytes:
    """So many bytes of metrics.jsonl, each row as given but for its epoch."""
    lines, total = [], 0
    while total < size:
        lines.append(metrics.as_line(row | {"epoch": len(lines) + 1}))
        total += len(lines[-1])
    return "".join(lines).encode()


def test_megabytes_of_metrics(tmp_path: Path):
    """Fifty of them take 1.7 times their size too, and minutes to be traced."""
    path = tmp_path / "metrics.jsonl"
    names = [
        *STEPWISE,
        *metrics.terms("train", -250 / 3, -1 / 3, 1 / 3, 784),
        *metrics.terms("valid", 0.0, 0.0, 0.0, 784),
    ]
    row = {name: number / 7 for number, name in enumerate(names, start=1)} | {"valid/kl_per_latent": [1 / 3] * 10}
    path.write_bytes(rows(2 * MEGABYTE, row))
    assert peak(lambda: metrics.read_rows(path)) < 2 * path.stat().st_size
    assert peak(lambda: alterations.first_altered_epoch(metrics.each_row(path), [])) < SLACK / 2
    every = [metrics.digest(row) for row in metrics.each_row(path)]
    assert peak(lambda: alterations.first_altered_epoch(metrics.each_row(path), every)) < SLACK / 2


@pytest.mark.parametrize(
    "content",
    [
        lambda: b'{"epoch": 1, "x": [' + b"[]," * 10 * MEGABYTE + b"[]]}\n",
        lambda: b'{"epoch": 1, "x": ' + b"[" * 30 * MEGABYTE,
        lambda: b'{"epoch": 1, "x": "' + b"a" * 30 * MEGABYTE + b'"}\n',
        lambda: b"".join(b'{"epoch": %d, "x": [[],[],{}]}\n' % n for n in range(1, MEGABYTE)),
        lambda: b"\n" * 30 * MEGABYTE,
    ],
    ids=["nested", "deep", "text", "objects", "newlines"],
)
def test_lines_that_are_no_rows(tmp_path: Path, content: Content):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content())
    assert peak(lambda: metrics.read_rows(path)) < 4 * MEGABYTE
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 1"):
        metrics.read_rows(path)


def test_megabytes_of_steps(tmp_path: Path):
    column = np.arange(MEGABYTE, dtype=np.float32)
    steps = dict.fromkeys(metrics.STEP_COLUMNS, column) | {"taken": np.ones(MEGABYTE, bool)}
    path = tmp_path / "steps.npz"
    path.write_bytes(metrics.steps_bytes([steps]))
    assert peak(lambda: metrics.read_steps(path)) < 2 * path.stat().st_size + SLACK


def small_steps() -> bytes:
    steps = dict.fromkeys(metrics.STEP_COLUMNS, np.ones(2, np.float32)) | {"taken": np.ones(2, bool)}
    return metrics.steps_bytes([steps])


def with_declared(content: bytes, offset: int, size: int) -> bytes:
    """A steps.npz whose first entry in the table of contents declares another size (at 20: packed, at 24: unpacked)."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, content.index(b"PK\1\2") + offset, size)
    return bytes(changed)


def many_members() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(30_000):
            archive.writestr(str(number), b"")
    return buffer.getvalue()


def one_region_seven_times() -> bytes:
    """Seven names for one array."""
    long = np.ones(MEGABYTE, np.float32)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        array = io.BytesIO()
        np.save(array, long)
        for name in metrics.STEP_COLUMNS:
            archive.writestr(f"{name}.npy", array.getvalue() if name == "loss" else b"")
        first = archive.getinfo("loss.npy")
        for info in archive.infolist():
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size, info.compress_size = first.file_size, first.compress_size
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        lambda: with_declared(small_steps(), 20, 1 << 30),
        lambda: with_declared(small_steps(), 24, 1 << 30),
        many_members,
        lambda: many_members() + b"PK\6\7" + bytes(16) + small_steps()[-22:],
        one_region_seven_times,
    ],
    ids=["packed size", "unpacked size", "many members", "another table of contents", "overlapping"],
)
def test_archives_that_declare_more_than_they_hold(tmp_path: Path, content: Content):
    path = tmp_path / "steps.npz"
    path.write_bytes(content())
    assert peak(lambda: metrics.read_steps(path)) < SLACK
    with pytest.raises(InputError, match=r"steps\.npz"):
        metrics.read_steps(path)


def test_a_checkpoint_of_fifty_megabytes(tmp_path: Path):
    path = tmp_path / "one.ckpt"
    checkpoint.save(path, {"kernel": np.ones((5000, 2500), np.float32)}, {"epoch": 1})
    assert peak(lambda: checkpoint.load(path)) < 2 * path.stat().st_size + SLACK


def safetensors_of(header: bytes, data: bytes = b"") -> bytes:
    payload = len(header).to_bytes(8, "little") + header + data
    return payload + hashlib.sha256(payload).digest()


def empty_arrays(count: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return json.dumps({"__metadata__": {"record": "{}"}} | {str(number): entry for number in range(count)}).encode()


TERABYTES = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_of(json.dumps({"__metadata__": {"record": "{}"}} | TERABYTES).encode(), bytes(100)),
        safetensors_of(json.dumps({"__metadata__": {"record": "{}"}} | TERABYTES).encode(), bytes(100))[8:],
        (2**62).to_bytes(8, "little") + bytes(100),
        safetensors_of(empty_arrays(50_000)),
        safetensors_of(b'{"__metadata__": {"record": "' + b"[" * 3 * MEGABYTE + b'"}}'),
    ],
    ids=["terabytes", "no length", "a length of exabytes", "many arrays", "a deep record"],
)
def test_checkpoints_that_declare_more_than_they_hold(tmp_path: Path, content: bytes):
    (tmp_path / "one.ckpt").write_bytes(content)
    assert peak(lambda: checkpoint.load(tmp_path / "one.ckpt")) < 2 * len(content) + SLACK
    with pytest.raises(InputError, match=r"one\.ckpt"):
        checkpoint.load(tmp_path / "one.ckpt")


def test_a_model_of_terabytes_is_compared_by_its_bytes_alone(tmp_path: Path):
    """`vaex reproduce` looks at model.safetensors only through its digest: no array is made, no link matters."""
    (tmp_path / "large").write_bytes(safetensors.numpy.save({"a": np.zeros(20 * MEGABYTE, np.uint8)}))
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "large")
    assert peak(lambda: files.sha256_of_file(tmp_path / "model.safetensors")) < SLACK


def test_idx_of_fifty_megabytes_is_a_view():
    payload = struct.pack(">HBB3I", 0, 8, 3, 50_000, 25, 40) + bytes(50 * MEGABYTE)
    assert peak(lambda: idx.read(payload, "x")) < SLACK
    assert idx.read(payload, "x").shape == (50_000, 25, 40)


YAML_BOMB = b"\n".join([b"a0: &a0 [1, 2]", *(b"a%d: &a%d [*a%d, *a%d]" % (i, i, i - 1, i - 1) for i in range(1, 60))])
LONG = 1 << 13


@pytest.mark.parametrize(
    "content",
    [
        lambda: YAML_BOMB,
        lambda: b"seed: " + b"[" * 500,
        lambda: b"seed: [" + b"[]," * (LONG // 3) + b"]",
        lambda: b"seed: {" + b"a," * (LONG // 2) + b"}",
        lambda: b"seed: 0x" + b"f" * LONG,
        lambda: b"0x" + b"f" * (LONG // 2) + b": 1",
        lambda: b"seed: " + b"1:" * (LONG // 2) + b"1",
        lambda: b"seed: " + b"9" * 5000,
        lambda: b"seed: 2001-99-99",
        lambda: b"a: " * 100 * MEGABYTE,
    ],
    ids=["bomb", "deep", "wide", "keys", "hexadecimal", "a number as key", "base 60", "digits", "a date", "megabytes"],
)
def test_configurations_that_are_none(tmp_path: Path, content: Content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content())

    def read() -> object:
        return config.parse(files.read_yaml(path))

    assert peak(read) < 500 * min(path.stat().st_size, files.LARGEST_YAML) + SLACK
    with pytest.raises(InputError) as caught:
        read()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"[" * MEGABYTE,
        lambda: b'{"a": ' * MEGABYTE,
        lambda: b'{"a": ' + b"9" * 5000 + b"}",
        lambda: b'{"a": [' + b"[]," * 3 * MEGABYTE + b"[]]}",
    ],
    ids=["deep lists", "deep objects", "digits", "megabytes"],
)
def test_json_that_is_no_summary(tmp_path: Path, content: Content):
    path = tmp_path / "summary.json"
    path.write_bytes(content())
    assert peak(lambda: files.read_json(path)) < 20 * files.LARGEST_JSON
    with pytest.raises(InputError, match=r"summary\.json: cannot be read as JSON"):
        files.read_json(path)
