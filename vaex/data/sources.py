"""Where the files of a public dataset come from: a folder, mirrors on the web, a Debian package.

A reader gives the gzip file of one payload. It raises OSError, HTTPException or DataError with the reason why not.
"""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import Progress

from vaex.errors import DataError

TIMEOUT = 5
"""Seconds to wait for a mirror to connect, and for each part of its reply."""
APT_TIMEOUT = 120
"""Seconds for one command of apt or dpkg."""
BLOCK = 1 << 18
"""Bytes read at once from a mirror."""


@dataclass(frozen=True)
class File:
    """One file of a dataset: its name without `.gz`, and the size and SHA-256 of its decompressed payload."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A dataset's files and where they are: folders on the web, and a Debian package that unpacks to `folder`."""

    name: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    package: str | None = None
    folder: Path | None = None


type_of_reader = Callable[[File], bytes]


def readers(source: Source, scratch: Path, progress: Progress) -> Iterator[tuple[str, type_of_reader]]:
    """Every way to a dataset's files, the nearest first, each with the name that an error message gives it.

    `scratch` is an empty directory to download and unpack a package in.
    """
    if source.folder:
        yield str(source.folder), partial(_from_folder, source.folder)
    for mirror in source.mirrors:
        yield mirror, partial(_from_mirror, mirror, progress)
    if source.package and source.folder:
        unpacked = scratch / source.folder.relative_to("/")
        yield f"apt-get download {source.package}", partial(_from_package, source.package, scratch, unpacked)


def _from_folder(folder: Path, file: File) -> bytes:
    return (folder / f"{file.name}.gz").read_bytes()


def _from_mirror(mirror: str, progress: Progress, file: File) -> bytes:
    bound = file.size + BLOCK  # gzip makes no file larger than that
    with urllib.request.urlopen(f"{mirror}/{file.name}.gz", timeout=TIMEOUT) as reply:
        task = progress.add_task(file.name, total=reply.length)
        packed = bytearray()
        while len(packed) <= bound and (block := reply.read(BLOCK)):
            packed += block
            progress.advance(task, len(block))
    if len(packed) > bound:
        raise DataError(f"{file.name}.gz: larger than {bound} bytes")
    return bytes(packed)


def _from_package(package: str, scratch: Path, unpacked: Path, file: File) -> bytes:
    if not unpacked.exists():
        _unpack(package, scratch)
    return _from_folder(unpacked, file)


def _unpack(package: str, scratch: Path) -> None:
    """Download a Debian package and unpack it in `scratch`: as any user, and the system stays as it is."""
    get = ["apt-get", "-q", "-o", "Debug::NoLocking=1", "-o", f"Acquire::http::Timeout={TIMEOUT}"]
    try:
        _command([*get, "download", package], scratch)
    except DataError:  # the system has no package lists, or outdated ones: fetch lists of our own
        lists, archives = scratch / "lists", scratch / "cache"
        (lists / "partial").mkdir(parents=True)
        (archives / "archives" / "partial").mkdir(parents=True)
        get += ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={archives}"]
        _command([*get, "update"], scratch)
        _command([*get, "download", package], scratch)
    for archive in scratch.glob(f"{package}_*.deb"):
        _command(["dpkg-deb", "-x", str(archive), str(scratch)], scratch)


def _command(words: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT,
            check=True,
        )
    except FileNotFoundError as error:
        raise DataError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{words[0]}: no answer within {APT_TIMEOUT} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if not line.startswith("W:")]
        raise DataError(f"{words[0]}: {lines[0] if lines else f'exit status {error.returncode}'}") from error
