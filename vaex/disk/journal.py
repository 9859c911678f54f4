"""Log lines of runs that train side by side: each goes to the vaex.log of the run that speaks.

A context variable says who speaks. Threads that work for a run (recorder, tracker) are given its context.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from typing_extensions import override

speaker: ContextVar[Path | None] = ContextVar("speaker", default=None)
"""Directory of the run for which this thread works just now."""


@contextlib.contextmanager
def speaking(directory: Path) -> Iterator[None]:
    """What is logged inside is said by the run in `directory`."""
    token = speaker.set(directory)
    try:
        yield
    finally:
        speaker.reset(token)


class LogFile(logging.Handler):
    """A run's vaex.log. Opened for every line, so that a thousand open runs hold no thousand files."""

    def __init__(self, directory: Path):
        super().__init__()
        self._directory = directory
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Only what this run says."""
        return speaker.get() == self._directory

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Append the line; a log that cannot be written to is not worth more than the run's own report of it."""
        with contextlib.suppress(OSError), (self._directory / "vaex.log").open("a", encoding="utf-8") as file:
            file.write(self.format(record) + "\n")
