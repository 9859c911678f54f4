"""A dataset that Hugging Face's `datasets` has saved on this disk (`save_to_disk`). Nothing is fetched."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files
from vaex.datasets import images
from vaex.errors import DataError, InputError
from vaex.packing.rows import Frames, Part, Source, divided, limited

SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val"), "test": ("test",)}
"""What ours are called there."""


def source(path: Path, config: images.Config) -> Source:
    """Its own splits, if it has the three; else its training rows, or all of them, divided by `dataset.fractions`."""
    saved = _load(path)
    if not hasattr(saved, "items"):
        saved = {"train": saved}
    named = {ours: next((saved[name] for name in names if name in saved), None) for ours, names in SPLITS.items()}
    train = named["train"]
    if train is None:
        raise DataError(f"{path}: has no split train (it has {', '.join(map(str, saved))})")
    columns, label = _columns(path, train)
    names, frames = () if label is None else (label,), Frames()
    choices = [f"{path}: of its columns of images ({', '.join(columns)}) {columns[0]}"] * (len(columns) > 1)
    if all(split is not None for split in named.values()):
        parts = {ours: _part(path, split, columns[0], label, config, frames) for ours, split in named.items()}
        return Source(limited(config, parts), names, choices=tuple(choices), frames=frames)
    left = [name for name in saved if name not in SPLITS["train"]]
    choices += [f"{path}: of its splits ({', '.join(saved)}) train, divided into three"] * bool(left)
    rows = _part(path, train, columns[0], label, config, frames)
    return Source(divided(config, rows), names, choices=tuple(choices), frames=frames)


def _load(path: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{path}: Hugging Face's datasets, which saved it, is not installed: "
            'pip install "vaex-experiments[stream]"'
        ) from error
    try:
        saved = datasets.load_from_disk(str(path))  # pyright: ignore[reportAttributeAccessIssue]
        return saved.with_format(None)  # what is saved may be tensors, of some columns only
    except Exception as error:  # Arrow raises what it likes
        raise DataError(f"{path}: cannot be read by Hugging Face's datasets: {files.first_line(error)}") from error


def _columns(path: Path, rows: Any) -> tuple[list[str], str | None]:
    """The columns of images, and the first of classes."""
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    found = [name for name, kind in kinds.items() if kind == "Image"]
    if not found:
        held = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise DataError(f"{path}: has no column of images ({held})")
    return found, next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)


def _part(path: Path, rows: Any, image: str, label: str | None, config: images.Config, frames: Frames) -> Part:
    """Pictures are decoded as they are read, as those of a folder are."""
    import datasets

    files_of = rows.cast_column(image, datasets.Image(decode=False))  # pyright: ignore[reportAttributeAccessIssue]

    def read(places: np.ndarray) -> np.ndarray:
        try:
            chosen = files_of[places.tolist()][image]
        except Exception as error:  # of a damaged file Arrow raises what it likes
            raise DataError(f"{path}: cannot be read by Hugging Face's datasets: {files.first_line(error)}") from error
        of_each = zip([f"{path}: picture {place}" for place in places.tolist()], chosen, strict=True)
        return np.stack([frames.first((id(rows), name), _decoded(name, each, config)) for name, each in of_each])

    return Part(len(rows), read, None if label is None else _classes(rows[label]))


def _classes(column: Any) -> np.ndarray:
    """A column of classes; of a row without one -1, as `datasets` has it in sets that are only partly labelled."""
    return np.array([-1 if each is None else each for each in column])[:, None]


def _decoded(named: str, picture: dict[str, Any] | None, config: images.Config) -> tuple[np.ndarray, bool]:
    if not picture or (picture["bytes"] is None and picture["path"] is None):
        raise DataError(f"{named}: is not there (null); filter such rows out first")
    if picture["bytes"] is None:
        return images.read(Path(picture["path"]), config.size, config.channels)
    return images.decoded(io.BytesIO(picture["bytes"]), named, config.size, config.channels)
