"""A folder of image files, resized, as uint8."""

import contextlib
import io
import re
import struct
import warnings
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex import files
from vaex.config import STRICT
from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions
from vaex.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Of Pillow's formats the common ones; among the others are some that start a program to be read."""
MODES = {1: "L", 3: "RGB"}
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What damaged files raise in Pillow."""


@dataclass(frozen=True, config=STRICT)
class Config(Fractions):
    """The folder, and what its pictures are turned into."""

    name: Literal["images"]
    path: str
    size: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]


def load(config: Config) -> Dataset:
    """All files of the folder but hidden ones, in the order of their names; raises `DataError` naming the file."""
    paths = files_of(files.expanded(config.path), "dataset.path")
    images = np.empty((len(paths), config.size, config.size, config.channels), np.uint8)
    animated = 0
    for row, path in zip(images, paths, strict=True):
        row[:], several = read(path, config.size, config.channels)
        animated += several
    only_first = f"{config.path}: {animated} of {len(paths)} files have several frames; only the first of each is used"
    return split_by_fractions(config, Split(images, None), remarks=(only_first,) if animated else ())


def read(path: Path, size: int, channels: int) -> tuple[UInt8[np.ndarray, "size size channels"], bool]:
    """A picture's first frame, upright by its EXIF orientation, resized with Lanczos' filter; whether more follow."""
    return decoded(path, str(path), size, channels)


def decoded(
    source: Path | io.BytesIO, named: str, size: int, channels: int
) -> tuple[UInt8[np.ndarray, "size size channels"], bool]:
    """`read`, of a file or of its bytes; raises `DataError` with what it is named."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata: only the pixels count
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                return _pixels(picture, named, size, channels), _has_several_frames(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{named}: more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller first") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{named}: not an image; expected {', '.join(FORMATS)}") from error
    except UNREADABLE as error:
        raise DataError(f"{named}: cannot be read as an image: {error}") from error


def _pixels(
    picture: ImageFile.ImageFile, named: str, size: int, channels: int
) -> UInt8[np.ndarray, "size size channels"]:
    if _is_deep(picture):
        raise DataError(f"{named}: more than 8 bits a channel, which would be cut off; use dataset=arrays")
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data and upright.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise DataError(
            f"{named}: has transparent pixels, and nothing says what is behind them; lay the pictures on a ground "
            "first, as with ImageMagick's `mogrify -path NEW -background white -alpha remove *`"
        )
    resized = upright.convert(MODES[channels]).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(size, size, channels)


def _is_deep(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has more than 8 bits a channel, which Pillow keeps of a grey picture but not of colours."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return True
    described = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in picture.tile]
    words = [word for arguments in described for word in arguments]
    if picture.format == "PPM":  # the largest value is the last word
        return any(isinstance(word, int) and word > 255 for word in words)
    # In a bitmap "BGR;16" means 16 bits a pixel.
    return picture.format != "BMP" and any(re.search(r";(16|32)", word) for word in words if isinstance(word, str))


def _has_several_frames(picture: ImageFile.ImageFile) -> bool:
    """Whether more follows the first frame of a picture that has been read."""
    with warnings.catch_warnings(), contextlib.suppress(*UNREADABLE):  # a damaged frame is one, too
        warnings.simplefilter("ignore")
        return getattr(picture, "is_animated", False)
    return True


def files_of(folder: Path, named: str) -> list[Path]:
    """The files of a folder but hidden ones, by their names; raises `DataError`. `named` is what named the folder."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        lost = [path for path in entries if not path.exists()]
        paths = [path for path in entries if path.is_file()]
    except OSError as error:
        raise DataError(f"{named}: {folder} is not a folder that can be read: {error.strerror}") from error
    if lost:
        raise DataError(
            f"{named}: {folder} has {len(lost)} links to what is not there (first: {lost[0].name}); "
            "bring the files there, or remove the links"
        )
    if not paths:
        raise DataError(f"{named}: {folder} has no files (its sub-folders are not read)")
    return paths
