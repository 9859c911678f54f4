"""What people hand to a trained model: images and codes in any likely form, or one error with what was expected."""

import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from vaex.config import implementation
from vaex.data.dataset import Dataset, type_of_images
from vaex.data.stored import Stored
from vaex.data.values import ROUNDING
from vaex.errors import InputError
from vaex.trained.model import Model
from vaex.trained.rows import Rows

type_of_number = float | int | np.floating | np.integer
PART = 1000
"""Images that are looked at together."""
MOST_CODES = 10_000_000
"""Codes that are decoded in one go."""
MOST_TEMPERATURE = float(np.finfo(np.float32).max)
"""Beyond, z is infinite in float32."""


def images(given: Any, model: Model) -> tuple[type_of_images | Rows, bool]:
    """N x H x W x C images of the model's shape, uint8 or float32, and whether it was a single one.

    Of a file that is mapped into memory (`np.load(…, mmap_mode="r")`) they are read and checked a part at a time.
    Raises `InputError` for another shape or dtype, `DataError` for values that the likelihood does not take.
    """
    if isinstance(given, Stored):
        return _lazily(Rows(len(given), functools.partial(_read, given)), model), False
    if isinstance(given, Rows):
        return _lazily(given, model), False
    array, shape = _array(given, "images"), model.dataset.shape
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"images: values of type {array.dtype}; expected uint8 (0 to 255) or float")
    forms = _forms(shape)
    single = array.shape in forms and not any(array.shape[1:] == form for form in forms)
    if not single and array.shape[1:] not in forms:
        shapes = ", ".join(" x ".join(map(str, ("N", *form))) for form in forms)
        raise InputError(f"images: shape {array.shape}; expected {shapes}, or one of them without N")
    if not len(array):
        raise InputError("images: there are none")
    if isinstance(given, np.memmap) and not single:
        return _lazily(given, model), False
    return _checked(array, model, _scale(array, model)), single


def _read(stored: Stored, part: slice) -> type_of_images:
    return np.asarray(stored[part])


def _lazily(given: np.memmap | Rows, model: Model) -> Rows:
    """Images that are read and checked when they are asked for."""
    scale = _scale(given, model)
    return Rows(len(given), lambda part: _checked(given[part], model, scale))


def _scale(rows: Shaped[np.ndarray, "..."] | Rows, model: Model) -> np.uint8 | None:
    """255 for bytes that are all 0 and 1 where the run's own were: `dataset.range=[0, 1]` (datasets/arrays.py)."""
    if getattr(model.config.dataset, "range", None) != (0, 1):
        return None
    parts = (rows[start : start + PART] for start in range(0, len(rows), PART))
    masks = all(part.dtype == np.uint8 and int(part.max()) <= 1 for part in parts)  # the first grey one ends it
    return np.uint8(255) if masks else None


def _checked(array: Shaped[np.ndarray, "..."], model: Model, scale: np.uint8 | None) -> type_of_images:
    """Images of the model's shape; raises for values that it does not take."""
    rows = array.reshape(-1, *model.dataset.shape)
    rows = rows if scale is None else rows * scale
    if rows.dtype != np.uint8:
        rows = _as_float32(rows)
    if not np.isfinite(rows).all():
        raise InputError("images: some values are not finite in float32")
    implementation(model.config.likelihood).check(model.config.likelihood, rows, "images")
    _refuse_another_range(rows, model.dataset)
    return rows


def _refuse_another_range(rows: type_of_images, dataset: Dataset) -> None:
    """Raise `InputError` for bytes where the data were no shares of 255, and floats far from where the data were."""
    low, high = _range(dataset)
    if rows.dtype == np.uint8:
        if low < 0 or high > 1:
            raise InputError(
                f"images: bytes (value/255: 0 to 1), and the run's data are floats from {low:g} to {high:g}; "
                "give floats, as the data are"
            )
        return
    least, most, width = float(rows.min()), float(rows.max()), high - low
    if least < low - width or most > high + width:
        raise InputError(
            f"images: values from {least:g} to {most:g}, and the run's data go from {low:g} to {high:g}; "
            "scale the images as the data were"
        )


