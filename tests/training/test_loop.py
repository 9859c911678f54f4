"""What the loop asks of the device: each epoch in its own order, each split's rows; what it does with a failure."""

import threading
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaex
from tests.conftest import DIGITS, Finished
from tests.support.compiling import jit
from tests.support.configurations import make
from vaex.data.dataset import Dataset, Split
from vaex.device import compiled
from vaex.device.datasets import load
from vaex.disk import checkpoint
from vaex.disk.directory import Job
from vaex.disk.recorder import Recorder
from vaex.errors import DataError
from vaex.training import run
from vaex.vae import objective, step


def test_rows_are_those_of_the_pure_functions_on_each_split(digits_run: Finished):
    """The command's numbers, made again from the seed: two epochs, validation after each, the test data once."""
    config = make(*DIGITS)
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    train, evaluate = jit(step.epoch, static_argnums=0), jit(step.evaluate, static_argnums=0)
    steps = -(-len(dataset.train.images) // program.batch_size)

    def loss(images: np.ndarray) -> float:
        time = jnp.float32((int(state.step) - 1) / steps)
        rows = np.array([0, len(images)])
        return float(evaluate(program, hyper, state.parameters, images, rows, time)["loss"])

    state, losses, valid = compiled.init(program, hyper.seed), [], []
    for number in range(2):
        order = step.order(hyper.seed, jnp.int32(number), len(dataset.train.images))
        state, values = train(program, hyper, state, order, jnp.asarray(dataset.train.images))
        losses += values["loss"].tolist()
        valid.append(loss(dataset.valid.images))
    found = vaex.load(digits_run.directory)
    np.testing.assert_allclose(found.steps["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(found.metrics["valid/loss"], valid, rtol=1e-5)
    assert found.summary["test/loss"] == pytest.approx(loss(dataset.test.images), rel=1e-5)
    assert abs(valid[-1] - found.summary["test/loss"]) > 1e-3  # so that the two cannot be confused


@pytest.mark.parametrize(
    "valid",
    [np.zeros((3, 8, 8, 1), np.uint8), np.zeros((3, 8, 9, 1), np.float32), np.zeros((0, 8, 8, 1), np.float32)],
    ids=["dtype", "shape", "empty"],
)
def test_splits_that_do_not_fit_together_are_refused(valid: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    """Validation and test images lie in one array: joined, uint8 pixels would lose their scale."""
    config = make(*DIGITS)
    images = np.zeros((3, 8, 8, 1), np.float32)
    odd = Dataset(Split(images, None), Split(valid, None), Split(images, None), ())
    monkeypatch.setattr(run, "load", lambda _: odd)
    with pytest.raises(DataError, match="one shape and dtype, at least one each: train"):
        run._check_data.__wrapped__(config.dataset, config.likelihood)


def test_runs_of_a_vmapped_pack_have_a_checkpoint_in_common_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also when one of them has a slow disk: from the others' newest ones it could not go on."""
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    save, in_common = Recorder._save, []

    def save_and_look(recorder: Recorder, *arguments: Any) -> None:
        if recorder.directory == slow:
            time.sleep(0.05)  # longer than an epoch
        save(recorder, *arguments)
        in_common.append(bool({*checkpoint.epochs(slow)} & {*checkpoint.epochs(fast)}))

    monkeypatch.setattr(Recorder, "_save", save_and_look)
    settings = ("dataset=digits", "model.hidden=[8]", "training.epochs=8", "tracking.mode=disabled")
    jobs = [Job(make(*settings, f"seed={n}"), place, "", figures=False) for n, place in enumerate((slow, fast))]
    outcome = run.run([jobs])
    assert set(outcome.statuses.values()) == {"finished"}
    assert len(in_common) == 16
    assert all(in_common[1:])  # the first of all is alone


def test_a_compilation_that_failed_is_tried_again():
    """The first of two jobs of one program meets no memory; the second must not meet the first one's failure."""
    calls = []

    def make_it() -> str:
        calls.append(threading.current_thread())
        if len(calls) == 1:
            raise MemoryError("once")
        return "compiled"

    with pytest.raises(MemoryError):
        compiled._once("test of _once", make_it)
    assert compiled._once("test of _once", make_it) == "compiled"
    config = make(*DIGITS, "model.hidden=[11]")
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    arguments = (
        program,
        hyper,
        jnp.asarray(dataset.train.images),
        jnp.asarray(dataset.test.images),
        jax.devices()[0],
        {},
    )
    broken = compiled.Compiled(*arguments)
    broken._futures["train"].result()
    broken._futures["train"] = failed = compiled.Future()
    failed.set_exception(MemoryError("of the device"))
    with pytest.raises(MemoryError):
        broken.train  # noqa: B018
    assert compiled.Compiled(*arguments).train is not None
