"""Compiled programs, kept on disk between commands by JAX's persistent compilation cache.

On by default in the user's cache directory; `VAEX_CACHE=DIR` moves it, empty switches it off, and whoever sets JAX's
own JAX_COMPILATION_CACHE_DIR keeps what that does. A program from the cache computes the same bits as a fresh one.

An entry is machine code that will be executed, and JAX neither writes it atomically nor replaces one that it found
damaged. So each entry has a seal, its SHA-256, and whatever is not as it was sealed is removed before JAX starts.
"""

import atexit
import functools
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from vaex import files
from vaex.errors import InputError

log = logging.getLogger("vaex")

MAX_BYTES = 128 * 1024 * 1024
"""The programs least recently used go first; the book's run needs half a megabyte.

All of it is hashed at every start, which takes less than a tenth of a second."""

ENTRY, USED, SEAL = "-cache", "-atime", "-sha256"
"""Ends of file names: JAX's two (it writes the second when the first is whole), and ours."""


_in_use: list[Path] = []
"""The directory that JAX keeps this process's programs in, once it does."""


@functools.cache
def start() -> None:
    """Make JAX keep compiled programs, before its first operation. Never an error: without a cache all works too."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    directory = _directory()
    if directory is None or not _ready(directory):
        return
    remove_unsealed(directory)
    import jax

    for name, value in {
        "compilation_cache_dir": str(directory),
        "compilation_cache_max_size": MAX_BYTES,
        "persistent_cache_min_compile_time_secs": 0.0,
        "persistent_cache_min_entry_size_bytes": -1,
    }.items():
        jax.config.update(f"jax_{name}", value)
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache", UserWarning)
    _in_use.append(directory)
    atexit.register(seal_new)


def seal_new() -> None:
    """Seal what this process has compiled: at once, since another one that starts removes what has no seal."""
    for directory in _in_use:
        seal(directory)


def seal(directory: Path) -> None:
    """Write the SHA-256 of every whole entry that has none yet."""
    for entry, used, sealed in _entries(directory):
        try:
            if used.exists() and not sealed.exists():
                sealed.write_text(files.sha256_of_file(entry))
        except OSError:  # JAX has evicted it meanwhile, or the disk is full
            continue


def remove_unsealed(directory: Path) -> None:
    """Remove what a killed process left, what is damaged, and the seals of entries that JAX has evicted."""
    for entry, used, sealed in _entries(directory):
        try:
            if used.exists() and sealed.read_text() == files.sha256_of_file(entry):
                continue
        except (OSError, ValueError):
            pass
        _remove(entry, used, sealed)
    for sealed in directory.glob(f"*{SEAL}"):
        if not sealed.with_name(sealed.name.removesuffix(SEAL) + ENTRY).exists():
            _remove(sealed)


def _directory() -> Path | None:
    """Where the cache is for this kind of CPU (machine code made for one may not run on another); None if off."""
    if os.environ.get("VAEX_CACHE") == "":
        return None
    try:
        root = files.user_directory("VAEX_CACHE", "programs")
    except InputError as error:
        log.warning("no compiled programs are kept: %s", error)
        return None
    return root.absolute() / _cpu_kind()


def _cpu_kind() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "any"
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return files.sha256(flags.encode())[:16]


def _ready(directory: Path) -> bool:
    """Whether the directory is there and nobody else can put machine code into it."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = directory.stat()
    except OSError as error:
        return _refused(directory, files.first_line(error))
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        return _refused(directory, "others can write to it")
    return os.access(directory, os.W_OK) or _refused(directory, "cannot be written to")


def _refused(directory: Path, why: str) -> bool:
    log.warning("no compiled programs are kept: %s: %s; VAEX_CACHE=DIR names another place", directory, why)
    return False


def _entries(directory: Path) -> Iterator[tuple[Path, Path, Path]]:
    for entry in directory.glob(f"*{ENTRY}"):
        stem = entry.name.removesuffix(ENTRY)
        yield entry, entry.with_name(stem + USED), entry.with_name(stem + SEAL)


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.info("%s: %s", path, files.first_line(error))
