"""A small classifier whose penultimate layer serves as features: trained here, from a fixed seed, in seconds. JAX.

Two convolutions of stride 2 for images, a dense layer where there is no second direction (N x D arrays), then the
features, then the classes.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from vaex.vae.layers import patches

FEATURES = 64
CHANNELS = (16, 32)
"""Of the convolutions."""
HIDDEN = 256
"""Of the dense layer instead."""
SEED = 0
STEPS = 1500
BATCH = 128
LEARNING_RATE = 2e-3
"""Adam's, falling to 0 along a cosine."""

Parameters = dict[str, Any]


def init(shape: tuple[int, int, int], classes: int) -> Parameters:
    """He-normal kernels (He et al. 2015) and zero biases, for images of `shape` (H, W, C)."""
    height, width, channels = shape
    convolutions: list[tuple[int, int]] = []
    if min(height, width) > 1:
        for outputs in CHANNELS:
            convolutions.append((9 * channels, outputs))
            height, width, channels = -(-height // 2), -(-width // 2), outputs
    flat = height * width * channels
    dense = [(flat, FEATURES)] if convolutions else [(flat, HIDDEN), (HIDDEN, FEATURES)]
    keys = iter(jax.random.split(jax.random.key(SEED), len(convolutions) + len(dense) + 1))

    def layer(sizes: tuple[int, int]) -> Parameters:
        return {"kernel": jax.nn.initializers.he_normal()(next(keys), sizes), "bias": jnp.zeros(sizes[1])}

    return {
        "convolutions": [layer(sizes) for sizes in convolutions],
        "dense": [layer(sizes) for sizes in dense],
        "classes": layer((FEATURES, classes)),
    }


def features(parameters: Parameters, x: Float[Array, "batch H W C"]) -> Float[Array, "batch F"]:
    """The penultimate layer. Its ELU never dies, where ReLU left half the features constant (Fashion-MNIST)."""
    for layer in parameters["convolutions"]:
        x = jax.nn.relu(_affine(layer, patches(x, 2)))
    h = x.reshape(x.shape[0], -1)
    for layer in parameters["dense"]:
        h = jax.nn.elu(_affine(layer, h))
    return h


def logits(parameters: Parameters, x: Float[Array, "batch H W C"]) -> Float[Array, "batch classes"]:
    """Log-probabilities of the classes but for a constant."""
    return _affine(parameters["classes"], features(parameters, x))


def train(images: Float[np.ndarray, "N H W C"], classes: Int[np.ndarray, " N"]) -> Parameters:
    """Parameters after `STEPS` of Adam on the cross-entropy, each on examples drawn with replacement."""
    shape = images.shape[1], images.shape[2], images.shape[3]
    return _fit(init(shape, int(classes.max()) + 1), jnp.asarray(images), jnp.asarray(classes), STEPS)


@functools.partial(jax.jit, donate_argnums=0, static_argnames="steps")
def _fit(parameters: Parameters, images: Float[Array, "N H W C"], classes: Int[Array, " N"], steps: int) -> Parameters:
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def cross_entropy(parameters: Parameters, rows: Int[Array, " batch"]) -> Float[Array, ""]:
        scores = logits(parameters, images[rows])
        return optax.softmax_cross_entropy_with_integer_labels(scores, classes[rows]).mean()

    def step(carry: tuple[Parameters, optax.OptState], key: Array) -> tuple[tuple[Parameters, optax.OptState], None]:
        parameters, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(images))
        updates, state = optimizer.update(jax.grad(cross_entropy)(parameters, rows), state)
        return (optax.apply_updates(parameters, updates), state), None  # pyright: ignore[reportReturnType]

    keys = jax.random.split(jax.random.key(SEED + 1), steps)
    return lax.scan(step, (parameters, optimizer.init(parameters)), keys)[0][0]


def _affine(layer: Parameters, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    # HIGHEST: a GPU would round to ten bits (TF32).
    product = jnp.matmul(x, layer["kernel"], precision=lax.Precision.HIGHEST)
    return product + layer["bias"].reshape((1,) * (x.ndim - 1) + (-1,))
