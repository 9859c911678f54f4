"""stops.jsonl of a sweep: each time that a rule was asked and had something to say, one line, the last maybe cut."""

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vaex import files
from vaex.disk.metrics import LONGEST_LINE
from vaex.errors import InputError

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


def read(directory: Path) -> list[Decision]:
    """The decisions of a sweep, in order; an unfinished last line is left out, anything else is an `InputError`."""
    path = directory / NAME
    return list(_each(path)) if path.exists() else []


def _each(path: Path) -> Iterator[Decision]:
    number = 0
    try:
        with files.open_regular(path) as file:
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                number += 1
                if line.endswith(b"\n"):
                    yield _decision(json.loads(line))
                elif len(line) == LONGEST_LINE:
                    raise ValueError("too long")
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: line {number} is no decision ({files.first_line(error)})") from error


def _decision(plain: Any) -> Decision:
    found = Decision(**plain)
    whole = [found.job, found.epoch, found.of]
    texts = isinstance(found.rule, str) and isinstance(found.metric, str) and isinstance(found.stopped, bool)
    if not texts or not all(type(value) is int for value in whole):
        raise ValueError("its values are of other types")
    for value in (found.rung, found.bracket, found.value, found.threshold):
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError("its numbers are none")
    return found


def cut_back(directory: Path) -> None:
    """Take off the last line where it was not finished, so that the next one is a line of its own."""
    path = directory / NAME
    if path.exists():
        content = files.read_bytes(path)
        if content and not content.endswith(b"\n"):
            files.write(path, content[: content.rfind(b"\n") + 1])


def append(directory: Path, decisions: Iterable[Decision]) -> None:
    """Add decisions, whole lines in one write. What the disk refuses is told: runs stop all the same."""
    lines = "".join(json.dumps(decision._asdict(), allow_nan=False) + "\n" for decision in decisions)
    try:
        place = os.open(directory / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            os.write(place, lines.encode())
        finally:
            os.close(place)
    except OSError as error:
        log.warning("%s: cannot be written (%s)", directory / NAME, files.first_line(error))
