"""Images and codes that a command names: an array's file, a folder of pictures, a table. Large ones stay on disk."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Shaped

from vaex.data import numpy_files
from vaex.data.dataset import type_of_images
from vaex.datasets import images as pictures
from vaex.errors import InputError, printable
from vaex.files import exists, first_line
from vaex.trained.rows import Rows

ARRAYS = (".npy", ".npz")
NUMBERS = numpy_files.Wanted("biuf", tuple(range(1, 9)), "numbers", "N x …")
"""What of an array is checked before it is read; the rest is checked against the model."""


class Images(NamedTuple):
    """What the model is given, and what each image is called: its file's name, or its number from 0."""

    images: Any
    names: Sequence[str] | None


def images(path: Path, shape: tuple[int, int, int]) -> Images:
    """An array's file, a folder of pictures or one of them; raises `InputError` or `DataError` naming it.

    Pictures are resized to `shape`, the model's, as `dataset=images` does it.
    """
    if not exists(path):
        raise InputError(
            f"{path}: is not there; expected images: an .npy or .npz file, a folder of pictures, a picture"
        )
    if path.suffix.lower() in ARRAYS:
        return Images(array(path, ("images",)), None)
    paths = pictures.files_of(path, str(path)) if path.is_dir() else [path]
    height, width, channels = shape
    if height != width or channels not in pictures.MODES:
        raise InputError(
            f"{path}: pictures become squares of 1 or 3 channels, and the model takes {height} x {width} x {channels}; "
            "give an .npy file"
        )

    def read(part: slice) -> type_of_images:
        return np.stack([pictures.read(each, height, channels)[0] for each in paths[part]])

    return Images(Rows(len(paths), read), [printable(each.name) for each in paths])


def codes(path: Path, latents: int) -> Shaped[np.ndarray, "..."]:
    """Codes from an array's file (`z`, or `mu` as `vaex encode` names it) or a table with a column a latent."""
    if path.suffix.lower() in ARRAYS:
        return array(path, ("z", "mu"))
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: expected codes: an .npy, .npz or .csv file")
    return _from_table(path, latents)


def array(path: Path, names: Sequence[str]) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file, which stays on disk; of a .npz file that of the first of these names, or the only one.

    Raises `InputError` or `DataError` naming the file.
    """
    if not exists(path) or not path.is_file():
        raise InputError(f"{path}: is not {'a file' if exists(path) else 'there'}")
    there = numpy_files.names(path)
    if there is None:
        return numpy_files.mapped(path, NUMBERS)
    known = [name for name in names if name in there][:1] or there
    if len(known) != 1:
        raise InputError(
            f"{path}: expected an array {' or '.join(map(repr, names))}, it has {', '.join(there) or 'nothing'}"
        )
    return numpy_files.member(path, known[0], NUMBERS)


def _from_table(path: Path, latents: int) -> Float32[np.ndarray, "N K"]:
    """The columns z_0, z_1, … or mu_0, mu_1, …, in whatever order, of a table that may have others besides."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path}: cannot be read as a table: {first_line(error)}") from error
    columns = _columns_of_codes(path, [str(name) for name in table.columns], latents)
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            return table[columns].to_numpy(np.float64).astype(np.float32)
    except ValueError as error:
        raise InputError(f"{path}: not all of it is numbers: {first_line(error)}") from error


def _columns_of_codes(path: Path, there: Sequence[str], latents: int) -> list[str]:
    """Which columns are the codes: those of z, else of mu; raises `InputError` unless they are as many as latents."""
    for name in ("z", "mu"):
        found = {column for column in there if re.fullmatch(rf"{name}_\d+", column)}
        columns = [f"{name}_{number}" for number in range(min(latents, len(found)))]
        if len(columns) == latents and found == set(columns):
            return columns
    last = latents - 1
    expected = "z_0 or mu_0" if last == 0 else f"z_0 to z_{last}, or mu_0 to mu_{last}"
    if any(_is_number(column) for column in there):
        raise InputError(f"{path}: its first line is numbers and no header; expected one that names columns {expected}")
    told = ", ".join(there[:8]) + (f", … ({len(there)} in all)" if len(there) > 8 else "")
    raise InputError(f"{path}: expected columns {expected}, and it has {told}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
