"""What early stopping decided: stops.jsonl of a sweep, one line each time that a rule held a run against others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import files
from vaex.errors import InputError, printable
from vaex.study.stability import number

NAME = "stops.jsonl"

LARGEST = 1 << 26
"""Bytes of a stops.jsonl that is read: a line has about 200."""


@dataclass(frozen=True)
class Decision:
    """A run at an epoch: its value, the threshold of `of` runs that it was held against (None: too few), its end."""

    job: int
    epoch: int
    rung: int | None
    bracket: int | None
    rule: str
    metric: str
    value: float | None
    threshold: float | None
    of: int | None
    stopped: bool


def there(directory: Path) -> bool:
    """Whether a rule has decided anything in a sweep."""
    return (directory / NAME).exists()


def read(directory: Path) -> tuple[list[Decision], int]:
    """The decisions in order, and how many lines are none; a last one that is cut off is neither.

    Raises `InputError` where the file cannot be read at all.
    """
    path = directory / NAME
    try:
        lines = files.read_bytes(path, LARGEST).split(b"\n")[:-1]
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error
    found = list(map(_decision, lines))
    known = [each for each in found if each]
    return known, len(found) - len(known)


def _decision(line: bytes) -> Decision | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(plain, Mapping):
        return None
    job, epoch = (_count(plain.get(name)) for name in ("job", "epoch"))
    if job is None or epoch is None:
        return None
    return Decision(
        job, epoch, _count(plain.get("rung")), _count(plain.get("bracket")),
        printable(plain.get("rule", "")), printable(plain.get("metric", "")),
        number(plain.get("value")), number(plain.get("threshold")), _count(plain.get("of")),
        plain.get("stopped") is True,
    )  # fmt: skip


def _count(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
