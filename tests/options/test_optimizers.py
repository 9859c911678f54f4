"""Optimizers and learning rates against their formulas in NumPy float64, as Keras and the papers write them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.configurations import make
from vaex.config import implementation
from vaex.vae import learning_rate

G = [np.array([0.5, -2.0, 1e-3, 300.0]), np.array([0.25, 1.0, -1e-3, -10.0]), np.array([-1.0, 0.5, 0.0, 20.0])]


def directions(*overrides: str) -> list[np.ndarray]:
    """The optimizer's direction for each gradient of G, parameters fixed at ones."""
    config = make(*overrides).optimizer
    transformation = implementation(config).direction(config)
    parameters = {"w": jnp.ones(4)}
    state, out = transformation.init(parameters), []
    for g in G:
        update, state = transformation.update({"w": jnp.asarray(g, jnp.float32)}, state, parameters)
        out.append(np.asarray(update["w"], np.float64))
    return out


def test_rmsprop_is_keras_rmsprop():
    nu = np.zeros(4)
    for g, got in zip(G, directions("optimizer=rmsprop"), strict=True):
        nu = 0.9 * nu + 0.1 * g**2
        np.testing.assert_allclose(got, g / (np.sqrt(nu) + 1e-7), rtol=1e-5)


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 1e-4)])
def test_adam_and_adamw(name: str, decay: float):
    m, v = np.zeros(4), np.zeros(4)
    for t, (g, got) in enumerate(zip(G, directions(f"optimizer={name}"), strict=True), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + decay
        np.testing.assert_allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_momentum(nesterov: bool):
    m = np.zeros(4)
    for g, got in zip(G, directions("optimizer=sgd", f"optimizer.nesterov={nesterov}"), strict=True):
        m = g + 0.9 * m
        np.testing.assert_allclose(got, g + 0.9 * m if nesterov else m, rtol=1e-5)


def rate(time: float, *overrides: str) -> float:
    config = make("optimizer.learning_rate=0.01", "training.epochs=10", *overrides)
    numbers = jax.tree.map(jnp.float32, learning_rate.numbers(config.optimizer, config.training.epochs))
    return float(learning_rate.at(numbers, jnp.float32(time)))


@pytest.mark.parametrize("time", [0.0, 0.5, 7.3, 100.0])
def test_constant_rate_is_exactly_itself(time: float):
    assert rate(time) == np.float32(0.01)


def test_warmup_rises_linearly_from_zero():
    for time, expected in [(0.0, 0.0), (0.5, 0.0025), (1.0, 0.005), (2.0, 0.01), (9.0, 0.01)]:
        assert rate(time, "optimizer.warmup_epochs=2.0") == pytest.approx(expected, rel=1e-6)


def test_cosine_falls_to_zero_at_the_last_epoch():
    for time in (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        t = max(time - 2, 0) / 8
        expected = 0.01 * min(time / 2, 1) * 0.5 * (1 + np.cos(np.pi * t))
        got = rate(time, "optimizer.schedule=cosine", "optimizer.warmup_epochs=2.0")
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-9)
