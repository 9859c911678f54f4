"""scikit-learn's handwritten digits (Alpaydin & Kaynak 1998): 1797 of 8x8, float32; installed, no network needed."""

import gzip
import importlib.util
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions
from vaex.errors import DataError
from vaex.files import first_line, sha256

SHAPE = (8, 8, 1)
LEVELS = 16
"""The value of a white pixel."""

FILE = Path("datasets", "data", "digits.csv.gz")
"""In scikit-learn's package: 64 pixels and the digit in each line. Read as a file: importing sklearn takes a second."""

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""Of the decompressed file."""


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """Only how to split."""

    name: Literal["digits"]


def load(config: Config) -> Dataset:
    """Values 0..16 scaled to [0, 1]; the label is the digit. Raises `DataError` when scikit-learn's file is damaged."""
    rows = np.loadtxt(_content().decode().splitlines(), np.uint8, delimiter=",")
    images = (rows[:, :-1] / LEVELS).astype(np.float32).reshape(-1, *SHAPE)
    return split_by_fractions(config, Split(images, rows[:, -1:]), ("class",))


def _content() -> bytes:
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("dataset=digits: comes with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(package.origin).parent / FILE
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}): install scikit-learn again") from error
    if sha256(content) != SHA256:
        raise DataError(f"{path}: not the digits that scikit-learn comes with: install scikit-learn again")
    return content
