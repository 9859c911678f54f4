"""`vaex export RUN DIR --format onnx`: encoder, decoder and sampler of a run as files that need no vaex.

`--part encoder,decoder` chooses among them, `--checkpoint best` another state than the last. All is computed before
anything is written; each file is whole or absent, README.md the last.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from vaex import files
from vaex.config import PLACE
from vaex.config.validation import nearest
from vaex.disk.directory import named_path
from vaex.errors import InputError, printable
from vaex.terminal.screen import say

README = "README.md"


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"vaex export: {message}; as in `vaex export RUN DIR --format onnx`")


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when all files are there."""
    chosen = _parse(arguments)
    content = _content(chosen, *_kind_and_parts(chosen))
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        files.write(chosen.out / name, data)
        say(printable(chosen.out / name))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; raises `InputError` for what is wrong with them whatever the run."""
    parser = _Parser(prog="vaex export", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--format", required=True)
    parser.add_argument("--part")
    parser.add_argument("--checkpoint", default="last", metavar="best|last|N")
    parser.add_argument("--force", action="store_true")
    chosen = parser.parse_intermixed_args(arguments)
    chosen.overrides = [word for word in chosen.words if word.startswith(("plugins=", f"{PLACE}="))]
    paths = [Path(word) for word in chosen.words if word not in chosen.overrides]
    if len(paths) != 2:
        parser.error(f"expected a run and a directory, plugins=[...] or {PLACE}=..., got {' '.join(chosen.words)!r}")
    chosen.run, chosen.out = paths
    state = chosen.checkpoint
    if state not in ("best", "last") and not state.isdecimal():
        raise InputError(f"--checkpoint: expected best, last or an epoch, got {state!r}")
    chosen.checkpoint = int(state) if state.isdecimal() else state
    named_path("export", [str(chosen.run)])
    return chosen


def _kind_and_parts(chosen: argparse.Namespace) -> tuple[Any, list[str]]:
    """The format and the parts that are asked for; raises `InputError` unless they are known and can be written."""
    from vaex.portable.formats import FORMATS  # late: with them comes jax
    from vaex.portable.parts import PARTS

    (name,) = _known("--format", [chosen.format], FORMATS)
    parts = _known("--part", PARTS if chosen.part is None else chosen.part.split(","), PARTS)
    kind = FORMATS[name]
    kind.ready()
    if files.exists(chosen.out) and not chosen.out.is_dir():
        raise InputError(f"{chosen.out}: is a file; name a directory")
    for path in (chosen.out / name for name in (*(name for part in parts for name in kind.names(part)), README)):
        if path.is_dir() or (files.exists(path) and not chosen.force):
            raise InputError(f"{path}: is there already; name another directory, or add --force to write over it")
    return kind, parts


def _known(flag: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names, each once; raises `InputError` for one that is not known."""
    for name in (asked := list(dict.fromkeys(names))):
        if name not in known:
            raise InputError(f"{flag}: no {name!r}{nearest(name, known)} (there are: {', '.join(known)})")
    return asked


def _content(chosen: argparse.Namespace, kind: Any, parts: Sequence[str]) -> dict[str, bytes]:
    """The files' content by name."""
    from vaex.api.run import read
    from vaex.portable import readme
    from vaex.portable.parts import PARTS

    model = read(chosen.run, chosen.overrides, chosen.checkpoint)
    content = {}
    for part in parts:
        content |= kind.files(part, PARTS[part](model), readme.properties(model, chosen.run, part))
    return content | {README: readme.text(model, chosen.run, chosen.checkpoint, parts, kind).encode()}
