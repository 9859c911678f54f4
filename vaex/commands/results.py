"""What the verbs of a trained model write: arrays in blocks, pictures; each file whole or not at all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped
from numpy.lib import format as npy
from PIL import Image

from vaex import files
from vaex.api.inputs import MOST_CODES
from vaex.api.run import Run
from vaex.errors import InputError, VaexError, printable
from vaex.figures import style
from vaex.figures.chosen import MOST
from vaex.figures.tiles import Look
from vaex.figures.tiles import look as look_of
from vaex.terminal.screen import say

BLOCK = 2000
"""Codes that are decoded at once: a multiple of the model's batch, so that no bit depends on the blocks."""

LOOKED_AT = 24
"""Validation images that say how a run's images are shown."""


def look(run: Run) -> Look:
    """How the run's images are shown: as its figures show them."""
    return look_of(as_shown(np.asarray(run.data("valid").images[:LOOKED_AT])))


def as_shown(image: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Bytes as 0 to 1; floats as they are."""
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image


def of_split(run: Run, split: str, numbers: Sequence[int]) -> list[Shaped[np.ndarray, "H W C"]]:
    """Images of the run's own data by their numbers; raises `InputError` for one that is not there."""
    images = run.data(split).images
    for number in numbers:
        if number >= len(images):
            raise InputError(f"{split} has images 0 to {len(images) - 1}, got {number}")
    return [images[number] for number in numbers]


def refuse_too_many(path: Path, count: int) -> None:
    """Raise `InputError` for more images than the file can hold."""
    if path.suffix == ".png" and count > MOST:
        raise InputError(f"{path}: {count} images in a picture; at most {MOST}, any number as an .npy file")
    if count > MOST_CODES:
        raise InputError(f"{path}: {count} images; at most {MOST_CODES} in a file")


def write_decoded(path: Path, run: Run, codes: Shaped[np.ndarray, "..."]) -> int:
    """E[x|z] of each code to an .npy file, N x H x W x C float32, a block at a time; the exit code.

    Not by mapping the file into memory: there a full disk is no error but the signal SIGBUS.
    """
    with _replacing(path) as temporary, temporary.open("wb") as file:
        for start in range(0, max(1, len(codes)), BLOCK):
            images = run.decode(codes[start : start + BLOCK])  # which refuses codes that are none
            if start == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(codes), *images.shape[1:])}
                npy.write_array_header_1_0(file, header)
            file.write(images.astype("<f4", copy=False).tobytes())
    return _told(path)


def write_array(path: Path, images: Float32[np.ndarray, "..."]) -> int:
    """An array to an .npy file; the exit code."""
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, images, allow_pickle=False)
    return _told(path)


def write_picture(path: Path, picture: Image.Image) -> int:
    """A picture to a .png file; the exit code."""
    return write(path, style.png(picture))


def write(path: Path, content: bytes) -> int:
    """A file's content; the exit code."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content)
    return _told(path)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """`files.replacing`, with one line for a disk that is full."""
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise VaexError(f"{path}: cannot be written ({files.first_line(error)})") from error


def _told(path: Path) -> int:
    say(printable(path))
    return 0
