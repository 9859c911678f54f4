"""Packed folders so small that a handful of images is many shards, blocks and windows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaex.packing import rows, writer


@contextmanager
def small_files(row: int, block: int = 4, window: int = 3, shard: int = 2) -> Iterator[None]:
    """Blocks of so many rows of `row` bytes, windows and shards of so many blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "BLOCK_BYTES", block * row)
        patch.setattr(writer, "WINDOW", window)
        patch.setattr(writer, "SHARD_BYTES", shard * block * row)
        patch.setattr(writer, "PART_BYTES", 3 * row)
        yield


def pack(folder: Path, *splits: Any, labels: bool = True) -> dict[str, Any]:
    """Train, valid and test images in a folder; image i has the label i."""
    parts = {
        name: rows.of_arrays(images, np.arange(len(images))[:, None] if labels else None)
        for name, images in zip(("train", "valid", "test"), splits, strict=True)
    }
    with small_files(splits[0][0].nbytes):
        return writer.write(rows.Source(parts, ("number",) if labels else ()), folder)
