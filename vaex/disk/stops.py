"""stops.jsonl of a sweep: a line each time that a run was held against others at a rung, or stopped by a rule that has
none; the last maybe cut."""

import errno
import json
import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vaex import files
from vaex.disk import sweep
from vaex.disk.metrics import LONGEST_LINE
from vaex.errors import InputError, printable

log = logging.getLogger("vaex")

NAME = "stops.jsonl"


class Decision(NamedTuple):
    """One run held against others after an epoch: `value` against `threshold`, both as the metric has them.

    `of` is how many runs were looked at. None: `value` was not finite, there were too few for a `threshold`, the rule
    has no rungs or no brackets.
    """

    job: int
    epoch: int
    rung: int | None
    bracket: int | None
    rule: str
    metric: str
    value: float | None
    threshold: float | None
    of: int
    stopped: bool

    def in_summary(self) -> dict[str, Any]:
        """What the stopped run's own summary says of it."""
        return {name: getattr(self, name) for name in ("rule", "metric", "epoch", "value", "threshold", "of")}


def there(directory: Path) -> bool:
    """Whether a rule has decided anything in a sweep."""
    return (directory / NAME).exists()


def read(directory: Path) -> list[Decision]:
    """The decisions of a sweep, in order. Of damaged lines there is a warning: what they said is decided again."""
    decisions, damaged = read_all(directory)
    if damaged:
        log.warning("%s: %d lines are no decisions; they are left out", directory / NAME, damaged)
    return decisions


def read_all(directory: Path) -> tuple[list[Decision], int]:
    """The decisions in order, and how many lines are none; a last one that is cut off is neither.

    Raises `InputError` where the file cannot be read at all.
    """
    path = directory / NAME
    if not path.exists():
        return [], 0
    try:
        with files.open_regular(path) as file:
            lines = iter(lambda: file.readline(LONGEST_LINE), b"")
            found = [_decision(line) for line in lines if line.endswith(b"\n") or len(line) == LONGEST_LINE]
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error
    known = [each for each in found if each]
    return known, len(found) - len(known)


def _decision(line: bytes) -> Decision | None:
    try:
        found = Decision(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    whole = all(type(value) is int for value in (found.job, found.epoch, found.of))
    places = all(value is None or type(value) is int for value in (found.rung, found.bracket))
    texts = isinstance(found.rule, str) and isinstance(found.metric, str) and isinstance(found.stopped, bool)
    if not (whole and places and texts and all(map(_number_or_none, (found.value, found.threshold)))):
        return None
    return found._replace(rule=printable(found.rule), metric=printable(found.metric))


def _number_or_none(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def stopped(directory: Path) -> set[Path]:
    """Directories of the jobs that a sweep's rule has stopped, whatever became of them since."""
    if not ((directory / NAME).exists() and (directory / sweep.NAME).exists()):
        return set()
    numbers = {each.job for each in read_all(directory)[0] if each.stopped}
    return {(directory / job.directory).resolve() for job in sweep.read(directory)[1] if job.number in numbers}


def cut_back(directory: Path) -> None:
    """Take off the last line where it was not finished, so that the next one is a line of its own."""
    path = directory / NAME
    try:
        files.cut_unfinished_line(path)
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error


def append(directory: Path, decisions: Iterable[Decision]) -> None:
    """Add decisions, all of them or none. What the disk refuses is told: runs stop all the same."""
    lines = "".join(json.dumps(decision._asdict(), allow_nan=False) + "\n" for decision in decisions).encode()
    try:
        place = os.open(directory / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            before = os.fstat(place).st_size
            if os.write(place, lines) < len(lines):  # the next line would go on within this one
                os.ftruncate(place, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(place)
    except OSError as error:
        log.warning("%s: cannot be written (%s)", directory / NAME, files.first_line(error))
