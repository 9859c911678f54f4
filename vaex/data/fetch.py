"""Files of public datasets: from the cache, or from the first source that has them.

The cache holds decompressed payloads, which are mapped into memory, not read. A payload counts only if its SHA-256 is
the published one, so every source of the same data is as good as any other, and a damaged file is never used.
"""

import http.client
import logging
import mmap
import sys
import tempfile
import urllib.error
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from vaex import files
from vaex.data import idx
from vaex.data.sources import File, Source, readers
from vaex.errors import DataError, FetchError

_log = logging.getLogger(__name__)

type_of_payload = bytes | mmap.mmap


def cache(source: Source) -> Path:
    """The folder of a dataset's files: in `$VAEX_DATA`, else in the user's cache directory."""
    return files.user_directory("VAEX_DATA", "datasets") / source.name


def payloads(source: Source) -> dict[str, type_of_payload]:
    """Every file's verified payload by name, fetched first where the cache does not have it.

    Raises `FetchError` when no source has a file, or when the cache cannot be read or written.
    """
    found: dict[str, type_of_payload] = {}
    missing = []
    for file in source.files:
        payload = _cached(source, file)
        if payload is not None and _matches(payload, file):
            found[file.name] = payload
            continue
        missing.append(file)
        if payload is not None:
            path = cache(source) / file.name
            _log.warning("%s: damaged, its SHA-256 is not the published one; fetching it again", path)
    return found | _fetch(source, missing) if missing else found


def state(source: Source, file: File) -> Literal["here", "missing", "damaged"]:
    """Whether the cache has a file, and with the published SHA-256."""
    payload = _cached(source, file)
    if payload is None:
        return "missing"
    return "here" if _matches(payload, file) else "damaged"


def _cached(source: Source, file: File) -> type_of_payload | None:
    path = cache(source) / file.name
    try:
        with path.open("rb") as opened:
            # Mapped: no copy, and processes that train side by side share the pages. A file is replaced, never
            # written to, so a mapping keeps what was verified.
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FetchError(_about_cache(path, "read", error)) from error


def _matches(payload: type_of_payload, file: File) -> bool:
    return files.sha256(payload) == file.sha256


def _fetch(source: Source, missing: list[File]) -> dict[str, type_of_payload]:
    """Ask one source after the other; a source that fails for one file is not asked for the next."""
    found: dict[str, type_of_payload] = {}
    tried = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        tempfile.TemporaryDirectory(prefix="vaex-") as scratch,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        for label, reader in readers(source, Path(scratch), progress):
            try:
                for file in [file for file in missing if file.name not in found]:
                    payload = _verified(reader(file), file)
                    _store(cache(source) / file.name, payload)
                    found[file.name] = payload
            except (OSError, http.client.HTTPException, DataError) as error:
                tried.append(f"{label}: {_reason(error)}")
            if len(found) == len(missing):
                return found
    absent = ", ".join(file.name for file in missing if file.name not in found)
    raise FetchError(
        f"{source.name}: no source has {absent}; tried {'; '.join(tried)}; dataset=digits needs no network"
    )


def _verified(packed: bytes, file: File) -> bytes:
    payload = idx.decompress(packed, f"{file.name}.gz", limit=file.size)
    if not _matches(payload, file):
        raise DataError(f"{file.name}.gz: its SHA-256 is not the published one")
    return payload


def _store(path: Path, payload: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, payload)
    except OSError as error:
        raise FetchError(_about_cache(path, "written", error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return files.first_line(error.reason)
    return files.first_line(error)


def _about_cache(path: Path, done: str, error: OSError) -> str:
    return f"{path}: cannot be {done}: {files.first_line(error)}; set VAEX_DATA to a directory of yours"
