"""scikit-learn's handwritten digits (Alpaydin & Kaynak 1998): 1797 of 8x8, float32; installed, no network needed."""

from typing import Literal

import numpy as np
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.dataset import Dataset, Fractions, Split, split_by_fractions

SHAPE = (8, 8, 1)
LEVELS = 16
"""The value of a white pixel."""


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """Only how to split."""

    name: Literal["digits"]


def load(config: Config) -> Dataset:
    """Values 0..16 scaled to [0, 1]; the label is the digit."""
    from sklearn.datasets import load_digits  # takes a second to import, and only this dataset needs it

    pixels, classes = map(np.asarray, load_digits(return_X_y=True))
    images = (pixels / LEVELS).astype(np.float32).reshape(-1, *SHAPE)
    return split_by_fractions(config, Split(images, classes.astype(np.uint8)[:, None]), ("class",))
