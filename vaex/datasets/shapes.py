"""One white ellipse, rectangle or triangle on black, 28x28, uint8, drawn from known factors of variation.

In the manner of dSprites (Matthey et al. 2017), for looking at what each latent has learned.
"""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions

SIDE = 28
CENTRE = (9.0, 19.0)
"""Range of x (to the right) and y (down), in pixels from the image's corner."""
SIZE = (4.0, 7.0)
"""Range of half the shape's length, in pixels: wherever it is and however rotated, all of it is in the image."""
WIDTH = 0.6
"""Width of a shape over its length."""
ELLIPSE, RECTANGLE, TRIANGLE = range(3)
BLOCK = 4096
"""Images drawn at once, which bounds the memory."""
FACTORS = ("shape", "x", "y", "size", "rotation")


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """How many images, from which seed."""

    name: Literal["shapes"]
    count: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def load(config: Config) -> Dataset:
    """Labels: the shape (0 ellipse, 1 rectangle, 2 triangle), x, y and size in pixels, rotation in radians."""
    factors = draw_factors(config.count, config.seed)
    blocks = [render(factors[i : i + BLOCK]) for i in range(0, config.count, BLOCK)]
    return split_by_fractions(config, Split(np.concatenate(blocks)[..., None], factors), FACTORS)


def draw_factors(count: int, seed: int) -> Float[np.ndarray, "N 5"]:
    """Independent and uniform; rotation in [0, π), since an ellipse repeats itself beyond."""
    random = np.random.RandomState(seed)  # its stream is frozen for good (NEP 19)
    shape = random.randint(3, size=count)
    low, high = zip(CENTRE, CENTRE, SIZE, (0.0, np.pi), strict=True)
    return np.column_stack([shape, random.uniform(low, high, (count, 4))]).astype(np.float32)


def render(factors: Float[np.ndarray, "N 5"]) -> UInt8[np.ndarray, "N 28 28"]:
    """Coverage of each pixel times 255, from the signed distance d of its centre to the edge: clip(1/2 − d, 0, 1)."""
    shape, x, y, size, rotation = factors.T[:, :, None, None].astype(np.float64)
    pixel = np.arange(SIDE) + 0.5
    dx, dy = pixel - x, pixel[:, None] - y
    along = dx * np.cos(rotation) + dy * np.sin(rotation)
    across = dy * np.cos(rotation) - dx * np.sin(rotation)
    distance = np.empty(along.shape)
    for kind, formula in ((ELLIPSE, _ellipse), (RECTANGLE, _rectangle), (TRIANGLE, _triangle)):
        chosen: Int[np.ndarray, " M"] = np.flatnonzero(shape == kind)
        distance[chosen] = formula(along[chosen], across[chosen], size[chosen])
    return np.rint(255 * np.clip(0.5 - distance, 0, 1)).astype(np.uint8)


type_of_grid = Float[np.ndarray, "M 28 28"]
type_of_size = Float[np.ndarray, "M 1 1"]


def _ellipse(along: type_of_grid, across: type_of_grid, size: type_of_size) -> type_of_grid:
    """To first order at the edge: f / ‖∇f‖ with f = ‖(along / a, across / b)‖ − 1."""
    a, b = size, WIDTH * size
    radius = np.hypot(along / a, across / b)
    slope = np.hypot(along / a**2, across / b**2) / np.maximum(radius, 1e-6)
    return (radius - 1) / np.maximum(slope, 1 / a)


def _rectangle(along: type_of_grid, across: type_of_grid, size: type_of_size) -> type_of_grid:
    return np.maximum(np.abs(along) - size, np.abs(across) - WIDTH * size)


def _triangle(along: type_of_grid, across: type_of_grid, size: type_of_size) -> type_of_grid:
    """Isosceles: base at along = −size, from −WIDTH·size to WIDTH·size; tip at along = size."""
    side = (2 * np.abs(across) + WIDTH * (along - size)) / np.hypot(2.0, WIDTH)
    return np.maximum(-size - along, side)
