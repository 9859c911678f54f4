"""The shapes of `dataset=shapes` at every combination of levels of five factors, each once.

So the factors are exactly independent, as dSprites' are (Matthey et al. 2017): what measures of disentanglement assume.
"""

import math
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions
from vaex.datasets import shapes
from vaex.errors import DataError

FACTORS = ("shape", "scale", "rotation", "x", "y")
MOST = 1_000_000
"""Images; 784 MB."""

type_of_count = Annotated[int, Field(ge=1, le=64)]
"""Levels of a factor. Up to 64 every two neighbouring levels give different images; with 1 the factor is fixed."""


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """How many levels each factor has, besides the three shapes."""

    name: Literal["shapes_grid"]
    scale: type_of_count
    rotation: type_of_count
    x: type_of_count
    y: type_of_count


def load(config: Config) -> Dataset:
    """Labels: the level of each factor, from 0, in the order of `FACTORS`; `values` says what a level stands for.

    The splits share the grid out at random, so within one of them the factors are independent only nearly. Raises
    `DataError` for more than a million images.
    """
    counts = (3, config.scale, config.rotation, config.x, config.y)
    total = math.prod(counts)
    if total > MOST:
        raise DataError(
            f"dataset: 3 shapes and {counts[1:]} levels of scale, rotation, x and y make {total} images, and {MOST} is "
            "the most; lower dataset.scale, dataset.rotation, dataset.x or dataset.y"
        )
    levels = np.indices(counts, dtype=np.uint8).reshape(len(counts), -1).T.copy()
    factors = values(counts, levels)
    blocks = [shapes.render(factors[i : i + shapes.BLOCK]) for i in range(0, total, shapes.BLOCK)]
    return split_by_fractions(config, Split(np.concatenate(blocks)[..., None], levels), FACTORS)


def values(counts: tuple[int, int, int, int, int], levels: UInt8[np.ndarray, "N 5"]) -> Float[np.ndarray, "N 5"]:
    """What the levels stand for, in the columns of `shapes.FACTORS`: shape, x, y, size, rotation.

    Position and size go evenly from one end of their range to the other (a single level is the middle). Rotation takes
    k·π / count: an ellipse or rectangle repeats itself after π, so beyond it a level could not be told from another,
    and π itself is left out since it is 0 again. A triangle has as many directions more, which are not drawn.
    """
    _, *others = counts
    scale, x, y = (
        _evenly(*limits, count)
        for limits, count in ((shapes.SIZE, others[0]), (shapes.CENTRE, others[2]), (shapes.CENTRE, others[3]))
    )
    rotation = np.pi * np.arange(others[1]) / others[1]
    shape, *indices = levels.T
    size, angle, right, down = (table[i] for table, i in zip((scale, rotation, x, y), indices, strict=True))
    return np.column_stack([shape, right, down, size, angle]).astype(np.float32)


def _evenly(low: float, high: float, count: int) -> Float[np.ndarray, " count"]:
    return np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])
