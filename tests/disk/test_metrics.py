"""Rows, digests and the files of metrics, against plain Python; readers against whatever bytes."""

import contextlib
import hashlib
import io
import json
import math
import statistics
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaex.disk import metrics
from vaex.errors import InputError

WATCHED = ("loss", "reconstruction", "kl", "grad_norm", "update_norm", "sigma_mean", "clamped_fraction")


def some_steps(count: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    names = (*WATCHED, "sigma_min", "sigma_max", "learning_rate", "kl_weight")
    steps = {name: random.uniform(1, 300, count).astype(np.float32) for name in names}
    steps["examples"] = np.array([128] * (count - 1) + [31], np.float32)
    return steps | {
        "taken": np.ones(count, bool),
        "applied": np.ones(count, bool),
        "diverged": np.zeros(count, bool),
    }


def plain_mean(steps: dict[str, np.ndarray], name: str, chosen: list[int]) -> float:
    total = math.fsum(float(steps[name][i]) * float(steps["examples"][i]) for i in chosen)
    return total / math.fsum(float(steps["examples"][i]) for i in chosen)


def check_epoch(steps: dict[str, np.ndarray], chosen: list[int], last: int, skipped: int) -> None:
    row = metrics.epoch_row(steps, pixels=784)
    for name in ("loss", "reconstruction", "kl"):
        assert row[f"train/{name}"] == pytest.approx(plain_mean(steps, name, chosen), rel=1e-12)
    elbo = -(plain_mean(steps, "reconstruction", chosen) + plain_mean(steps, "kl", chosen))
    assert row["train/elbo"] == pytest.approx(elbo, rel=1e-12)
    assert row["train/elbo_per_pixel"] == pytest.approx(elbo / 784, rel=1e-12)
    assert row["grad_norm_mean"] == pytest.approx(plain_mean(steps, "grad_norm", chosen), rel=1e-12)
    assert row["update_norm_mean"] == pytest.approx(plain_mean(steps, "update_norm", chosen), rel=1e-12)
    assert row["sigma_mean"] == pytest.approx(plain_mean(steps, "sigma_mean", chosen), rel=1e-12)
    assert row["clamped_fraction"] == pytest.approx(plain_mean(steps, "clamped_fraction", chosen), rel=1e-12)
    assert row["grad_norm_max"] == max(float(steps["grad_norm"][i]) for i in chosen)
    assert row["sigma_min"] == min(float(steps["sigma_min"][i]) for i in chosen)
    assert row["sigma_max"] == max(float(steps["sigma_max"][i]) for i in chosen)
    assert (row["learning_rate"], row["kl_weight"]) == (steps["learning_rate"][last], steps["kl_weight"][last])
    assert row["skipped_steps"] == skipped


def test_an_epoch():
    check_epoch(some_steps(), chosen=[0, 1, 2, 3, 4, 5, 6], last=6, skipped=0)


def test_skipped_steps_are_counted_and_not_averaged():
    steps = some_steps()
    for i in (1, 4):
        steps["applied"][i] = False
        steps["loss"][i] = steps["grad_norm"][i] = np.nan
    check_epoch(steps, chosen=[0, 2, 3, 5, 6], last=6, skipped=2)


def test_steps_after_the_divergence_do_not_exist_and_the_diverged_one_shows():
    steps = some_steps()
    steps["taken"][4:] = steps["applied"][3:] = False
    steps["diverged"][3] = True
    check_epoch(steps, chosen=[0, 1, 2, 3], last=3, skipped=0)
    steps["kl"][3] = np.inf
    row = metrics.epoch_row(steps, 784)
    assert row["train/kl"] == math.inf
    assert json.loads(metrics.as_line(row))["train/kl"] is None
    assert math.isfinite(row["train/reconstruction"])


def test_an_epoch_in_which_every_step_was_skipped():
    steps = some_steps()
    steps["applied"][:] = False
    row = metrics.epoch_row(steps, 784)
    assert math.isnan(row["train/elbo"])
    assert math.isnan(row["sigma_max"])
    assert row["skipped_steps"] == 7


def test_an_evaluation():
    means = {
        "loss": np.array(250.5, np.float32),
        "reconstruction": np.array(240.25, np.float32),
        "kl_per_latent": np.array([5.0, 0.01, 0.0101, 0.0], np.float32),
    }
    kl = math.fsum(float(value) for value in means["kl_per_latent"])
    row = metrics.evaluation_row("valid", means, 100)
    assert row["valid/loss"] == 250.5
    assert row["valid/kl"] == pytest.approx(kl, rel=1e-12)
    assert row["valid/elbo"] == pytest.approx(-(240.25 + kl), rel=1e-12)
    assert row["valid/elbo_per_pixel"] == pytest.approx(-(240.25 + kl) / 100, rel=1e-12)
    assert row["valid/kl_per_latent"] == [float(value) for value in means["kl_per_latent"]]
    assert row["active_latents"] == 2  # above 0.01 nats: float32(0.01) is not
    assert "active_latents" not in metrics.evaluation_row("test", means, 100)


@settings(max_examples=60)
@given(
    losses=st.lists(st.sampled_from([1.0, 2.0, 60.0, 300.0, math.inf, -math.inf, math.nan]), max_size=130),
    nats=st.sampled_from([0.5, 50.0, 1e9]),
)
def test_loss_spikes(losses: list[float], nats: float):
    count = 0
    for i, loss in enumerate(losses):
        before = [value for value in losses[i - 50 : i] if not math.isnan(value)] if i >= 50 else []
        spike = bool(before) and loss > statistics.median(before) + nats
        count += spike or not math.isfinite(loss)
    with np.errstate(all="ignore"):
        assert metrics.loss_spikes(np.array(losses, np.float32), nats) == count


def test_the_digest_leaves_out_what_is_of_the_machine():
    row = {"epoch": 1, "seconds": 1.5, "examples_per_second": 7.0, "valid/elbo": math.nan, "list": [1.0, math.inf]}
    reference = hashlib.sha256(b'{"epoch": 1, "list": [1.0, null], "valid/elbo": null}').hexdigest()
    assert metrics.digest(row) == reference
    assert metrics.digest(json.loads(metrics.as_line(row | {"seconds": 9.0}))) == reference
    assert metrics.digest(row | {"epoch": 2}) != reference
    assert metrics.digest(row | {"list": [1.0, np.nextafter(1.0, 2.0)]}) != metrics.digest(row)


LINES = b"".join(metrics.as_line({"epoch": n, "x": n / 3, "l": [1.0, None]}).encode() for n in (1, 2, 3))


def read_rows(content: bytes) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "metrics.jsonl").write_bytes(content)
        return metrics.read_rows(Path(folder) / "metrics.jsonl")


