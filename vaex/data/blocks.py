"""The order in which an epoch takes rows that lie on a disk: near each other when they are read, far apart before.

Blocks of consecutive rows are shuffled; then the rows of so many blocks that follow each other in that order, a window,
are shuffled among themselves. So a disk reads whole blocks, memory holds one window, and of data of one window the
order is any of them. It depends on the seed and the epoch alone, not on who reads how much at once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64


class Blocks(NamedTuple):
    """Rows of a block, the last one's apart, and blocks of a window."""

    rows: int
    window: int

    def one_window(self, count: int) -> bool:
        """Whether so many rows are a single window."""
        return count <= self.rows * self.window


def windows(blocks: Blocks, count: int, seed: Sequence[int]) -> Iterator[Int64[np.ndarray, " rows"]]:
    """The rows of each window, of `count` rows in all. `seed` are words of the stream of an epoch's order."""
    # RandomState: its stream is frozen for good (NEP 19).
    shuffled = np.random.RandomState([*seed, 0]).permutation(-(-count // blocks.rows))
    for number, start in enumerate(range(0, len(shuffled), blocks.window)):
        firsts = shuffled[start : start + blocks.window] * blocks.rows
        rows = np.concatenate([np.arange(first, min(first + blocks.rows, count)) for first in firsts])
        yield np.random.RandomState([*seed, 1 + number]).permutation(rows)
