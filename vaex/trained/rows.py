"""Images that are read a part at a time, so that any number of them goes through a model."""

from collections.abc import Callable
from dataclasses import dataclass

from vaex.data.dataset import type_of_images


@dataclass(frozen=True)
class Rows:
    """`count` images; `read` gives a slice of them, N x H x W x C, uint8 or float32, from several threads at once."""

    count: int
    read: Callable[[slice], type_of_images]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> type_of_images:
        return self.read(part)
