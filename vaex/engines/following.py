"""How runs that others train come along, by their files: what a display is told of runs in this process, of those."""

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vaex import files
from vaex.disk import checkpoint
from vaex.disk.directory import Job
from vaex.errors import InputError
from vaex.live import run as live
from vaex.terminal.displays import Display

SHARE = 0.05
"""Of the time that may go into looking: a thousand runs on a slow disk are looked at less often."""

UNSEEN = {"wall_seconds": 0.0, "valid/elbo": math.nan, "culprit": "something", "first_nonfinite_step": "–"}
"""What a run's line says where its summary is not there: it was refused, or a shared disk shows it a moment later."""


class Following:
    """The runs of a sweep that are trained elsewhere."""

    def __init__(self, jobs: Iterable[Job], display: Display):
        self._runs = {job.directory.absolute(): _Followed(job, display) for job in jobs}
        self._next = 0.0

    def look(self) -> None:
        """Tell what is new on disk, unless the last look is too short ago for what it costs."""
        if time.monotonic() < self._next:
            return
        started = time.monotonic()
        for run in self._runs.values():
            run.look()
        ended = time.monotonic()
        self._next = ended + (ended - started) / SHARE

    def end(self, statuses: Mapping[str, str]) -> None:
        """Jobs of which a worker has reported how they ended."""
        for place, status in statuses.items():
            if run := self._runs.pop(Path(place), None):
                run.look()
                run.end(status)


class _Followed:
    """One run: what has been told of it."""

    def __init__(self, job: Job, display: Display):
        self.job, self._display = job, display
        self._begun_before = _written(job.directory / "manifest.json")
        self._rows = job.directory / "metrics.jsonl"
        self._seen, self._epoch, self._started = _written(self._rows), 0, False

    def look(self) -> None:
        """Tell of its beginning, and of its epochs since the last look."""
        if not self._started:
            if _written(self.job.directory / "manifest.json") == self._begun_before:
                return
            self._begin()
        if (now := _written(self._rows)) == self._seen:
            return
        self._seen = now
        for row in live.last_rows(self._rows):
            if isinstance(epoch := row.get("epoch"), int) and epoch > self._epoch:
                self._epoch = epoch
                elbo = row.get("valid/elbo")  # null where it was not finite
                self._display.epoch(self.job, row | {"valid/elbo": math.nan if elbo is None else elbo})

    def end(self, status: str) -> None:
        """Tell of its end, as its summary has it."""
        if not self._started:
            self._begin()
        try:
            summary = files.read_json(self.job.directory / "summary.json")
        except InputError:
            summary = {}
        if summary.get("status") != status:
            summary = {"status": status}
        self._display.end(self.job, UNSEEN | summary)

    def _begin(self) -> None:
        self._started = True
        self._epoch = checkpoint.latest(self.job.directory) if self.job.resumed else 0
        self._display.start(self.job, self._epoch)


def _written(path: Path) -> tuple[int, int]:
    """By which a file that has changed is known."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
