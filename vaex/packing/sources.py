"""What a person names for `vaex data pack`: a dataset, a file of arrays, an idx file, a folder of pictures, ArrayRecord
files, or what Hugging Face's `datasets` has saved.
"""

import dataclasses
import gzip
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vaex import config as configuration
from vaex import files
from vaex.data import idx, numpy_files, packed
from vaex.datasets import arrays, images
from vaex.errors import DataError, InputError
from vaex.packing import array_record
from vaex.packing.rows import Frames, Part, Source, divided, of_arrays

HUGGING_FACE = ("dataset_dict.json", "dataset_info.json")
"""Either is in a folder that `save_to_disk` has made."""

type_of_section = Callable[..., Any]
"""The name of a dataset, and where its files are if it has files of the user's -> its Config."""


def open_source(named: str, section: type_of_section) -> Source:
    """What is named: a dataset by its name, else a file or folder; raises `InputError`."""
    return dataclasses.replace(_opened(named, section), named=named)


def _opened(named: str, section: type_of_section) -> Source:
    if named in configuration.ours("dataset"):
        return _of_dataset(named, section)
    path = files.expanded(named)
    if path.is_dir():
        return _of_folder(path, section)
    if not path.is_file():
        names = ", ".join(configuration.ours("dataset"))
        raise InputError(f"vaex data pack: {named} is no file or folder, and no dataset ({names})")
    start = _start(path)
    if start == array_record.SIGNATURE:
        return array_record.source([path], section("images", path))
    if start[:2] == b"PK" or start[:6] == b"\x93NUMPY":
        return _of_arrays(path, section("arrays", path))
    if start[:3] == b"\0\0\x08" or start[:2] == b"\x1f\x8b":
        return _of_idx(path, section("arrays", path))
    raise DataError(f"{path}: not a .npy, .npz, idx or ArrayRecord file; a folder of pictures is packed as a whole")


def _start(path: Path) -> bytes:
    """By which a kind of file is known."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(array_record.SIGNATURE))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {files.first_line(error)}") from error


def _of_dataset(name: str, section: type_of_section) -> Source:
    """Its splits as they are."""
    if "path" in configuration.find("dataset", name).Config.__dataclass_fields__:
        raise InputError(f"vaex data pack: dataset={name} has files of your own: name those, or ./{name}")
    config = section(name)
    dataset = configuration.implementation(config).load(config)
    splits = {name: of_arrays(*getattr(dataset, name)) for name in packed.SPLITS}
    return Source(splits, dataset.labels_named, dataset.remarks)


def _of_folder(path: Path, section: type_of_section) -> Source:
    if packed.is_packed(path):
        raise InputError(f"{path}: is packed already: dataset=shards dataset.path={path}")
    if any((path / name).is_file() for name in HUGGING_FACE):
        from vaex.packing import hugging_face  # late: needs an extra

        return hugging_face.source(path, section("images", path))
    paths = images.files_of(path, "vaex data pack")
    if all(_start(each) == array_record.SIGNATURE for each in paths):
        return array_record.source(paths, section("images", path))
    return _of_pictures(paths, section("images", path))


def _of_pictures(paths: list[Path], config: images.Config) -> Source:
    frames = Frames()

    def read(places: np.ndarray) -> np.ndarray:
        chosen = [paths[place] for place in places]
        return np.stack([frames.first(str(path), images.read(path, config.size, config.channels)) for path in chosen])

    return Source(divided(config, Part(len(paths), read, None)), frames=frames)


def _of_arrays(path: Path, config: arrays.Config) -> Source:
    """Mapped, where it is a .npy; the member of a .npz is read into memory."""
    members = numpy_files.names(path)
    array = numpy_files.mapped(path, arrays.OF_IMAGES) if members is None else arrays.read(path, config.key)
    white = 1
    if config.range == (0, 1) and array.dtype == np.uint8 and array.max() <= 1:
        white = 255  # a mask: 1 is white

    def read(places: np.ndarray) -> np.ndarray:
        part = arrays.as_images(array[places])
        return part * np.uint8(white) if white > 1 else part

    factors = arrays.read_factors(path)
    if factors is not None and len(factors) != len(array):
        raise DataError(f"{path}: {len(factors)} rows of {arrays.FACTORS!r} for {len(array)} images")
    names = () if factors is None else tuple(f"factor_{column}" for column in range(factors.shape[1]))
    splits = divided(config, Part(len(array), read, factors))
    return Source(splits, names, declared=config.range)


def _of_idx(path: Path, config: arrays.Config) -> Source:
    """Images, and the labels beside them where they are named as MNIST's are."""
    array = _read_idx(path)
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))
    labels = _read_idx(beside) if beside != path and beside.is_file() else None
    if labels is not None and labels.shape != array.shape[:1]:
        raise DataError(f"{beside}: labels {labels.shape} for images {array.shape}")
    rows = Part(len(array), lambda places: arrays.as_images(array[places]), None if labels is None else labels[:, None])
    return Source(divided(config, rows), () if labels is None else ("class",), declared=config.range)


def _read_idx(path: Path) -> np.ndarray:
    """Mapped where it is not compressed."""
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            if zipped:
                return idx.read(gzip.decompress(stream.read()), str(path))
            return idx.read(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), str(path))
    except numpy_files.UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {files.first_line(error)}") from error
