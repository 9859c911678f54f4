"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): 70 000 pictures of clothes in MNIST's format, 28x28, uint8."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.dataset import Dataset, type_of_limit
from vaex.data.sources import File, Source
from vaex.datasets import mnist

SOURCE = Source(
    name="fashion_mnist",
    files=(
        File(
            "train-images-idx3-ubyte",
            47040016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        File(
            "train-labels-idx1-ubyte",
            60008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        File(
            "t10k-images-idx3-ubyte",
            7840016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        File(
            "t10k-labels-idx1-ubyte",
            10008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    package="dataset-fashion-mnist",
    folder=Path("/usr/share/datasets/fashion-mnist"),
)


@dataclass(frozen=True, config=STRICT)
class Config:
    """The rows at the end of the training file that are kept for validation, and the training rows to keep."""

    name: Literal["fashion_mnist"]
    valid_rows: Annotated[int, Field(ge=1)]
    limit: type_of_limit


def load(config: Config) -> Dataset:
    """Fetch where necessary, read, split as the book does; raises `FetchError`."""
    return mnist.read(SOURCE, config.valid_rows).limited(config.limit)
