"""Every parameterization, likelihood and KL weight trains: a slice in `make test`, the whole grid by `make grid`."""

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
KL_WEIGHTS = sorted(path.stem for path in (conf_directory() / "kl_weight").glob("*.yaml"))
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


def train_two_epochs(loss: str, likelihood: str, model: str, *more: str) -> None:
    """Two epochs with finite steps throughout, after which the objective is lower than before them.

    Where the weight is another one by then, the reconstruction is.
    """
    options = (f"loss={loss}", f"likelihood={likelihood}", f"model={model}", *SMALL.get(model, DIGITS), *more)
    config = make("optimizer.learning_rate=1e-3", "model.latent_dim=4", *options)
    dataset = load(config.dataset)
    program = objective.program(config, dataset.train.images.shape[1:])
    hyper = objective.hyper(config)
    state = compiled(step.init, program, hyper.seed)(hyper.seed)
    valid = jnp.asarray(dataset.valid.images)
    rows = np.array([0, len(valid)])
    evaluate = compiled(
        step.evaluate, program, step.weighed(hyper, state), state.parameters, valid, rows, jnp.float32(0)
    )
    before = evaluate(step.weighed(hyper, state), state.parameters, valid, rows, jnp.float32(0))
    images, order = jnp.asarray(dataset.train.images), jax.jit(step.order, static_argnames="count")
    count = len(dataset.train.images)
    epoch = compiled(step.epoch, program, hyper, state, order(hyper.seed, jnp.int32(0), count=count), images)
    for number in range(2):
        state, stats = epoch(hyper, state, order(hyper.seed, jnp.int32(number), count=count), images)
        assert all(np.isfinite(values).all() for values in stats.values())
    after = evaluate(step.weighed(hyper, state), state.parameters, valid, rows, jnp.float32(0))
    assert np.isfinite(float(after["loss"]))
    term = "loss" if config.kl_weight.name == "constant" else "reconstruction"
    assert float(after[term]) < float(before[term])


@pytest.mark.parametrize("index", range(len(LOSSES)))
def test_slice_mlp(index: int):
    train_two_epochs(LOSSES[index], LIKELIHOODS[index % len(LIKELIHOODS)], "mlp")


@pytest.mark.parametrize(
    ("loss", "likelihood", "model"),
    [
        ("gamma", "bernoulli", "conv"),
        pytest.param("sigma", "gaussian", "conv", marks=pytest.mark.slow),
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


@pytest.mark.slow
@pytest.mark.parametrize("kl_weight", KL_WEIGHTS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_grid_of_kl_weights(kl_weight: str, likelihood: str):
    train_two_epochs("gamma", likelihood, "mlp", f"kl_weight={kl_weight}")


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_grid_of_stabilisers(likelihood: str):
    more = ("loss.sharpness=0.6931", "training.on_nonfinite=skip", "training.skip_above=1e4", "kl_weight=geco")
    train_two_epochs("softplus", likelihood, "mlp", *more)
