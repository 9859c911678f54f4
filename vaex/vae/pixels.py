"""The sum over pixels, which every likelihood takes."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def sum_pixels(values: Float[Array, "*batch H W C"]) -> Float[Array, "*batch"]:
    """Sum over the last three axes, as a product with ones.

    A plain sum is fused with the formula before it into one loop that XLA does not vectorise on a CPU: exp and log
    one pixel at a time, and the book's step takes 4.7 times as long. HIGHEST, since a GPU would round the values to
    ten bits (TF32).
    """
    *batch, h, w, c = values.shape
    return jnp.matmul(values.reshape(*batch, h * w * c), jnp.ones(h * w * c), precision=lax.Precision.HIGHEST)
