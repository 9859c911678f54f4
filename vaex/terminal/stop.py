"""Whether training, or an evaluation, is to end before it is done."""

import logging
import os
import sys
from types import FrameType

log = logging.getLogger("vaex")


class Stop:
    """Whether somebody or something asked for an end: the signal that did, or a run with on_nonfinite=raise."""

    signal: int | None = None
    by_policy: bool = False

    @property
    def asked(self) -> bool:
        """Whether nothing new may begin."""
        return self.signal is not None or self.by_policy


class Signals(Stop):
    """Whether the user or the machine asked for an end."""

    def __init__(self, says: str = "stopping at the end of this epoch"):
        self._says = says

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: remember the first, obey the second at once."""
        if self.signal is not None:
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the cursor, which the progress bar has hidden
            os._exit(128 + number)
        self.signal = number
        log.warning("%s; once more to stop now", self._says)
