"""Pictures in ArrayRecord files, each record one picture's file (PNG, JPEG, …), read by Grain.

A record is bytes, and nothing says which: those of TensorFlow Datasets are protocol buffers, which are refused.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaex.datasets import images
from vaex.errors import DataError, InputError
from vaex.files import first_line
from vaex.packing.rows import Frames, Part, Source, divided

SIGNATURE = bytes.fromhex("83af70d10d884a3f")
"""With which a Riegeli file begins, of which ArrayRecord is a kind."""


def source(paths: Sequence[Path], config: images.Config) -> Source:
    """The records of the files, one file after the other; raises `InputError`, `DataError`."""
    named = str(paths[0] if len(paths) == 1 else paths[0].parent)
    records, frames = _opened(named, paths), Frames()

    def read(places: np.ndarray) -> np.ndarray:
        pictures = zip(places.tolist(), _records(named, records, places.tolist()), strict=True)
        of_each = ((f"{named}: record {place}", each) for place, each in pictures)
        return np.stack([frames.first(name, _decoded(name, each, config)) for name, each in of_each])

    return Source(divided(config, Part(len(records), read, None)), frames=frames)


def _opened(named: str, paths: Sequence[Path]) -> Any:
    try:
        from grain.sources import ArrayRecordDataSource  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f'{named}: Grain, which reads ArrayRecord, is not installed: pip install "vaex-experiments[stream]"'
        ) from error
    try:
        return ArrayRecordDataSource([str(path) for path in paths])
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{named}: cannot be read as ArrayRecord: {first_line(error)}") from error


def _records(named: str, records: Any, places: list[int]) -> Sequence[bytes]:
    try:
        return records.__getitems__(places)
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{named}: cannot be read as ArrayRecord: {first_line(error)}") from error


def _decoded(named: str, record: bytes, config: images.Config) -> tuple[np.ndarray, bool]:
    try:
        return images.decoded(io.BytesIO(record), named, config.size, config.channels)
    except DataError as error:
        if record[:1] == b"\x0a" and "not an image" in str(error):  # field 1, `features`
            raise DataError(f"{named}: a tf.train.Example; write the picture's own file as the record") from error
        raise
