"""How far one run is, by its files at this moment. What is damaged is said in a line, and never ends a look at others.

A run is alive while a process holds its lock. Where no list of locks tells (another machine trains on a shared disk,
another system) it is while its files are fresh.
"""

import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import files
from vaex.errors import InputError, printable
from vaex.live.locks import Locks
from vaex.study.stability import number

ENDED = ("finished", "diverged", "stopped", "failed")
"""How a run ends that nobody goes on with unasked."""

LAST_EPOCHS = 20
"""Of whose seconds and speeds the mean is taken: single short epochs jump."""

TAIL = 1 << 17
"""Bytes at the end of metrics.jsonl that have the last epochs: a row has about 1000, and 20 for each latent.

Where they have no whole row, more are read.
"""

MOST_SCANNED = 1 << 26
"""Bytes of a metrics.jsonl that are searched for the best epoch: 60 000 epochs in 0.2 s."""

FRESH = 60.0
"""Seconds since a file was written, or twenty epochs, for which a run counts as alive whose lock cannot be seen."""

ELBO = re.compile(rb'"valid/elbo": (?:(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|null)')
"""Of one row; nothing where it was not finite."""


@dataclass(frozen=True)
class Live:
    """A run as it stands: how it ended, else `running`, `interrupted`, `waiting` (not begun) or `damaged`.

    Times are in seconds, `rate` in examples/s, values in nats per example; None is what cannot be known. `why` says
    what a status alone does not: where it diverged, which rule stopped it, what failed, what is damaged.
    """

    directory: Path
    status: str
    epoch: int = 0
    epochs: int | None = None
    step: int | None = None
    rate: float | None = None
    seconds: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    valid: float | None = None
    train: float | None = None
    why: str = ""

    @property
    def left(self) -> float | None:
        """Seconds until it is done, while it trains."""
        if self.status != "running" or self.seconds is None or self.epochs is None:
            return None
        return max(0, self.epochs - self.epoch) * self.seconds


def is_run(directory: Path) -> bool:
    """Whether a directory is a run's, or was about to become one's."""
    opened = (directory / ".hydra").is_dir() or (directory / ".lock").exists()
    return (directory / "config.yaml").exists() or (opened and not (directory / "multirun.yaml").exists())


def read(directory: Path, locks: Locks, epochs: int | None = None) -> Live:
    """A run's state; `epochs` is how many its sweep noted, so that of a thousand jobs no YAML need be read."""
    try:
        return _read(directory, locks, epochs)
    except (InputError, OSError) as error:
        return Live(directory, "damaged", epochs=epochs, why=printable(files.first_line(error)))


def _read(directory: Path, locks: Locks, epochs: int | None) -> Live:
    summary = _summary(directory / "summary.json")
    status = summary.get("status")
    if status in ENDED and status != "failed":
        return _ended(directory, summary, status, epochs)
    if not _alive(directory, locks):
        if status in ("failed", "interrupted"):
            return _ended(directory, summary, status, epochs)
        begun = any((directory / name).exists() for name in ("config.yaml", ".lock"))
        status = "interrupted" if begun else "waiting"  # Hydra opens all jobs of a sweep before the first trains
    else:
        status = "running"
    rows = last_rows(directory / "metrics.jsonl")
    last, (best, at) = rows[-1] if rows else {}, _best(directory / "metrics.jsonl")
    numbers: dict[str, Any] = _numbers(last) | {"rate": _mean(rows, "examples_per_second")}
    return Live(
        directory, status, **numbers,
        epochs=_epochs(directory) or epochs, seconds=_mean(rows, "seconds"), best=best, best_epoch=at,
    )  # fmt: skip


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [value for value in (number(row.get(key)) for row in rows) if value is not None]
    return sum(values) / len(values) if values else None


def _summary(path: Path) -> dict[str, Any]:
    """How the run ended; nothing where it has not, or where it is taken up again at this moment."""
    try:
        return files.read_json(path) if path.exists() else {}
    except InputError:
        if path.exists():
            raise
        return {}


def _ended(directory: Path, summary: Mapping[str, Any], status: str, epochs: int | None) -> Live:
    best, at = number(summary.get("best/valid/elbo")), _count(summary.get("best/epoch"))
    found = _numbers(summary)
    epochs = found["epoch"] if status == "finished" else epochs or _epochs(directory)
    return Live(directory, status, **found, epochs=epochs, best=best, best_epoch=at, why=_why(summary, status))


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row and a summary both have of the last epoch."""
    return {
        "epoch": _count(row.get("epoch")) or 0,
        "step": _count(row.get("step")),
        "rate": number(row.get("examples_per_second")),
        "valid": number(row.get("valid/elbo")),
        "train": number(row.get("train/elbo")),
    }


def _why(summary: Mapping[str, Any], status: str) -> str:
    if status == "diverged":
        step = summary.get("step" if summary.get("culprit") == "skip_above" else "first_nonfinite_step")
        return printable(f"at step {step} ({summary.get('culprit')})")
    if status == "stopped" and isinstance(told := summary.get("stopped"), Mapping):
        return printable(f"by {told.get('rule')}")
    return printable(summary.get("error", "")) if status == "failed" else ""


def _alive(directory: Path, locks: Locks) -> bool:
    held = locks.held(directory)
    if held or (held is not None and not _is_elsewhere(directory)):
        return bool(held)
    written = [path.stat().st_mtime for path in (directory / "metrics.jsonl", directory / "vaex.log") if path.exists()]
    seconds = [number(row.get("seconds")) or 0.0 for row in last_rows(directory / "metrics.jsonl")[-1:]]
    return time.time() - max(written, default=0.0) < max(FRESH, *(LAST_EPOCHS * each for each in seconds), 0.0)


def _is_elsewhere(directory: Path) -> bool:
    """Whether another machine worked on a run last, of whose locks this one knows nothing."""
    try:
        segments = files.read_json(directory / "manifest.json").get("segments")
    except InputError:
        return False
    last = segments[-1] if isinstance(segments, list) and segments else {}
    return isinstance(last, Mapping) and last.get("host") not in (None, platform.node())


def _epochs(directory: Path) -> int | None:
    """How many epochs a run is to have; None where its configuration is not there yet, or damaged."""
    try:
        training = files.read_yaml(directory / "config.yaml").get("training")
    except InputError:
        return None
    return _count(training.get("epochs")) if isinstance(training, Mapping) else None


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The last rows of a metrics.jsonl: whole lines only, as one may just be written."""
    most, end = TAIL, _end_of(path, TAIL)
    while not (rows := list(filter(None, map(_row, end.split(b"\n")[-LAST_EPOCHS - 1 : -1])))):
        if len(end) < most or most >= MOST_SCANNED:  # all of it has been read, or enough
            break
        most *= 8
        end = _end_of(path, most)
    return rows


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _best(path: Path) -> tuple[float | None, int | None]:
    """The highest finite valid/elbo so far, and its epoch; neither of a file that is too long to search."""
    if not path.exists() or path.stat().st_size > MOST_SCANNED:
        return None, None
    whole = _end_of(path, MOST_SCANNED).rpartition(b"\n")[0]  # a number that is just being written is another one
    texts = enumerate(ELBO.findall(whole), start=1)
    best, epoch = max(((float(text), -epoch) for epoch, text in texts if text), default=(None, 0))
    return best, -epoch or None


def _end_of(path: Path, most: int) -> bytes:
    """The last bytes of a regular file; nothing where there is none."""
    try:
        with files.open_regular(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read(most)
    except FileNotFoundError:
        return b""


def _count(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
