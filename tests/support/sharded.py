"""The gradient of one batch, shared out among the devices that XLA_FLAGS makes, for a test that knows it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import jit

from tests.support.configurations import make
from vaex.device import mesh
from vaex.device.mesh import Together
from vaex.vae import objective, step

SETTINGS = ("dataset=digits", "model=linear", "model.latent_dim=3", "training.batch_size=32", "training.devices=8")


def main(place: str) -> None:
    """Write weights, images, noise and gradients of step 0 to an .npz file."""
    config = make(*SETTINGS)
    device = mesh.of(config, jax.devices()[0])
    assert isinstance(device, Together)
    program, numbers = objective.program(config, (8, 8, 1)), objective.hyper(config)
    images = np.random.default_rng(0).random((100, 8, 8, 1), np.float32)
    rows, weights = np.arange(32) * 3, np.float32([1.0] * 29 + [0.0] * 3)
    keys = jax.random.key(1), jax.random.key(2)
    shared = mesh.share(device.mesh)

    def gradient(parameters, images, rows, weights):
        loss = lambda parameters: objective.objective(  # noqa: E731
            program, numbers, parameters, images[shared(rows)], weights, keys, jnp.float32(0)
        )[0]
        return jax.value_and_grad(loss)(parameters)

    parameters = step.init(program, numbers.seed).parameters
    arguments = mesh.put((parameters, images, rows, weights), device)
    value, gradients = jit(gradient, out_shardings=mesh.on(device))(*arguments)
    eps = objective.noise(keys[0], 32, 3)
    named = {
        f"{kind}{jax.tree_util.keystr(path)}": leaf
        for kind, tree in (("p", parameters), ("g", gradients))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree["model"])
    }
    np.savez(place, loss=value, x=images[rows], weights=weights, eps=eps, **named)


if __name__ == "__main__":
    main(sys.argv[1])
