"""Every parameterization with every likelihood trains: a slice in `make test`, the whole grid by `make grid`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.configurations import make
from vaex.config.compose import conf_directory
from vaex.training.loop import load
from vaex.vae import objective, step

LOSSES = sorted(path.stem for path in (conf_directory() / "loss").glob("*.yaml"))
LIKELIHOODS = sorted(path.stem for path in (conf_directory() / "likelihood").glob("*.yaml"))
MLP = ("dataset=digits", "model.hidden=[32]", "model.latent_dim=4")
CONV = ("dataset=shapes", "dataset.count=400", "model=conv", "model.channels=[4,8]", "model.latent_dim=4")

epoch = jax.jit(step.epoch, static_argnums=0)
evaluate = jax.jit(step.evaluate, static_argnums=0)


def train_two_epochs(*overrides: str) -> None:
    """Two epochs with finite steps throughout, after which the objective is lower than before them."""
    config = make("optimizer.learning_rate=1e-3", *overrides)
    dataset = load(config.dataset)
    program = objective.program(config, dataset.train.images.shape[1:])
    hyper = objective.hyper(config)
    state = jax.jit(step.init, static_argnums=0)(program, hyper.seed)
    valid = jnp.asarray(dataset.valid.images)
    rows = np.array([0, len(valid)])
    before = evaluate(program, hyper, state.parameters, valid, rows, jnp.float32(0))
    for number in range(2):
        order = step.order(hyper.seed, jnp.int32(number), len(dataset.train.images))
        state, stats = epoch(program, hyper, state, order, jnp.asarray(dataset.train.images))
        assert all(np.isfinite(values).all() for values in stats.values())
    after = evaluate(program, hyper, state.parameters, valid, rows, jnp.float32(0))
    assert np.isfinite(float(after["loss"]))
    assert float(after["loss"]) < float(before["loss"])


@pytest.mark.parametrize("index", range(len(LOSSES)))
def test_slice_mlp(index: int):
    train_two_epochs(f"loss={LOSSES[index]}", f"likelihood={LIKELIHOODS[index % len(LIKELIHOODS)]}", *MLP)


@pytest.mark.parametrize(("loss", "likelihood"), [("gamma", "bernoulli"), ("sigma", "gaussian")])
def test_slice_conv(loss: str, likelihood: str):
    train_two_epochs(f"loss={loss}", f"likelihood={likelihood}", *CONV)


@pytest.mark.slow
@pytest.mark.parametrize("model", [MLP, CONV], ids=["mlp-digits", "conv-shapes"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("loss", LOSSES)
def test_grid(loss: str, likelihood: str, model: tuple[str, ...]):
    train_two_epochs(f"loss={loss}", f"likelihood={likelihood}", *model)
