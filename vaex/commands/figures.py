"""`vaex figures RUN... [--only NAME,NAME]`: draw the figures of runs from what is on disk, also those that take longer.

Large sweeps draw none by themselves.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from vaex import files
from vaex.commands import flags
from vaex.device import backend
from vaex.disk import metrics, saved
from vaex.disk.directory import named_path, read_manifest
from vaex.disk.saved import read_saved
from vaex.errors import InputError, VaexError, printable
from vaex.figures import gallery
from vaex.figures.subject import UnfitError
from vaex.terminal.screen import say


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.Parser("figures", __doc__)
    found.add_argument("words", nargs="*", metavar="RUN")
    names = ", ".join(gallery.FIGURES)
    found.add_argument("--only", action="append", default=[], metavar="NAME,NAME", help=f"of {names}")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    chosen = parser().read(arguments)
    only, arguments = tuple(dict.fromkeys(",".join(chosen.only).split(","))) if chosen.only else (), chosen.words
    gallery.check(only)
    overrides = [item for item in arguments if item.startswith(("plugins=", f"{saved.PLACE}="))]
    named = [Path(item) for item in arguments if item not in overrides]
    directories = [path for path in named if not path.is_file()]  # SWEEP/* also gives sweep.csv and the like
    if not directories:
        named_path("figures", [])
    for directory in directories:
        if "=" in directory.parts[0] and not directory.exists():
            raise InputError(f"{directory}: vaex figures takes plugins=[...] and {saved.PLACE}=..., no other override")
        named_path("figures", [str(directory)])
    backend.start(read_manifest(directories[0]))
    code = 0
    for directory in directories:
        try:
            code = max(code, _draw(directory, overrides, only))
        except InputError as error:  # one damaged run of many
            print(f"vaex: {error}", file=sys.stderr)
            code = max(code, error.exit_code)
    return code


def _draw(directory: Path, overrides: Sequence[str], only: tuple[str, ...]) -> int:
    """Draw the figures of one run, those of that name or all that fit; the exit code."""
    from vaex.trained import pictures  # late: with them comes jax, after the thread count is set
    from vaex.trained.model import read_model

    config = read_saved(directory, overrides)
    rows = metrics.read_rows(directory / "metrics.jsonl")
    if not rows:
        raise InputError(f"{directory}: has no epoch to draw")
    model, code = read_model(directory, config), 0
    for name, found in pictures.draw(directory, model, rows, f"{directory}", only or gallery.UNASKED).items():
        if isinstance(found, Path):
            say(printable(found))
        elif isinstance(found, UnfitError) and only:
            print(f"vaex: {directory}: {name}: {found}", file=sys.stderr)
            code = max(code, found.exit_code)
        elif not isinstance(found, UnfitError):
            reason = printable(f"{type(found).__name__}: {files.first_line(found)}")
            print(f"vaex: {directory}: no {name}.png ({reason})", file=sys.stderr)
            code = VaexError.exit_code
    return code
