"""`vaex check experiment=NAME|DIR [key=value…]`: does what an experiment expects come out? Exit code 1 if not.

`experiment=NAME` is run as `vaex` runs it, lone or as a sweep. A directory, of a run or a sweep, is only read: against
what was expected when it was begun, or against what an experiment expects now (`vaex check DIR experiment=NAME`).
"""

from collections.abc import Sequence
from pathlib import Path

from vaex import files
from vaex.checks import expectations
from vaex.commands import flags, train
from vaex.config.expect import KEY
from vaex.errors import InputError
from vaex.sweeping import ending


def main(arguments: Sequence[str]) -> int:
    """The verb; exit code 0 when every expectation holds, 1 when one does not, 2 when there is none."""
    first = arguments[0] if arguments else ""
    if not first or first.startswith(("-", "+", "~")) or ("=" in first and not files.exists(Path(first))):
        if not arguments:
            raise InputError("vaex check: expected an experiment or a directory, as in `vaex check experiment=book`")
        return train.run(arguments, checked=True)
    return _read(Path(first), list(arguments[1:]))


def _read(directory: Path, overrides: list[str]) -> int:
    """Check a run or sweep that is there."""
    flags.refuse("check", overrides)
    _refuse_other(directory)
    rows = train.composed(overrides, checked=True).jobs[0].expect if overrides else None
    lines = expectations.check(directory, rows)
    if not lines:
        raise InputError(
            f"{directory}: nothing to check: no {KEY} was recorded with it (as where overrides make other numbers); "
            f"`vaex check {directory} experiment=NAME` takes what that expects"
        )
    return 0 if ending.tell(lines, checked=True) else 1


def _refuse_other(directory: Path) -> None:
    """Raise `InputError` for what is no run and no sweep, and for a job of a sweep, whose expectations are of all."""
    if not (files.exists(directory) and directory.is_dir()):
        raise InputError(f"{directory}: no such run or sweep directory")
    above = expectations.is_a_job(directory)
    if above:
        raise InputError(f"{directory}: is a job of a sweep, which is checked as a whole: vaex check {above}")
