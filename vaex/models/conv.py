"""Convolutional encoder and decoder without state: 3x3 kernels, stride 2 down, sub-pixel up, no batch norm.

Each stage halves height and width, so both must divide by 2 to the number of stages: 28x28 and 32x32 with two
stages, 64x64 with up to six.
"""

import itertools
from typing import Annotated, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.errors import ConfigError
from vaex.vae import layers


@dataclass(frozen=True, config=STRICT)
class Config:
    """Channels of each stage, and one dense layer between the last feature map and the latents."""

    name: Literal["conv"]
    latent_dim: Annotated[int, Field(ge=1)]
    channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    hidden: Annotated[int, Field(ge=1)]
    activation: layers.type_of_activation
    initializer: layers.type_of_initializer
    input_scale: Annotated[float, Field(gt=0)]
    head_init_scale: Annotated[float, Field(ge=0)]


class Conv(nnx.Module):
    """Strided convolutions down to a small feature map, sub-pixel convolutions back up."""

    def __init__(self, config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        def layer(inputs: int, outputs: int, bias: float = 0.0, scale: float = 1.0) -> nnx.Linear:
            return layers.dense(inputs, outputs, config.initializer, dtype, rngs, bias, scale)

        stages = len(config.channels)
        self.smallest = (shape[0] >> stages, shape[1] >> stages, config.channels[-1])
        features = self.smallest[0] * self.smallest[1] * self.smallest[2]
        sizes = (shape[2], *config.channels)
        pairs = list(itertools.pairwise(sizes))
        self.activation = layers.activation_named(config.activation)
        self.input_scale = config.input_scale
        self.down = nnx.List([layer(9 * n, m) for n, m in pairs])
        self.bottleneck = layer(features, config.hidden)
        self.mu = layer(config.hidden, config.latent_dim, scale=config.head_init_scale)
        self.raw = layer(config.hidden, config.latent_dim, bias, config.head_init_scale)
        self.expand = nnx.List([layer(config.latent_dim, config.hidden), layer(config.hidden, features)])
        self.up = nnx.List([layer(9 * m, 4 * n) for n, m in reversed(pairs)])

    def encode(
        self, x: Float[Array, "batch H W C"]
    ) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
        """Images to μ and the raw second head, whose meaning the loss variant decides."""
        x = self.input_scale * x
        for layer in self.down:
            x = self.activation(layer(layers.patches(x, stride=2)))
        h = self.activation(self.bottleneck(x.reshape(x.shape[0], -1)))
        return self.mu(h), self.raw(h)

    def decode(self, z: Float[Array, "batch latent"]) -> Float[Array, "batch H W C"]:
        """Latents to the likelihood's unbounded parameters, one a pixel and channel."""
        for layer in self.expand:
            z = self.activation(layer(z))
        x = z.reshape(z.shape[0], *self.smallest)
        for layer in self.up[:-1]:
            x = self.activation(layers.depth_to_space(layer(layers.patches(x, stride=1))))
        return layers.depth_to_space(self.up[-1](layers.patches(x, stride=1)))


def build(config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The module for images of `shape` (H, W, C); `bias` starts the raw head. Refuses sizes it cannot halve."""
    step = 2 ** len(config.channels)
    if shape[0] % step or shape[1] % step:
        raise ConfigError(
            f"model.channels: {len(config.channels)} stages need a height and width divisible by {step}, "
            f"the images are {shape[0]}x{shape[1]}: use fewer stages, dataset.size (images) or model=mlp"
        )
    return Conv(config, shape, bias, dtype, rngs)
