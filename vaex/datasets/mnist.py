"""MNIST (LeCun, Cortes & Burges 1998): 70 000 handwritten digits, 28x28, uint8."""

from typing import Literal

from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data import fetch, idx
from vaex.data.dataset import Dataset, Split, type_of_limit
from vaex.data.sources import File, Source
from vaex.errors import DataError

N_VALID = 5000
"""Rows at the end of the training file that are kept for validation (Géron, chapter 17)."""

SOURCE = Source(
    name="mnist",
    files=(
        File(
            "train-images-idx3-ubyte",
            47040016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        File(
            "train-labels-idx1-ubyte",
            60008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        File(
            "t10k-images-idx3-ubyte",
            7840016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        File(
            "t10k-labels-idx1-ubyte",
            10008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
)


@dataclass(frozen=True, config=STRICT)
class Config:
    """The training rows to keep."""

    name: Literal["mnist"]
    limit: type_of_limit


def load(config: Config) -> Dataset:
    """Fetch where necessary, read, split as the book does; raises `FetchError`."""
    return read(SOURCE).limited(config.limit)


def read(source: Source) -> Dataset:
    """A dataset in MNIST's four files: train is all of the training file but its last 5000 rows, which are valid."""
    arrays = {name: idx.read(payload, name) for name, payload in fetch.payloads(source).items()}

    def rows(part: str) -> Split:
        images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{source.name}: {part} has images {images.shape} and labels {labels.shape}")
        return Split(images[..., None], labels[:, None])

    training = rows("train")
    return Dataset(
        train=training.take(slice(None, -N_VALID)),
        valid=training.take(slice(-N_VALID, None)),
        test=rows("t10k"),
        labels_named=("class",),
    )
