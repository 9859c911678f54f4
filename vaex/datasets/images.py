"""A folder of image files, resized, as uint8."""

import struct
import warnings
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.dataset import Dataset, Fractions, Split, split_by_fractions
from vaex.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Of Pillow's formats the common ones; among the others are some that start a program to be read."""
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """The folder, and what its pictures are turned into."""

    name: Literal["images"]
    path: str
    size: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]


def load(config: Config) -> Dataset:
    """All files of the folder but hidden ones, in the order of their names; raises `DataError` naming the file."""
    paths = _files(Path(config.path).expanduser())
    images = np.empty((len(paths), config.size, config.size, config.channels), np.uint8)
    for row, path in zip(images, paths, strict=True):
        row[:] = read(path, config.size, config.channels)
    return split_by_fractions(config, Split(images, None))


def read(path: Path, size: int, channels: int) -> UInt8[np.ndarray, "size size channels"]:
    """One picture, upright by its EXIF orientation, without transparency, resized with Lanczos' filter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata and transparency: only the pixels count
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                return _pixels(picture, path, size, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller first") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image; expected {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error


def _pixels(picture: Image.Image, path: Path, size: int, channels: int) -> UInt8[np.ndarray, "size size channels"]:
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise DataError(f"{path}: more than 8 bits a channel, which would be cut off; use dataset=arrays")
    upright = ImageOps.exif_transpose(picture)
    resized = upright.convert(MODES[channels]).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(size, size, channels)


def _files(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"dataset.path: {folder} is not a folder that can be read: {error.strerror}") from error
    if not paths:
        raise DataError(f"dataset.path: {folder} has no files (its sub-folders are not read)")
    return paths
