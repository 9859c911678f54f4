"""The parts of a trained model that stand alone: encoder, decoder, sampler; each a function of arrays and its graph."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import Exported
from jaxtyping import PyTree

from vaex.device import compiled
from vaex.portable import tracing
from vaex.portable.graph import Graph, type_of_shape
from vaex.trained.model import Model
from vaex.vae import objective
from vaex.vae.objective import MATMUL

type_of_function = Callable[..., dict[str, jax.Array]]


class Part(NamedTuple):
    """A function of (parameters, inputs…) to arrays by name, and the shapes of its inputs without the batch."""

    function: type_of_function
    parameters: PyTree
    inputs: dict[str, type_of_shape]

    def graph(self) -> Graph:
        """As plain operations; raises `InputError` where that cannot be."""
        return tracing.trace(self.function, self.parameters, self.inputs)

    def export(self, platforms: Sequence[str]) -> Exported:
        """As StableHLO for any batch, the parameters among its constants; the function takes the inputs in order."""
        constants = jax.tree.map(np.asarray, self.parameters)
        with tracing.for_any_batch():
            return compiled.exported(
                lambda *inputs: self.function(constants, *inputs), tracing.abstract(self.inputs), platforms
            )


def encoder(model: Model) -> Part:
    """x (N x H x W x C, as the likelihood observes it: perhaps 0 or 1) -> mu, sigma, kl (N x K, nats)."""

    def encode(parameters: PyTree, x: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision(MATMUL[model.program.precision.matmul]):
            q = objective.encode(model.program, model.hyper, parameters, x)
        found = {"mu": q.mu, "sigma": jnp.abs(q.sigma), "kl": q.kl}
        return {name: array.astype(jnp.float32) for name, array in found.items()}

    return Part(encode, model.parameters, {"x": model.program.shape})


def decoder(model: Model) -> Part:
    """z (N x K) -> x: E[x|z], N x H x W x C."""

    def decode(parameters: PyTree, z: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision(MATMUL[model.program.precision.matmul]):
            return {"x": objective.mean_images(model.program, parameters, z)}

    return Part(decode, model.parameters, {"z": (model.config.model.latent_dim,)})


def sampler(model: Model) -> Part:
    """eps ~ N(0, I) (N x K) and temperature (N, 1 is the prior) -> x: E[x|z] at z = temperature · eps."""
    decode = decoder(model)

    def sample(parameters: PyTree, eps: jax.Array, temperature: jax.Array) -> dict[str, jax.Array]:
        return decode.function(parameters, temperature[:, None] * eps)

    return Part(sample, model.parameters, {"eps": (model.config.model.latent_dim,), "temperature": ()})


PARTS: dict[str, Callable[[Model], Part]] = {"encoder": encoder, "decoder": decoder, "sampler": sampler}
