"""Layers that the models share: dense layers, a perceptron each way, and convolutions that stay fast in a scan on CPU.

`nnx.Conv` inside a scanned training step is several times slower on CPU than outside it, so a convolution
here is what it is mathematically: strided slices laid side by side (the patches) times one matrix.
Parameters are float32 whatever the compute precision; `dtype` is the precision of the products.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

type_of_activation = Literal["selu", "relu", "elu", "gelu", "tanh"]
type_of_initializer = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
]


def activation_named(name: str) -> Callable[[Array], Array]:
    """The element-wise non-linearity of that name in `jax.nn`."""
    return getattr(jax.nn, name)


def dense(
    inputs: int,
    outputs: int,
    initializer: str,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
    bias: float = 0.0,
    scale: float = 1.0,
) -> nnx.Linear:
    """A dense layer with `scale` times the named initializer for its kernel and a constant bias."""
    draw = getattr(jax.nn.initializers, initializer)()
    return nnx.Linear(
        inputs,
        outputs,
        dtype=dtype,
        kernel_init=lambda key, shape, dtype: scale * draw(key, shape, dtype),
        bias_init=nnx.initializers.constant(bias),
        rngs=rngs,
    )


class Perceptron(nnx.Module):
    """Dense encoder and decoder over flattened pixels: H·W·C – hidden – (μ, raw), mirrored back.

    `config` is the model's own, of which the latents, the initializer and the scales are read; `layer` makes a hidden
    layer as `dense` does, and `activation` follows each.
    """

    def __init__(
        self,
        config: Any,
        hidden: tuple[int, ...],
        layer: Callable[[int, int, str, jnp.dtype, nnx.Rngs], nnx.Module],
        activation: Callable[[Array], Array],
        shape: tuple[int, int, int],
        bias: float,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def stack(sizes: tuple[int, ...]) -> nnx.List:
            return nnx.List([layer(n, m, config.initializer, dtype, rngs) for n, m in itertools.pairwise(sizes)])

        pixels = shape[0] * shape[1] * shape[2]
        features = (pixels, *hidden)[-1]
        self.shape = shape
        self.activation = activation
        self.encoder = stack((pixels, *hidden))
        self.input_scale, scale = config.input_scale, config.head_init_scale
        self.mu = dense(features, config.latent_dim, config.initializer, dtype, rngs, scale=scale)
        self.raw = dense(features, config.latent_dim, config.initializer, dtype, rngs, bias, scale)
        mirrored = (config.latent_dim, *reversed(hidden))
        self.decoder = stack(mirrored)
        self.outputs = dense(mirrored[-1], pixels, config.initializer, dtype, rngs)

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


def patches(x: Float[Array, "*batch H W C"], stride: int) -> Float[Array, "*batch h w 9*C"]:
    """All 3x3 neighbourhoods of the zero-padded image, `stride` pixels apart, channels last."""
    padding = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    *batch, height, width, channels = x.shape
    x = jnp.pad(x, padding)
    strides = (*[1] * len(batch), stride, stride, 1)

    def shifted(row: int, column: int) -> Array:
        # Not x[…]: where the batch's size is not known (an export), JAX makes of that a gather.
        return lax.slice(
            x, (*[0] * len(batch), row, column, 0), (*batch, row + height, column + width, channels), strides
        )

    return jnp.concatenate([shifted(row, column) for row in range(3) for column in range(3)], axis=-1)


def depth_to_space(x: Float[Array, "*batch h w channels"]) -> Float[Array, "*batch 2*h 2*w channels//4"]:
    """Twice the height and width from a quarter of the channels (Shi et al. 2016, sub-pixel convolution)."""
    *batch, h, w, channels = x.shape
    x = x.reshape(*batch, h, w, 2, 2, channels // 4)
    return jnp.moveaxis(x, -3, -4).reshape(*batch, 2 * h, 2 * w, channels // 4)
