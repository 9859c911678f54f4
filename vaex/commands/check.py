"""`vaex check experiment=NAME|DIR [key=value…]`: does what an experiment expects come out? Exit code 1 if not.

`experiment=NAME` is run as `vaex` runs it, lone or as a sweep. A directory, of a run or a sweep, is only read: against
what was expected when it was begun, or against what an experiment expects now (`vaex check DIR experiment=NAME`).
--config-dir=DIR says where experiments of your own are.
"""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from vaex import files
from vaex.checks import differences, expectations, sides
from vaex.commands import flags, train
from vaex.config.compose import Command
from vaex.config.expect import KEY
from vaex.errors import InputError, printable
from vaex.sweeping import ending
from vaex.terminal.screen import Screen, log_to

log = logging.getLogger("vaex")

MOST_KEYS = 8
"""In which a directory is not the experiment, that one line names."""


def main(arguments: Sequence[str]) -> int:
    """The verb; exit code 0 when every expectation holds, 1 when one does not, 2 when there is none."""
    if not arguments:
        raise InputError("vaex check: expected an experiment or a directory, as in `vaex check experiment=book`")
    flags.refuse_empty("check", arguments)
    words, flag = flags.with_config_dir(arguments)
    first = words[0] if words else "-"
    if first.startswith(("-", "+", "~")) or ("=" in first and not files.exists(Path(first))):
        return train.run(arguments, checked=True)
    return _read(Path(first), words[1:], flag)


def _read(directory: Path, overrides: list[str], flag: list[str]) -> int:
    """Check a run or sweep that is there."""
    flags.refuse("check", overrides, [flags.CONFIG_DIR])
    _refuse_other(directory)
    _refuse_words(directory, overrides)
    asked = train.composed([*flag, *overrides], checked=True) if overrides else None
    lines = expectations.check(directory, asked.jobs[0].expect if asked else None)
    if not lines:
        raise InputError(
            f"{directory}: nothing to check: no {KEY} was recorded with it (as where overrides make other numbers); "
            f"`vaex check {shlex.quote(str(directory))} experiment=NAME` takes what that expects"
        )
    named = [word for word in overrides if _key(word) == "experiment"]
    if asked and named:
        _warn_of_another(directory, asked, named[-1].lstrip("+"))
    return 0 if ending.tell(lines, checked=True) else 1


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _refuse_words(directory: Path, overrides: Sequence[str]) -> None:
    """Raise `InputError` for what cannot be asked of a directory, which is only read."""
    usage = f"vaex check {shlex.quote(str(directory))} [experiment=NAME|{KEY}=ROWS]"
    for word in overrides:
        if "=" not in word:
            raise InputError(f"vaex check: {printable(word)}: expected one run or sweep at a time: {usage}")
    if overrides and not {"experiment", KEY} & set(map(_key, overrides)):
        raise InputError(f"vaex check: {printable(overrides[0])}: a directory is only read, not run anew: {usage}")


def _warn_of_another(directory: Path, asked: Command, experiment: str) -> None:
    """What came out of other values may be as expected all the same: it is checked, and the difference said."""
    both = sides.of_directory(directory), sides.of_configurations(experiment, asked.jobs, {})
    keys = [each.key for each in differences.between(*both) if each.decides]
    if keys:
        log_to(Screen())
        more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
        log.warning("%s differs from %s in: %s%s", directory, experiment, ", ".join(keys[:MOST_KEYS]), more)


def _refuse_other(directory: Path) -> None:
    """Raise `InputError` for what is no run and no sweep, and for a job of a sweep, whose expectations are of all."""
    if not (files.exists(directory) and directory.is_dir()):
        raise InputError(f"{directory}: no such run or sweep directory")
    above = expectations.is_a_job(directory)
    if above:
        whole = f"vaex check {shlex.quote(str(above))}"
        raise InputError(f"{directory}: is a job of a sweep, which is checked as a whole: {whole}")
