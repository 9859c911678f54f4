"""Multi-layer perceptron encoder and decoder: the book's model, H·W·C – hidden – (μ, raw), mirrored back."""

from typing import Annotated, Literal

import jax.numpy as jnp
from flax import nnx
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


def build(config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The module for images of `shape` (H, W, C); `bias` starts the raw head."""
    activation = layers.activation_named(config.activation)
    return layers.Perceptron(config, config.hidden, layers.dense, activation, shape, bias, dtype, rngs)
