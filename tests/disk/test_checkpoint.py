"""Checkpoints: the same bits back, or a warning and the one before; never a damaged one in silence."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.configurations import make
from vaex.disk import checkpoint, metrics, progress
from vaex.errors import InputError
from vaex.vae import objective, step

ARRAYS = {
    "kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "odd": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
    "step": np.array(7, np.int32),
    "frozen": np.array(False),
    "key": np.array([1, 2], np.uint32),
}
RECORD = {"epoch": 2, "steps": 24, "best_epoch": 1, "best_elbo": -28.5, "seconds": 1.25, "run_id": "ab12"}


@pytest.fixture(scope="module")
def saved() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder) / "one.ckpt", ARRAYS, RECORD)
        yield (Path(folder) / "one.ckpt").read_bytes()


@pytest.fixture
def warnings_said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the log of vaex says, also after a test in this process has turned its propagation off."""
    logger = logging.getLogger("vaex")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.propagate = propagate


def same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        (a[k].dtype, a[k].shape, a[k].tobytes()) == (b[k].dtype, b[k].shape, b[k].tobytes()) for k in a
    )


def test_the_same_bits_come_back(tmp_path: Path):
    checkpoint.save(tmp_path / "one.ckpt", ARRAYS, RECORD)
    arrays, record = checkpoint.load(tmp_path / "one.ckpt")
    assert same_bits(arrays, ARRAYS)
    assert record == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["one.ckpt"]


