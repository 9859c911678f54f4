"""Files that are either whole or absent: written under a temporary name, flushed to the disk, renamed."""

import errno
import fcntl
import hashlib
import io
import json
import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from vaex.errors import InputError, VaexError

LARGEST_YAML = 1 << 16
"""Bytes of a YAML file that is read at all: a configuration has 2000, and PyYAML takes 340 times as much memory."""

DEEPEST_YAML = 100
"""Levels of a YAML file; a configuration has five."""

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, six times as fast, where PyYAML was built with it."""

LONGEST_PART = 50
"""Characters of a file's name in its temporary one: a name has at most 255 bytes, and a character four of them."""

LARGEST_JSON = 1 << 23
"""Bytes of a JSON file that is read at all: a summary has 70 an epoch; 20 times as much memory at the worst."""


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, so that a crash at any moment leaves the old file or the new one."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place for a file that takes the place of `path` when it has been written, whole or not at all."""
    temporary = path.with_name(f".{path.name[:LONGEST_PART]}.{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a rename or removal in `directory` survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON; NaN and infinity are refused, the caller writes null for them."""
    write(path, as_json(value))


def as_json(value: Any) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def write_yaml(path: Path, value: Any) -> None:
    """`value` as YAML in the order of its keys."""
    write(path, as_yaml(value, yaml.SafeDumper, getattr(yaml, "CSafeDumper", yaml.SafeDumper)).encode())


def as_yaml(value: Any, dumper: Any, by_libyaml: Any) -> str:
    """What PyYAML's `dumper` writes, by libyaml where the two agree: it escapes other characters, ten times as fast."""
    settings: dict[str, Any] = {"default_flow_style": False, "sort_keys": False, "allow_unicode": True}
    text = yaml.dump(value, Dumper=by_libyaml, **settings)
    return text if text.isascii() and "\\" not in text else yaml.dump(value, Dumper=dumper, **settings)


def user_directory(variable: str, name: str) -> Path:
    """The directory that a variable names, else `name` in the user's cache directory; `InputError` where none is."""
    chosen = os.environ.get(variable)
    try:
        return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vaex", False) / name
    except RuntimeError as error:  # a user whom the system does not know, and no HOME
        problem = f"{variable}={chosen}: there is no such home directory" if chosen else "there is no home directory"
        raise InputError(f"{problem}; name a place for {name} by {variable}=DIR") from error


def expanded(path: str) -> Path:
    """A path that a person wrote, `~` and `~user` replaced; a name that only begins like one is a name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; a pipe or a device, which may block or never end, is an `OSError`."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content of a regular file, an `OSError` when it has more than `limit` bytes."""
    with open_regular(path) as file:
        if limit is not None and os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes")
        return file.read()


def cut_unfinished_line(path: Path) -> None:
    """Take off what follows the last line break of a file of lines, if it is there; an `OSError` when it cannot be."""
    if not path.exists():
        return
    content = read_bytes(path)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a regular file's content, which is not held in memory, as hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, limit: int = LARGEST_JSON) -> dict[str, Any]:
    """The object in a JSON file; raises `InputError` naming the file when it holds anything else."""
    try:
        value = json.loads(read_bytes(path, limit))
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not there") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file (plain data, no aliases); raises `InputError` naming the file otherwise."""
    value = read_yaml_value(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a mapping of keys to values")
    return value


def read_yaml_value(path: Path) -> Any:
    """What is in a YAML file (plain data, no aliases); raises `InputError` naming the file when it is none."""
    try:
        text = read_bytes(path, LARGEST_YAML).decode()
        _refuse_traps(text)
        return yaml.load(text, _Plain)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {first_line(error)}") from error


def _refuse_traps(text: str) -> None:
    """Raise for what must not be loaded, from the flat list of the parser's events.

    Aliases: a few lines can stand for more values than there is memory. Depth: libyaml's loader calls itself for each
    level, and would end the process.
    """
    depth = 0
    for event in yaml.parse(text, _PARSER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not accepted")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_YAML:
            raise yaml.YAMLError(f"more than {DEEPEST_YAML} levels deep")


class _Plain(_PARSER):
    """Refuses endless numbers."""

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > 64:  # Python refuses to show one of thousands of digits
            raise yaml.YAMLError("an integer of more than 64 bits")
        return value


_Plain.add_constructor("tag:yaml.org,2002:int", _Plain.construct_yaml_int)


def exists(path: Path) -> bool:
    """Whether there is something; nothing has a name that is too long, or with a NUL in it."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def first_line(error: BaseException) -> str:
    """An exception's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def sha256(content: bytes | mmap.mmap) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def locked(directory: Path, doing: str = "training") -> Iterator[None]:
    """Hold a directory, in which something is done: the kernel's lock on `.lock`, which dies with its process."""
    try:
        file = (directory / ".lock").open("a")
    except OSError as error:
        raise VaexError(f"{directory}: cannot be written to ({first_line(error)})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{directory}: another process is {doing} here; wait for it or stop it") from error
        except OSError as error:
            raise VaexError(f"{directory}: cannot be locked ({first_line(error)})") from error
        yield
