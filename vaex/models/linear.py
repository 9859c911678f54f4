"""One dense layer each way: a linear Gaussian VAE, whose best ELBO is the likelihood of probabilistic PCA.

    μ = A x + a        raw = B x + b        output = W z + c

With likelihood=gaussian the model is probabilistic PCA (Tipping & Bishop 1999), and log p(x) has a closed form,
x ~ N(c, W Wᵀ + σ²I). Its posterior has the same covariance for every x, diagonal where the columns of W are
orthogonal: B = 0 reaches it, though here σ may depend on x, as in every model. Then the ELBO is log p(x), and no other
stationary point is a local maximum (Lucas et al. 2019, "Don't blame the ELBO!").
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae import layers


@dataclass(frozen=True, config=STRICT)
class Config:
    """No hidden layer, and so nothing of the shape to choose but the latents."""

    name: Literal["linear"]
    latent_dim: Annotated[int, Field(ge=1)]
    initializer: layers.type_of_initializer
    input_scale: Annotated[float, Field(gt=0)]
    head_init_scale: Annotated[float, Field(ge=0)]


def build(config: Config, shape: tuple[int, int, int], bias: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The module for images of `shape` (H, W, C); `bias` starts the raw head."""
    return layers.Perceptron(config, (), layers.dense, jax.nn.identity, shape, bias, dtype, rngs)