def test_a_whole_train_state_comes_back():
    config = make("dataset=digits", "model.hidden=[8]", "model.latent_dim=2")
    state = step.init(objective.program(config, (8, 8, 1)), jax.numpy.uint32(0))
    arrays = checkpoint.flatten(state)
    assert {"step", "frozen", "skips_in_a_row", "first_nonfinite", "culprit"} < arrays.keys()
    back = checkpoint.unflatten(jax.eval_shape(lambda: state), arrays, Path("x"))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert same_bits(checkpoint.flatten(back), arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": np.zeros((2, 3), np.float32)}, r"\(b: float32 \(2, 3\), expected float32 \(2, 2\)\)"),
        ({"b": np.zeros((2, 2), np.float64)}, r"\(b: float64 \(2, 2\), expected float32 \(2, 2\)\)"),
        ({"c": np.zeros(1)}, r"\(c: float64 \(1,\), expected nothing\)"),
        ({"b": None}, r"\(b: nothing, expected float32 \(2, 2\)\)"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str):
    template = {"a": np.zeros(3, np.int32), "b": np.zeros((2, 2), np.float32)}
    arrays = {name: array for name, array in (template | change).items() if array is not None}
    with pytest.raises(InputError, match=rf"^epoch.ckpt: does not fit .*{message}"):
        checkpoint.unflatten(template, arrays, Path("epoch.ckpt"))


@settings(max_examples=300)
@given(data=st.data())
def test_a_changed_or_missing_byte_is_never_loaded(saved: bytes, data: st.DataObject):
    """Every region: length, header, arrays, digest."""
    header = 8 + int.from_bytes(saved[:8], "little")
    bounds = {"length": (0, 8), "header": (8, header), "arrays": (header, len(saved) - 32), "digest": (-32, 0)}
    region = data.draw(st.sampled_from(sorted(bounds)))
    start, end = (bound % len(saved) if bound else bound for bound in bounds[region])
    position = data.draw(st.integers(start, (end or len(saved)) - 1))
    if data.draw(st.booleans()):
        content = bytearray(saved)
        content[position] ^= data.draw(st.integers(1, 255))
    else:
        content = bytearray(saved[:position])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.ckpt"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"one\.ckpt: damaged"):
            checkpoint.load(path)


@settings(max_examples=100)
@given(payload=st.binary(max_size=300), sign=st.booleans())
def test_any_other_file_is_refused(payload: bytes, sign: bool):
    """Even one whose digest is right: what follows is still only parsed as data."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.ckpt"
        path.write_bytes(payload + hashlib.sha256(payload).digest() * sign)
        with pytest.raises(InputError, match=r"one\.ckpt"):
            checkpoint.load(path)


@pytest.mark.parametrize("shape", [[2**62, 2**62], [2**40], [-1], [1]])
def test_huge_declared_shapes_are_refused(shape: list[int], tmp_path: Path):
    header = json.dumps(
        {"__metadata__": {"record": "{}"}, "a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 2**40]}}
    ).encode()
    payload = len(header).to_bytes(8, "little") + header
    (tmp_path / "one.ckpt").write_bytes(payload + hashlib.sha256(payload).digest())
    with pytest.raises(InputError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "one.ckpt")


def test_arrays_that_are_views_are_written_as_they_read(tmp_path: Path):
    """safetensors 0.8 takes the bytes as they lie in memory: of a slice or a transpose another array comes back."""
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    tree = {"slice": whole[:, :2], "transpose": whole.T}
    checkpoint.save(tmp_path / "one.ckpt", checkpoint.flatten(tree), RECORD)
    back, _ = checkpoint.load(tmp_path / "one.ckpt")
    for name, array in tree.items():
        np.testing.assert_array_equal(back[name], array)


def fill(directory: Path, *epochs: int) -> None:
    (directory / "checkpoints").mkdir(exist_ok=True)
    for epoch in epochs:
        checkpoint.save(checkpoint.path_of(directory, epoch), ARRAYS, RECORD | {"epoch": epoch})


def write_rows(directory: Path, count: int) -> None:
    lines = [metrics.as_line({"epoch": epoch}) for epoch in range(1, count + 1)]
    (directory / "metrics.jsonl").write_text("".join(lines))


def newest_epochs(*directories: Path) -> list[int]:
    return [record["epoch"] for _, record in progress.newest_common(directories)]


def test_the_previous_one_is_used_and_every_damaged_one_named(tmp_path: Path, warnings_said: pytest.LogCaptureFixture):
    fill(tmp_path, 1, 2, 3, 4)
    write_rows(tmp_path, 4)
    for epoch in (3, 4):
        path = checkpoint.path_of(tmp_path, epoch)
        path.write_bytes(path.read_bytes()[:-1])
    assert newest_epochs(tmp_path) == [2]
    assert [message.partition(": ")[0].rpartition("/")[2] for message in warnings_said.messages] == [
        "epoch_000004.ckpt",
        "epoch_000003.ckpt",
    ]
    write_rows(tmp_path, 1)  # no checkpoint counts whose rows are not on disk
    assert newest_epochs(tmp_path) == [1]
    write_rows(tmp_path, 0)
    assert newest_epochs(tmp_path) == []


def test_a_pack_goes_back_to_the_newest_epoch_that_all_its_runs_have(tmp_path: Path):
    runs = [tmp_path / name for name in ("a", "b", "diverged")]
    for directory, epochs in zip(runs, ((3, 4, 5), (2, 3, 4), (1, 2)), strict=True):
        directory.mkdir()
        fill(directory, *epochs)
        write_rows(directory, max(epochs))
    assert newest_epochs(*runs[:2]) == [4, 4]
    assert newest_epochs(*runs) == []
    last = checkpoint.path_of(runs[2], 2)  # a diverged run stays where it is, so that one serves for every later epoch
    checkpoint.save(last, ARRAYS | {"frozen": np.array(True)}, RECORD | {"epoch": 2})
    assert newest_epochs(*runs) == [4, 4, 2]


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path):
    fill(tmp_path, 1, 2, 3, 4, 5, 9)
    (tmp_path / "checkpoints" / "notes.txt").touch()
    elbo = {1: -300.0, 2: -250.0, 3: -260.0, 4: None, 5: float("nan")}
    checkpoint.prune(tmp_path, 2, elbo)
    assert checkpoint.epochs(tmp_path) == [5, 4, 2]  # 9 is of no epoch so far: what a resume had to give up
    assert (tmp_path / "checkpoints" / "notes.txt").exists()
    checkpoint.prune(tmp_path, 1, elbo | {6: -1.0})
    assert checkpoint.epochs(tmp_path) == [5, 2]
    checkpoint.prune(tmp_path, 1, {5: -1.0, 2: -1.0})
    assert checkpoint.epochs(tmp_path) == [5]


def test_no_pickle_anywhere():
    paths = Path(checkpoint.__file__).parents[1].rglob("*.py")
    reads_optunas = "samplers.py"  # the state that Optuna keeps of CMA-ES, of which only arrays are taken
    sources = [path.read_text() for path in paths if path.name != reads_optunas]
    code = "\n".join(line for source in sources for line in source.splitlines())
    assert "import pickle" not in code
    assert "allow_pickle=True" not in code
    assert "joblib" not in code
    assert "torch.load" not in code
