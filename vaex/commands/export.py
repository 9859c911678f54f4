"""`vaex export RUN DIR --format onnx`: encoder, decoder and sampler of a run as files that need no vaex.

`--part encoder,decoder` chooses among them, `--checkpoint best` another state than the last. All is computed before
anything is written; each file is whole or absent, README.md the last.
"""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from vaex import files
from vaex.commands import flags
from vaex.config.validation import nearest
from vaex.errors import InputError, printable
from vaex.terminal.screen import say

README = "README.md"


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.Parser("export", __doc__)
    found.add_argument("words", nargs="*", metavar="RUN DIR", help="its directory, and the one that is written")
    found.add_argument("--format", required=True, metavar="F", help="onnx, stablehlo or npz")
    found.add_argument("--part", metavar="P,P", help="encoder, decoder, sampler (all)")
    flags.add_state(found)
    found.add_argument("--force", action="store_true", help="write over files in DIR")
    return found


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
    chosen = parser().read(arguments)
    chosen.run, chosen.out = flags.words(chosen, "export", ["RUN", "DIR"])
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
    above = next(path for path in chosen.out.absolute().parents if files.exists(path))
    if not above.is_dir():
        raise InputError(f"{chosen.out}: {above} is a file; name a directory")
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
