"""Every parameterization with every likelihood trains: a slice in `make test`, the whole grid by `make grid`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.configurations import make
from vaex.config.compose import conf_directory
from vaex.device.compiled import RUNS_ONCE
from vaex.device.datasets import load
from vaex.vae import objective, step

LOSSES = sorted(path.stem for path in (conf_directory() / "loss").glob("*.yaml"))
LIKELIHOODS = sorted(path.stem for path in (conf_directory() / "likelihood").glob("*.yaml"))
MODELS = sorted(path.stem for path in (conf_directory() / "model").glob("*.yaml"))
DIGITS = ("dataset=digits",)
SMALL = {
    "conv": ("dataset=shapes", "dataset.count=400", "model.channels=[4,8]"),
    "gated_mlp": (*DIGITS, "model.hidden=[32]"),
    "mlp": (*DIGITS, "model.hidden=[32]"),
}
"""Data and sizes for a model that does not take its own to the digits."""


def compiled(function: Callable[..., Any], program: objective.Program, *arguments: Any) -> Callable[..., Any]:
    """A function of a program, compiled as what runs once is: in a third of the time."""
    lowered = jax.jit(function, static_argnums=0).lower(program, *arguments)
    return lowered.compile(compiler_options=RUNS_ONCE)


def train_two_epochs(loss: str, likelihood: str, model: str) -> None:
    """Two epochs with finite steps throughout, after which the objective is lower than before them."""
    options = (f"loss={loss}", f"likelihood={likelihood}", f"model={model}", *SMALL.get(model, DIGITS))
    config = make("optimizer.learning_rate=1e-3", "model.latent_dim=4", *options)
    dataset = load(config.dataset)
    program = objective.program(config, dataset.train.images.shape[1:])
    hyper = objective.hyper(config)
    state = compiled(step.init, program, hyper.seed)(hyper.seed)
    valid = jnp.asarray(dataset.valid.images)
    rows = np.array([0, len(valid)])
    evaluate = compiled(step.evaluate, program, hyper, state.parameters, valid, rows, jnp.float32(0))
    before = evaluate(hyper, state.parameters, valid, rows, jnp.float32(0))
    images, order = jnp.asarray(dataset.train.images), jax.jit(step.order, static_argnames="count")
    count = len(dataset.train.images)
    epoch = compiled(step.epoch, program, hyper, state, order(hyper.seed, jnp.int32(0), count=count), images)
    for number in range(2):
        state, stats = epoch(hyper, state, order(hyper.seed, jnp.int32(number), count=count), images)
        assert all(np.isfinite(values).all() for values in stats.values())
    after = evaluate(hyper, state.parameters, valid, rows, jnp.float32(0))
    assert np.isfinite(float(after["loss"]))
    assert float(after["loss"]) < float(before["loss"])


@pytest.mark.parametrize("index", range(len(LOSSES)))
def test_slice_mlp(index: int):
    train_two_epochs(LOSSES[index], LIKELIHOODS[index % len(LIKELIHOODS)], "mlp")


@pytest.mark.parametrize(
    ("loss", "likelihood", "model"),
    [
        ("gamma", "bernoulli", "conv"),
        ("sigma", "gaussian", "conv"),
        ("gamma_clamped", "bernoulli", "gated_mlp"),
        ("gamma", "gaussian", "linear"),
    ],
)
def test_slice_of_the_other_models(loss: str, likelihood: str, model: str):
    train_two_epochs(loss, likelihood, model)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("loss", LOSSES)
def test_grid(loss: str, likelihood: str, model: str):
    train_two_epochs(loss, likelihood, model)
