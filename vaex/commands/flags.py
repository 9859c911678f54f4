"""How every verb reads its flags: one line for what is wrong, and a help of its own."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from vaex import files
from vaex.api.limits import MOST_DRAWS
from vaex.config import PLACE
from vaex.config.validation import nearest
from vaex.disk.directory import named_path
from vaex.errors import InputError, printable

LOADING = ("plugins=", f"{PLACE}=")
"""Overrides that say which code a run's files need, and where its data are by now."""


CONFIG_DIR = "--config-dir"


class Parser(argparse.ArgumentParser):
    """The flags of a verb. Its file's docstring is the head of its help."""

    def __init__(self, verb: str, about: str | None):
        head, _, rest = (about or "").partition(": ")
        super().__init__(
            prog=f"vaex {verb}", usage=head.strip("`"), description=rest, add_help=False, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments, flags and words in any order; raises `InputError`."""
        joined: list[str] = []
        for word in arguments:
            if joined and re.match(r"-\.?\d", word) and re.fullmatch("--[a-z]+", joined[-1]):
                joined[-1] += f"={word}"  # --values -3,0,3: numbers, and no flag
            else:
                joined.append(word)
        refuse(self.prog.split()[-1], joined, [flag for each in self._actions for flag in each.option_strings])
        return self.parse_intermixed_args(joined)

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {printable(message)}; `{self.prog} --help` shows how it is used")


def refuse(verb: str, arguments: Sequence[str], known: Sequence[str] = ()) -> None:
    """Raise `InputError` for a flag that the verb does not have, and for an empty word."""
    refuse_empty(verb, arguments)
    for word in arguments:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            there = f"there are: {', '.join(known)}" if known else "it has none"
            raise InputError(f"vaex {verb}: unknown flag {printable(flag)}{nearest(flag, known)} ({there})")


def refuse_empty(verb: str, arguments: Sequence[str]) -> None:
    """Raise `InputError` for an empty word, such as an unset variable of a shell: as a path it would be `.`."""
    for place, word in enumerate(arguments, 1):
        if not word.strip():
            raise InputError(f"vaex {verb}: argument {place} is empty; `vaex {verb} --help` shows how it is used")


def with_config_dir(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without `--config-dir DIR`, Hydra's flag for experiments and options of one's own; and the flag."""
    words, flag = list(arguments), []
    for place, word in enumerate(words):
        if word.partition("=")[0] == CONFIG_DIR:
            flag = words[place : place + (1 if "=" in word else 2)]
            return [*words[:place], *words[place + len(flag) :]], flag
    return words, flag


def of_run(verb: str, about: str | None, out: str) -> Parser:
    """What the verbs that use one trained run have in common; `out` is the file that is written unless named."""
    parser = Parser(verb, about)
    parser.add_argument("words", nargs="*", metavar="RUN", help="its directory; then what the line above says")
    add_state(parser)
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FILE", help=f"default: {out}")
    parser.add_argument("--force", action="store_true", help="write over FILE")
    return parser


def add_state(parser: Parser) -> None:
    """Which state of a run is used."""
    parser.add_argument("--checkpoint", default="last", metavar="last|best|N", help="the state: best by valid/elbo")


def number(kind: Callable[[str], Any], expected: str, fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    """A type for argparse: a number that fits, or one line with what was expected."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return read


COUNT = number(int, "a whole number from 1", lambda value: value >= 1)
DRAWS = number(int, f"a whole number from 1 to {MOST_DRAWS}", lambda value: 1 <= value <= MOST_DRAWS)
INDEX = number(int, "a whole number from 0", lambda value: value >= 0)
SEED = number(int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def words(chosen: argparse.Namespace, verb: str, wanted: Sequence[str]) -> list[Path]:
    """The paths among the words, as many as are wanted, the first a run; the overrides go to `chosen.overrides`."""
    paths = _paths(chosen, verb)
    if len(paths) != len(wanted):
        got = " ".join(paths) or "nothing"
        raise InputError(f"vaex {verb}: expected {' '.join(wanted)}, got {printable(got)}")
    _refuse_no_run(verb, paths[0])
    return [Path(path) for path in paths]


def runs(chosen: argparse.Namespace, verb: str, most: int) -> list[Path]:
    """The paths among the words, each a run; the overrides go to `chosen.overrides`."""
    paths = list(dict.fromkeys(_paths(chosen, verb)))
    if not 1 <= len(paths) <= most:
        raise InputError(f"vaex {verb}: expected 1 to {most} runs, got {len(paths)}")
    for path in paths:
        _refuse_no_run(verb, path)
    return [Path(path) for path in paths]


def _paths(chosen: argparse.Namespace, verb: str) -> list[str]:
    chosen.overrides = [word for word in chosen.words if word.startswith(LOADING)]
    if chosen.checkpoint not in ("last", "best"):
        if not re.fullmatch(r"[0-9]{1,9}", chosen.checkpoint):
            raise InputError(f"vaex {verb}: --checkpoint: expected last, best or an epoch, got {chosen.checkpoint!r}")
        chosen.checkpoint = int(chosen.checkpoint)
    return [word for word in chosen.words if word not in chosen.overrides]


def _refuse_no_run(verb: str, path: str) -> None:
    named_path(verb, [path])
    if not Path(path).is_dir():
        raise InputError(f"vaex {verb}: {path} is a file; expected a run directory")


def refuse_overwriting(chosen: argparse.Namespace, suffixes: Sequence[str]) -> Path:
    """The file to write; raises `InputError` where its form is not known, or it is there and --force is not."""
    path: Path = chosen.out
    if path.suffix not in suffixes:
        raise InputError(f"--out: {path}: expected a name that ends in {' or '.join(suffixes)}")
    try:
        is_directory, has_parent = path.is_dir(), path.parent.is_dir()
    except OSError as error:  # a name that is too long
        raise InputError(f"--out: {path}: {files.first_line(error)}") from error
    if is_directory or not has_parent:
        what = "is a directory" if is_directory else f"{path.parent} is no directory"
        raise InputError(f"--out: {path}: {what}")
    if path.exists() and not chosen.force:
        raise InputError(f"{path}: exists already; name another file by --out, or write over it by --force")
    return path
