"""Packs sent to workers until all have ended: followed while they train, sent again where a worker is lost."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from vaex import files
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.engines.following import Following
from vaex.engines.parcel import Parcel, Report
from vaex.errors import InputError, VaexError
from vaex.terminal.displays import Display
from vaex.terminal.stop import Signals
from vaex.training import run
from vaex.training.run import Outcome

log = logging.getLogger("vaex")

PAUSE = 0.5
"""Seconds between two looks at what workers have come to."""


class Lost(str):
    """Why nothing more comes from a worker: it was killed, its machine went away."""


@runtime_checkable
class Carrier(Protocol):
    """Takes parcels to workers, and brings their reports back. A parcel is known by its number."""

    def send(self, parcels: Mapping[int, Parcel]) -> None:
        """Have these trained, as soon as there is room."""

    def reports(self, seconds: float) -> dict[int, Report | Lost]:
        """What has come back since the last call, waiting so long at most for a first one."""
        ...

    def cancel(self) -> None:
        """Ask every worker to stop at the end of its epoch; what has not begun never does."""


class Sending:
    """One sweep's parcels."""

    def __init__(
        self,
        carrier: Carrier,
        parcels: Sequence[Parcel],
        packs: Sequence[Sequence[Job]],
        display: Display,
        repeats: int,
    ):
        """`packs` are what is in the parcels, as this process names their directories."""
        self._carrier, self._parcels, self._repeats = carrier, parcels, repeats
        self._left = dict.fromkeys(range(len(parcels)), 0)  # by number, how often it has been sent again
        jobs = [job for members in packs for job in members if not job.ghost]
        self._shown = {str(job.directory.absolute()): job.directory for job in jobs}
        self._statuses = dict.fromkeys(self._shown, "interrupted")
        self._following = Following(jobs, display)
        self._error: BaseException | None = None

    def train(self, ended: Callable[[], None]) -> Outcome:
        """Until all have ended, or a signal has stopped them; `ended` is called after each."""
        stop = Signals("stopping the workers at the end of their epochs")
        run.wait([threading.Thread(target=self._serve, args=(ended, stop), name="engine")], stop)
        if self._error is not None:
            raise self._error
        statuses = {self._shown[place]: status for place, status in self._statuses.items()}
        return Outcome(statuses, stop.signal, stop.by_policy)

    def _serve(self, ended: Callable[[], None], stop: Signals) -> None:
        try:
            self._until_all_have_ended(ended, stop)
        except BaseException as error:  # told by the main thread, which waits
            self._error = error

    def _until_all_have_ended(self, ended: Callable[[], None], stop: Signals) -> None:
        self._carrier.send(dict(enumerate(self._parcels)))
        cancelled = False
        while self._left:
            if stop.asked and not cancelled:
                self._carrier.cancel()
                cancelled = True
            for number, report in self._carrier.reports(PAUSE).items():
                if isinstance(report, Report):
                    self._take(number, report, stop)
                elif stop.asked:
                    self._take(number, Report({}), stop)
                else:
                    self._send_again(number, report, stop)
                ended()
            self._following.look()

    def _take(self, number: int, report: Report, stop: Signals) -> None:
        del self._left[number]
        for level, line in report.told:
            if level >= logging.ERROR or not stop.asked:  # that it stops, each worker says too
                log.log(level, "%s", line)
        places = [job.directory for job in self._parcels[number].jobs]
        statuses = {str(place): _end_of(place, report) for place in places}
        self._statuses |= statuses
        self._following.end(statuses)
        stop.by_policy |= report.by_policy

    def _send_again(self, number: int, why: Lost, stop: Signals) -> None:
        parcel, times = self._parcels[number], self._left[number]
        left = [job for job in parcel.jobs if _on_disk(job.directory) not in sweep.ENDED]
        what = ", ".join(job.label for job in left)
        if not left or times == self._repeats:
            told = f"its worker was lost {'once' if times == 0 else f'{times + 1} times'} ({why})"
            for job in left:
                log.error("%s: %s", job.label, told)
                _note_failure(job, told)
            self._take(number, Report({str(job.directory): "failed" for job in left}), stop)
            return
        log.warning("%s: lost its worker (%s); going on with another", what, why)
        self._left[number] += 1
        try:
            self._carrier.send({number: parcel})
        except VaexError as error:  # the others go on
            self._send_again(number, Lost(str(error)), stop)


def _end_of(place: Path, report: Report) -> str:
    """How a run ended: what it says itself counts, where it came to its end."""
    own = _on_disk(place)
    return own if own in sweep.ENDED else report.statuses.get(str(place)) or own


def _on_disk(place: Path) -> str:
    """How a run ended by its own word; interrupted where it has not said so, failed where that cannot be read."""
    try:
        return str(sweep.status_of(place) or "interrupted")
    except InputError as error:
        log.error("%s", error)
        return "failed"


def _note_failure(job: Job, told: str) -> None:
    """Say in the run's own directory that it has failed, as a run that fails by itself does."""
    if not job.directory.is_dir() or (job.directory / "summary.json").exists():
        return
    try:
        with files.locked(job.directory):
            files.write_json(job.directory / "summary.json", {"status": "failed", "error": told, "wall_seconds": 0.0})
    except (VaexError, OSError) as error:  # it trains all the same, out of sight; the other packs go on
        log.warning("%s: that it has failed is not noted: %s", job.label, files.first_line(error))
