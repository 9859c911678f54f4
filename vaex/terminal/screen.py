"""Where a command speaks: standard output; warnings and errors on standard error. Neither can end a run."""

import logging
import os
import sys

from rich.console import Console
from rich.logging import RichHandler
from typing_extensions import override

from vaex.disk.journal import LogFile

WIDE = 200
"""Characters in a line of a table that goes to a file or a pipe."""


class Screen(Console):
    """Standard output. When its reader goes away (`vaex | head`, a lost terminal, a full disk), it is silent."""

    def __init__(self) -> None:
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        super().__init__(file=sys.stdout, width=wide, soft_wrap=True, highlight=False, emoji=False)

    @override
    def _check_buffer(self) -> None:
        """As rich does for a reader that is gone, for every reason why nothing can be written."""
        try:
            super()._check_buffer()
        except OSError:
            self.on_broken_pipe()

    @override
    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(*lines: str) -> None:
    """Lines on standard output, as they are."""
    Screen().print("\n".join(lines), markup=False)


def log_to(console: Console) -> None:
    """Show warnings and errors of the program: above a progress bar on a terminal, else on stderr."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_time=False)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("vaex: %(message)s"))
    logger = logging.getLogger("vaex")
    for old in [old for old in logger.handlers if not isinstance(old, LogFile)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
