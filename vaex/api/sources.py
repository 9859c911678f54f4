"""Images and codes that a command names: an array's file, a folder of pictures, a table. Large ones stay on disk."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Shaped

from vaex.data.dataset import type_of_images
from vaex.datasets import images as pictures
from vaex.errors import InputError
from vaex.files import first_line
from vaex.trained.rows import Rows

ARRAYS = (".npy", ".npz")


class Images(NamedTuple):
    """What the model is given, and what each image is called: its file's name, or its number from 0."""

    images: Any
    names: Sequence[str] | None


def images(path: Path, shape: tuple[int, int, int]) -> Images:
    """An array's file, a folder of pictures or one of them; raises `InputError` or `DataError` naming it.

    Pictures are resized to `shape`, the model's, as `dataset=images` does it.
    """
    if not path.exists():
        raise InputError(
            f"{path}: is not there; expected images: an .npy or .npz file, a folder of pictures, a picture"
        )
    if path.suffix in ARRAYS:
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

    return Images(Rows(len(paths), read), [each.name for each in paths])


def codes(path: Path, latents: int) -> Shaped[np.ndarray, "..."]:
    """Codes from an array's file (`z`, or `mu` as `vaex encode` names it) or a table with a column a latent."""
    if path.suffix in ARRAYS:
        return array(path, ("z", "mu"))
    if path.suffix != ".csv":
        raise InputError(f"{path}: expected codes: an .npy, .npz or .csv file")
    return _from_table(path, latents)


def array(path: Path, names: Sequence[str]) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file, which stays on disk, or of a .npz file the only one, or that of one of these names."""
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as archive:
            known = [name for name in names if name in archive.files] or archive.files
            if len(known) != 1:
                there = ", ".join(archive.files) or "nothing"
                raise InputError(f"{path}: expected an array {' or '.join(map(repr, names))}, it has {there}")
            return archive[known[0]]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a NumPy array: {first_line(error)}") from error


def _from_table(path: Path, latents: int) -> Float32[np.ndarray, "N K"]:
    """The columns z_0, z_1, … or mu_0, mu_1, …, or all where there are as many as latents."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path}: cannot be read as a table: {first_line(error)}") from error
    for name in ("z", "mu"):
        columns = [f"{name}_{number}" for number in range(latents)]
        if set(columns) <= set(table.columns):
            table = table[columns]
            break
    if table.shape[1] != latents:
        raise InputError(
            f"{path}: expected columns z_0 to z_{latents - 1} (or mu_…), it has {', '.join(table.columns)}"
        )
    try:
        return table.to_numpy(np.float32)
    except ValueError as error:
        raise InputError(f"{path}: not all of it is numbers: {first_line(error)}") from error
