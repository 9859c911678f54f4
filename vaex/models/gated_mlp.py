"""Multi-layer perceptron with gated hidden layers, H·W·C – hidden – (μ, raw), mirrored back.

    h = (W x + b) ⊙ sigmoid(V x + c)

The gate is the only non-linearity. Source: Tomczak & Welling 2018, "VAE with a VampPrior", where the layers are
Dauphin et al.'s (2017) and the kernels start normal with variance 2 / inputs.
"""

from typing import Annotated, Literal

import jax
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

    name: Literal["gated_mlp"]
    latent_dim: Annotated[int, Field(ge=1)]
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    initializer: layers.type_of_initializer
    input_scale: Annotated[float, Field(gt=0)]
    head_init_scale: Annotated[float, Field(ge=0)]


class GatedDense(nnx.Module):
    """(W x + b) ⊙ sigmoid(V x + c): `linear` has W and b, `gate` V and c."""

    def __init__(self, inputs: int, outputs: int, initializer: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.linear = layers.dense(inputs, outputs, initializer, dtype, rngs)
        self.gate = layers.dense(inputs, outputs, initializer, dtype, rngs)

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        """The gated layer of each example."""
        return self.linear(x) * jax.nn.sigmoid(self.gate(x))


def build(config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The module for images of `shape` (H, W, C); `bias` starts the raw head."""
    return layers.Perceptron(config, config.hidden, GatedDense, jax.nn.identity, shape, bias, dtype, rngs)
