"""Where a training image is in what the user gave: its row in the file, or its file's name."""

from typing import Any

import numpy as np

from vaex import files
from vaex.data.dataset import Dataset, Fractions
from vaex.datasets import images
from vaex.errors import VaexError


def where(section: Any, dataset: Dataset, index: int) -> str:
    """Of a dataset's Config and a place in its training split: splits are shuffled, so a place is no row."""
    place = f"position {index} of the training split, from 0"
    row = _row(section, dataset, index)
    if row is None:
        return place
    if isinstance(section, images.Config):
        try:
            return f"{images.files_of(files.expanded(section.path), 'dataset.path')[row].name}, {place}"
        except (VaexError, IndexError):  # the folder was changed since it was read
            return place
    return f"row {row} of {getattr(section, 'path', section.name)}, from 0; {place}"


def _row(section: Any, dataset: Dataset, index: int) -> int | None:
    """Before `split_by_fractions`; None where another rule made the splits, or `limit` hides the number of rows."""
    if not isinstance(section, Fractions) or section.limit is not None:
        return None
    splits = (dataset.train, dataset.valid, dataset.test) if section.fractions else (dataset.train,)
    count = sum(len(split.images) for split in splits)
    return int(np.random.RandomState(section.split_seed).permutation(count)[index])
