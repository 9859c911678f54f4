"""Directories of runs as bytes, for a worker on another disk."""

import io
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path


def packed(folder: Path, places: Sequence[Path]) -> bytes:
    """A tar of some directories in a folder; of those that are not there nothing."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for place in places:
            if (folder / place).is_dir():
                archive.add(folder / place, arcname=str(place), filter=_without_lock)
    return content.getvalue()


def _without_lock(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name == ".lock" else entry


def unpack(content: bytes, folder: Path) -> None:
    """Put what `packed` took into a folder: regular files and directories, nowhere else."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def put_in_place(content: bytes, folder: Path) -> None:
    """Take runs out of what `packed` made, each file whole, in the order in which a run writes them."""
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder) as scratch:
        unpack(content, Path(scratch))
        found = [path.relative_to(scratch) for path in Path(scratch).rglob("*") if path.is_file()]
        for path in sorted(found, key=_turn):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / path).replace(folder / path)


def _turn(path: Path) -> tuple[int, str]:
    """A checkpoint stands for the rows before it, a summary for all."""
    last = {"summary.json": 3, "config.yaml": 2}
    return last.get(path.name, int("checkpoints" in path.parts)), str(path)
