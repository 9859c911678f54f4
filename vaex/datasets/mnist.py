"""MNIST (LeCun, Cortes & Burges 1998): 70 000 handwritten digits, 28x28, uint8."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data import fetch, idx
from vaex.data.dataset import Dataset, Split, type_of_limit
from vaex.data.sources import File, Source
from vaex.errors import DataError

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
    """The rows at the end of the training file that are kept for validation, and the training rows to keep."""

    name: Literal["mnist"]
    valid_rows: Annotated[int, Field(ge=1)]
    limit: type_of_limit


def load(config: Config) -> Dataset:
    """Fetch where necessary, read, split as the book does; raises `FetchError`."""
    return read(SOURCE, config.valid_rows).limited(config.limit)


def read(source: Source, valid_rows: int) -> Dataset:
    """A dataset in MNIST's four files: train is all of the training file but its last rows, which are valid."""
    arrays = {name: idx.read(payload, name) for name, payload in fetch.payloads(source).items()}

    def rows(part: str) -> Split:
        images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{source.name}: {part} has images {images.shape} and labels {labels.shape}")
        return Split(images[..., None], labels[:, None])

    training = rows("train")
    if valid_rows >= len(training.images):
        raise DataError(f"dataset.valid_rows: {valid_rows} of {len(training.images)} rows leave none to train on")
    return Dataset(
        train=training.take(slice(None, -valid_rows)),
        valid=training.take(slice(-valid_rows, None)),
        test=rows("t10k"),
        labels_named=("class",),
    )