def test_rows_come_back_and_an_unfinished_line_does_not():
    assert read_rows(LINES) == [{"epoch": n, "x": n / 3, "l": [1.0, None]} for n in (1, 2, 3)]
    for cut in range(1, len(LINES)):
        assert len(read_rows(LINES[:cut])) == LINES[:cut].count(b"\n")
    assert read_rows(b"") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"epoch": 1}\n{"epoch": 3}\n', "line 2 is not the row of epoch 2"),
        (b'{"epoch": 1}\n\n{"epoch": 2}\n', "line 2 is not JSON"),
        (b"[1]\n", "line 1 is not the row"),
        (b'{"epoch": 1}\n\x00\x00\n', "line 2 is not JSON"),
        (b"\xff\n", "line 1 is not JSON"),
        (b"[" * 100_000 + b"\n", "line 1 is not JSON"),
        (b"1" * 10_000 + b"\n", "line 1 is not JSON"),
    ],
)
def test_damaged_lines_are_named(content: bytes, message: str):
    with pytest.raises(InputError, match=rf"metrics\.jsonl: {message}"):
        read_rows(content)
    with pytest.raises(InputError, match="No such file"):
        metrics.read_rows(Path("/nonexistent/metrics.jsonl"))


@settings(max_examples=200)
@given(data=st.data())
def test_no_bytes_break_the_reader_of_rows(data: st.DataObject):
    content = data.draw(st.one_of(st.binary(max_size=200), flipped(LINES)))
    with contextlib.suppress(InputError):
        rows = read_rows(content)
        assert [row["epoch"] for row in rows] == list(range(1, content.count(b"\n") + 1))


def flipped(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with one byte changed, or cut short."""

    def change(position: int, value: int) -> bytes:
        return content[:position] + (bytes([value]) + content[position + 1 :] if value < 256 else b"")

    return st.builds(change, st.integers(0, len(content) - 1), st.integers(0, 300))


STEPS = metrics.steps_bytes([some_steps(), some_steps(5, seed=1)])


def read_steps(content: bytes) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "steps.npz").write_bytes(content)
        return metrics.read_steps(Path(folder) / "steps.npz")


def test_steps_come_back_and_numpy_reads_them_too():
    back = read_steps(STEPS)
    with np.load(io.BytesIO(STEPS), allow_pickle=False) as archive:
        assert set(archive.files) == set(back) == set(metrics.STEP_COLUMNS)
        for name in metrics.STEP_COLUMNS:
            expected = np.concatenate([some_steps()[name], some_steps(5, seed=1)[name]])
            np.testing.assert_array_equal(back[name], expected)
            np.testing.assert_array_equal(archive[name], expected)
            assert back[name].dtype == archive[name].dtype == np.float32


def test_steps_that_were_not_taken_are_not_in_the_file():
    steps = some_steps()
    steps["taken"][4:] = False
    assert len(read_steps(metrics.steps_bytes([metrics.taken_steps(steps)]))["loss"]) == 4


def archive_of(member: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in metrics.STEP_COLUMNS:
            archive.writestr(f"{name}.npy", member)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize(
    "content",
    [
        archive_of(npy((2**40,), data=b"1234")),
        archive_of(npy((2**62, 2**62))),
        archive_of(npy((1,), "|O", b"cos\nsystem\n")),
        archive_of(npy((1,), "<f8", b"12345678")),
        archive_of(npy((1, 1), data=b"1234")),
        archive_of(npy((2,), data=b"1234")),
        archive_of(npy((2,), data=b"12345")),
        archive_of(npy((10**6,), data=bytes(4 * 10**6)), zipfile.ZIP_DEFLATED),
        archive_of(b""),
        b"",
        b"PK",
    ],
    ids=[
        *("terabytes", "overflow", "objects", "float64", "two dimensions", "too short", "too long", "compressed"),
        *("empty members", "nothing", "magic alone"),
    ],
)
def test_what_a_steps_file_may_not_declare(content: bytes):
    with pytest.raises(InputError, match=r"steps\.npz"):
        read_steps(content)


def test_columns_of_unequal_length():
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.zeros(n, np.float32) for n, name in enumerate(metrics.STEP_COLUMNS)})
    with pytest.raises(InputError, match="not of one length"):
        read_steps(buffer.getvalue())


@settings(max_examples=300)
@given(data=st.data())
def test_no_bytes_break_the_reader_of_steps(data: st.DataObject):
    """A flipped byte is refused, or lies where it changes nothing (a date, an attribute)."""
    content = data.draw(st.one_of(st.binary(max_size=200), flipped(STEPS)))
    with contextlib.suppress(InputError):
        steps = read_steps(content)
        assert all(steps[name].tobytes() == array.tobytes() for name, array in read_steps(STEPS).items())
