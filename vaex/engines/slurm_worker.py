"""A Slurm task: what submitit calls there, and what is done when Slurm wants the node back."""

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from vaex import files


class Task:
    """Trains one parcel of a folder, in the process that Slurm has started.

    submitit has SIGUSR2 sent some time before the time limit. The run hears it as SIGTERM: it ends its epoch and saves;
    then submitit puts the task into the queue again, where it goes on from its checkpoints.
    """

    def __call__(self, folder: str, number: int) -> None:
        """Train; how it ended is in the folder, unless the task goes on later, or was taken back."""
        from vaex.engines import worker  # late: there, not where it is submitted

        signals = _Signals()
        report = worker.train((Path(folder) / f"parcel_{number}.json").read_text(), early=signals.early)
        if report.signal is None:
            files.write(Path(folder) / f"report_{number}.json", report.as_text().encode())
        elif signals.queue_again:
            signals.queue_again.pop()()
        else:
            sys.exit(128 + report.signal)

    def checkpoint(self, folder: str, number: int) -> Any:
        """What submitit asks for: the task as it is to be queued again, which is the same."""
        return importlib.import_module("submitit.helpers").DelayedSubmission(self, folder, number)


class _Signals:
    """What Slurm sends: before there is a run to hear it (`early`), and what remains to be done after it."""

    def __init__(self) -> None:
        self.early: list[int] = []
        self.queue_again: list[Any] = []
        self._submitit = signal.getsignal(signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, self._limit)
        signal.signal(signal.SIGTERM, lambda number, _: self.early.append(number))

    def _limit(self, number: int, frame: FrameType | None) -> None:
        if callable(self._submitit) and not self.queue_again:
            handler = self._submitit
            self.queue_again.append(lambda: handler(number, None))
            os.kill(os.getpid(), signal.SIGTERM)
