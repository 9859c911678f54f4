"""A folder that `vaex data pack` has made: any number of images, which are read as they are needed."""

from typing import Literal

from pydantic.dataclasses import dataclass

from vaex import files
from vaex.config import STRICT
from vaex.data import packed
from vaex.data.dataset import Dataset, type_of_limit


@dataclass(frozen=True, config=STRICT)
class Config:
    """The folder, and the training rows to keep."""

    name: Literal["shards"]
    path: str
    limit: type_of_limit


def load(config: Config) -> Dataset:
    """Its splits are those that were packed. Raises `DataError` for a file that is missing or of another size."""
    return packed.read(files.expanded(config.path)).limited(config.limit)
