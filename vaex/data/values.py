"""The contract of a likelihood on the images' values, checked before training."""

import numpy as np

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


def beyond(value: float, bound: float) -> str:
    """A number in so many digits that it does not look like `bound`: 1.0000001 is not 1."""
    texts = (f"{value:.{digits}g}" for digits in range(6, 18))
    return next((text for text in texts if value == bound or float(text) != bound), repr(value))
