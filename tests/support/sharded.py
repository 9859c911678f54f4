"""What several devices compute, in a process to which XLA_FLAGS gives eight: for tests that know the answer.

`gradient FILE.npz`: weights, images, noise and gradients of one batch. `program`: the compiled epoch, as XLA prints it.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from tests.support.configurations import make
from vaex.device import compiled, mesh
from vaex.device.compiled import Compiled
from vaex.device.datasets import load, on_device
from vaex.device.mesh import Together
from vaex.vae import objective, step

DIGITS = ("dataset=digits", "dataset.limit=200", "training.devices=8")


def write_gradient(place: str) -> None:
    """Of a linear model, for a batch of 32 of which the last three weigh nothing."""
    config = make(*DIGITS, "model=linear", "model.latent_dim=3", "training.batch_size=32")
    device = mesh.of(config, jax.devices()[0])
    assert isinstance(device, Together)
    program, numbers = objective.program(config, (8, 8, 1)), objective.hyper(config)
    images = np.random.default_rng(0).random((100, 8, 8, 1), np.float32)
    rows, weights = np.arange(32) * 3, np.float32([1.0] * 29 + [0.0] * 3)
    keys, shared = (jax.random.key(1), jax.random.key(2)), mesh.share(device.mesh)

    def loss(parameters: PyTree, images: Array, rows: Array, weights: Array) -> tuple[Array, PyTree]:
        batch = images[shared(rows)]
        return objective.objective(program, numbers, parameters, batch, weights, keys, jnp.float32(0))

    parameters = step.init(program, numbers.seed).parameters
    arguments = mesh.put((parameters, images, rows, weights), device)
    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, _), gradients = compiled.ahead(gradient, (), arguments, device)(*arguments)
    named = {
        f"{kind}{jax.tree_util.keystr(path)}": leaf
        for kind, tree in (("p", parameters), ("g", gradients))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree["model"])
    }
    eps = objective.noise(keys[0], 32, 3)
    np.savez(place, loss=value, x=images[rows], weights=weights, eps=eps, **named)


def print_program() -> None:
    """Of the book's model."""
    config = make(*DIGITS, "training.batch_size=64")
    device = mesh.of(config, jax.devices()[0])
    numbers, images = mesh.put(objective.hyper(config), device), on_device(load(config.dataset), device)
    print(Compiled(objective.program(config, (8, 8, 1)), numbers, *images, device, {}).train.as_text())


if __name__ == "__main__":
    write_gradient(sys.argv[2]) if sys.argv[1] == "gradient" else print_program()
