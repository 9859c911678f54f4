"""Multi-layer perceptron encoder and decoder: the book's model, H·W·C – hidden – (μ, raw), mirrored back."""

import itertools
from typing import Annotated, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae import layers


@dataclass(frozen=True, config=STRICT)
class Config:
    """Sizes of the encoder's hidden layers; the decoder has the same ones in reverse. Scales are to be studied."""

    name: Literal["mlp"]
    latent_dim: Annotated[int, Field(ge=1)]
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    activation: layers.type_of_activation
    initializer: layers.type_of_initializer
    input_scale: Annotated[float, Field(gt=0)]
    head_init_scale: Annotated[float, Field(ge=0)]


class MLP(nnx.Module):
    """Dense encoder and decoder over flattened pixels."""

    def __init__(self, config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        def stack(sizes: tuple[int, ...]) -> nnx.List:
            pairs = itertools.pairwise(sizes)
            return nnx.List([layers.dense(n, m, config.initializer, dtype, rngs) for n, m in pairs])

        pixels = shape[0] * shape[1] * shape[2]
        features = (pixels, *config.hidden)[-1]
        self.shape = shape
        self.activation = layers.activation_named(config.activation)
        self.encoder = stack((pixels, *config.hidden))
        self.input_scale, scale = config.input_scale, config.head_init_scale
        self.mu = layers.dense(features, config.latent_dim, config.initializer, dtype, rngs, scale=scale)
        self.raw = layers.dense(features, config.latent_dim, config.initializer, dtype, rngs, bias, scale)
        self.decoder = stack((config.latent_dim, *reversed(config.hidden)))
        last = (config.latent_dim, *reversed(config.hidden))[-1]
        self.outputs = layers.dense(last, pixels, config.initializer, dtype, rngs)

    def encode(
        self, x: Float[Array, "batch H W C"]
    ) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
        """Images to μ and the raw second head, whose meaning the loss variant decides."""
        h = self.input_scale * x.reshape(x.shape[0], -1)
        for layer in self.encoder:
            h = self.activation(layer(h))
        return self.mu(h), self.raw(h)

    def decode(self, z: Float[Array, "batch latent"]) -> Float[Array, "batch H W C"]:
        """Latents to the likelihood's unbounded parameters, one a pixel and channel."""
        h = z
        for layer in self.decoder:
            h = self.activation(layer(h))
        return self.outputs(h).reshape(z.shape[0], *self.shape)


def build(config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The module for images of `shape` (H, W, C); `bias` starts the raw head."""
    return MLP(config, shape, bias, dtype, rngs)
