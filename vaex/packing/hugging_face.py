"""A dataset that Hugging Face's `datasets` has saved on this disk (`save_to_disk`). Nothing is fetched."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
        return Source({ours: _part(split, image, label, config) for ours, split in named.items()}, names)
    return Source(divided(config, _part(train, image, label, config)), names)


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


def _part(rows: Any, image: str, label: str | None, config: images.Config) -> Part:
    """Pictures are decoded as they are read, then resized as those of a folder are."""

    def read(places: np.ndarray) -> np.ndarray:
        pictures = rows[places.tolist()][image]
        return np.stack([_resized(picture, config) for picture in pictures])

    labels = None if label is None else np.asarray(rows[label])[:, None]
    return Part(len(rows), read, labels)


def _resized(picture: Image.Image, config: images.Config) -> np.ndarray:
    resized = picture.convert(images.MODES[config.channels]).resize(
        (config.size, config.size), Image.Resampling.LANCZOS
    )
    return np.asarray(resized).reshape(config.size, config.size, config.channels)