def _range(dataset: Dataset) -> tuple[float, float]:
    """From where to where the run's data go, bytes as value/255; 0 to 1 for all that lie in it, but for rounding."""
    scale = 255 if dataset.train.images.dtype == np.uint8 else 1
    low, high = dataset.values.low / scale, dataset.values.high / scale
    return (0.0, 1.0) if low >= -ROUNDING and high <= 1 + ROUNDING else (low, high)


def codes(given: Any, model: Model) -> tuple[Float32[np.ndarray, "N K"], bool]:
    """N x K codes of the model's K, and whether it was a single one; raises `InputError` for anything else."""
    array, latents = _array(given, "codes"), model.config.model.latent_dim
    if array.dtype.kind not in "fiu":
        raise InputError(f"codes: values of type {array.dtype}; expected numbers")
    if array.ndim not in (1, 2) or array.shape[-1] != latents or not len(array):
        raise InputError(f"codes: shape {array.shape}; expected N x {latents} or {latents}")
    rows = _as_float32(array).reshape(-1, latents)
    if not np.isfinite(rows).all():
        raise InputError("codes: some values are not finite in float32")
    return rows, array.ndim == 1


def latent(given: Any, model: Model) -> int:
    """A latent's number, from 0; raises `InputError` for one that is not there."""
    latents = model.config.model.latent_dim
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not 0 <= given < latents:
        raise InputError(f"latent: expected 0 to {latents - 1}, got {given!r}")
    return int(given)


def values(given: Any) -> Float32[np.ndarray, " values"]:
    """Numbers that a latent is set to; raises `InputError` for anything else."""
    array = _array([given] if isinstance(given, (int, float, np.number)) else given, "values")
    if array.dtype.kind not in "fiu":
        raise InputError(f"values: expected numbers, got values of type {array.dtype}")
    places = _as_float32(array).reshape(-1)
    if not len(places) or not np.isfinite(places).all():
        raise InputError(f"values: {'some are not finite in float32' if len(places) else 'there are none'}")
    return places


def count(given: Any, name: str, most: int) -> int:
    """A number of things, from one to so many; raises `InputError` for anything else."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise InputError(f"{name}: expected a whole number from 1, got {given!r}")
    if given > most:
        raise InputError(f"{name}: at most {most}, got {given}")
    return int(given)


def temperature(given: Any) -> float:
    """A deviation of z; raises `InputError` unless it is a number from 0, finite in float32."""
    is_number = isinstance(given, (int, float, np.integer, np.floating)) and not isinstance(given, bool)
    if not is_number or not given >= 0 or math.isinf(given):
        raise InputError(f"temperature: expected a number from 0, got {given!r}")
    if given > MOST_TEMPERATURE:
        raise InputError(f"temperature: at most {MOST_TEMPERATURE:g}, as float32 has it, got {given!r}")
    return float(given)


def seed(given: Any) -> int:
    """A seed: 0 to 2³² − 1; raises `InputError` for anything else."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not 0 <= given < 2**32:
        raise InputError(f"seed: expected a whole number from 0 to {2**32 - 1}, got {given!r}")
    return int(given)


def _as_float32(array: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return array.astype(np.float32)


def _array(given: Any, name: str) -> Shaped[np.ndarray, "..."]:
    try:
        array = np.asarray(given)
    except ValueError as error:  # lists of several lengths
        raise InputError(f"{name}: not an array ({error})") from error
    if array.ndim == 0:
        raise InputError(f"{name}: expected an array, got {type(given).__name__}")
    return array


def _forms(shape: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """How one image of the model may be given: H x W x C, and without axes of length 1 that say nothing."""
    height, width, channels = shape
    forms: list[tuple[int, ...]] = [shape]
    if channels == 1:
        forms.append((height, width))
        if height == 1:
            forms.append((width,))
    return forms
