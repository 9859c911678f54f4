"""A dataset that Hugging Face's `datasets` has saved on this disk (`save_to_disk`). Nothing is fetched."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files
from vaex.datasets import images
from vaex.errors import DataError, InputError
from vaex.packing.rows import Part, Source, divided

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
    image, label = _columns(path, train)
    names = () if label is None else (label,)
    if all(split is not None for split in named.values()):
        return Source({ours: _part(path, split, image, label, config) for ours, split in named.items()}, names)
    return Source(divided(config, _part(path, train, image, label, config)), names)


def _load(path: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{path}: Hugging Face's datasets, which saved it, is not installed: "
            'pip install "vaex-experiments[stream]"'
        ) from error
    try:
        return datasets.load_from_disk(str(path))  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # Arrow raises what it likes
        raise DataError(f"{path}: cannot be read by Hugging Face's datasets: {files.first_line(error)}") from error


def _columns(path: Path, rows: Any) -> tuple[str, str | None]:
    """The first column of images, and the first of classes."""
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    found = [name for name, kind in kinds.items() if kind == "Image"]
    if not found:
        held = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise DataError(f"{path}: has no column of images ({held})")
    return found[0], next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)


def _part(path: Path, rows: Any, image: str, label: str | None, config: images.Config) -> Part:
    """Pictures are decoded as they are read, as those of a folder are."""
    import datasets

    files_of = rows.cast_column(image, datasets.Image(decode=False))  # pyright: ignore[reportAttributeAccessIssue]

    def read(places: np.ndarray) -> np.ndarray:
        chosen = zip(places.tolist(), files_of[places.tolist()][image], strict=True)
        return np.stack([_decoded(f"{path}: picture {place}", each, config) for place, each in chosen])

    labels = None if label is None else np.asarray(rows[label])[:, None]
    return Part(len(rows), read, labels)


def _decoded(named: str, picture: dict[str, Any] | None, config: images.Config) -> np.ndarray:
    if not picture or (picture["bytes"] is None and picture["path"] is None):
        raise DataError(f"{named}: is not there (null); filter such rows out first")
    if picture["bytes"] is None:
        return images.read(Path(picture["path"]), config.size, config.channels)[0]
    return images.decoded(io.BytesIO(picture["bytes"]), named, config.size, config.channels)[0]
