"""What the likelihoods share: the contract on the images' values, checked before training, and the sum over pixels."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from vaex.data.dataset import beyond
from vaex.errors import DataError

ROUNDING = 1e-5
"""How far beyond [0, 1] a computation in float32 may end that meant to stay inside."""


def check_unit_interval(images: np.ndarray, name: str, likelihood: str) -> None:
    """Raise `DataError` unless every value is in [0, 1]; uint8 pixels mean value/255 and always are."""
    if images.dtype == np.uint8:
        return
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return
    check_finite(images, name, likelihood)
    looks_8_bit = low >= 0 and 127 < high <= 255
    fix = "divide by 255 or store uint8" if looks_8_bit else "rescale to [0, 1], or choose likelihood=gaussian"
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        fix = "a rounding's worth beyond: cut it off with np.clip(array, 0, 1)"
    values = f"values from {beyond(low, 0.0)} to {beyond(high, 1.0)}"
    raise DataError(f"{name}: {values}, but likelihood={likelihood} models [0, 1]: {fix}")


def check_finite(images: np.ndarray, name: str, likelihood: str) -> None:
    """Raise `DataError` at the first value that is infinite or not a number."""
    if np.isfinite(images).all():
        return
    bad = np.flatnonzero(~np.isfinite(images))
    index = tuple(int(i) for i in np.unravel_index(bad[0], images.shape))
    raise DataError(
        f"{name}: {bad.size} values are not finite (first: {images[index]} at {index}), "
        f"but likelihood={likelihood} needs finite ones: remove or fill in those images"
    )


def sum_pixels(values: Float[Array, "*batch H W C"]) -> Float[Array, "*batch"]:
    """Sum over the last three axes, as a product with ones.

    A plain sum is fused with the formula before it into one loop that XLA does not vectorise on a CPU: exp and log
    one pixel at a time, 5 to 7 times the cost. HIGHEST, since a GPU would round the values to ten bits (TF32).
    """
    *batch, h, w, c = values.shape
    return jnp.matmul(values.reshape(*batch, h * w * c), jnp.ones(h * w * c), precision=lax.Precision.HIGHEST)
