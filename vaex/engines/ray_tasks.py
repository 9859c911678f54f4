"""`hydra/launcher=ray`: each pack is a Ray task, on a cluster that is there or on one of this machine's own."""

import contextlib
import dataclasses
import importlib
import logging
import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from vaex.disk import threads
from vaex.engines import parcel, ray_head
from vaex.engines.engine import Work
from vaex.engines.parcel import Parcel, Report
from vaex.engines.sending import Lost, Sending
from vaex.engines.settings import Ray
from vaex.errors import ConfigError, VaexError
from vaex.files import first_line
from vaex.training.run import Outcome

log = logging.getLogger("vaex")

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
"""Ray reports nothing to anybody, and warns of nothing that is not the user's."""


OF_RAY = "OMP_NUM_THREADS"
"""A variable that Ray gives its workers where they have none: a run's record would say that bits may differ."""

ANSWERS_WITHIN = 10
"""Seconds in which a cluster's port must take a connection: Ray itself tries for minutes."""


class RayTasks:
    """The engine; `ConfigError` where nobody is at the address."""

    waits = True

    def __init__(self, settings: Ray):
        if settings.address == "auto":
            settings = dataclasses.replace(settings, address=_of_auto())
        if settings.address and settings.address != "auto":
            _refuse_unreachable(settings.address)
        if settings.address is None and settings.num_cpus > threads.cores():
            raise ConfigError(
                f"hydra.launcher.num_cpus: expected at most the {threads.cores()} cores here, of which Ray makes a "
                f"cluster, got {settings.num_cpus:g}; hydra.launcher.address=HOST:PORT is another cluster's"
            )
        self._settings = settings

    def check(self) -> None:
        """Raise `ConfigError` where tasks that are given no GPU would all open the one that is here."""
        kind = jax.devices()[0].platform
        if kind != "cpu" and not self._settings.num_gpus and not self._settings.address:
            raise ConfigError(
                f"hydra.launcher.num_gpus: expected more than 0 where runs train on a {kind}, which all would open; "
                "JAX_PLATFORMS=cpu trains on the CPU"
            )

    def train(self, work: Work) -> Outcome:
        """Train the packs."""
        token = f".shared-{secrets.token_hex(8)}"
        parcels = parcel.of_sweep(work.directory, work.packs, together=1, lanes=1, token=token)
        at_once = work.packs[0][0].config.sweep.lanes or len(parcels)
        with _cluster(self._settings) as ray, _marked(work.directory / token):
            _say_where_nothing_fits(ray, self._settings)
            carrier = _Tasks(ray, self._settings, at_once)
            return Sending(carrier, parcels, work.packs, work.display, self._settings.repeats).train(work.ended)


@contextlib.contextmanager
def _marked(token: Path) -> Iterator[None]:
    """A file meanwhile, by which workers know that they see the sweep's directory."""
    token.touch()
    try:
        yield
    finally:
        token.unlink(missing_ok=True)


@contextlib.contextmanager
def _cluster(settings: Ray) -> Iterator[Any]:
    """Ray, connected to a cluster."""
    os.environ |= QUIET
    own = contextlib.nullcontext(settings.address) if settings.address else ray_head.started(threads.cores())
    with own as address:
        ray = importlib.import_module("ray")  # late: it takes seconds; an extra, which the type checker may lack

        handler = signal.getsignal(signal.SIGTERM)
        try:
            _connect(ray, address)
            yield ray
        finally:
            ray.shutdown()
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own in place


def _connect(ray: Any, address: str) -> None:
    """Raises `VaexError`: the sweep is there by now, and can go on."""
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise VaexError(f"hydra.launcher.address: no Ray cluster at {address} ({first_line(error)})") from error


def _say_where_nothing_fits(ray: Any, settings: Ray) -> None:
    """Ray waits without a word for a node that is large enough; to a cluster of others one may be added."""
    asked = {"CPU": settings.num_cpus, "GPU": settings.num_gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(kind, 0) >= count for kind, count in asked.items()) for node in nodes):
        return
    largest = ", or ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes)
    told = f"each pack asks for {asked['CPU']:g} cores and {asked['GPU']:g} GPUs, and no node of Ray's has as much"
    if settings.address is None:
        raise VaexError(f"hydra.launcher.num_gpus: {told} (here are {largest})")
    log.warning("hydra.launcher: %s (%s); waiting for one that has", told, largest)


def _of_auto() -> str:
    """The cluster that Ray takes for `auto`: named by a variable, running here, or the last one that it has noted."""
    noted = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    if _runs_here():
        return "auto"
    try:
        return noted.read_text().strip()
    except OSError as error:
        raise ConfigError(
            "hydra.launcher.address=auto: no Ray cluster runs here, and RAY_ADDRESS names none; `ray start --head` "
            "starts one"
        ) from error


def _runs_here() -> bool:
    """Whether a cluster's head is among this machine's processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if b"gcs_server" in path.read_bytes():
                return True
    return False


def _refuse_unreachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f"hydra.launcher.address: expected HOST:PORT of a Ray cluster, or auto, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN).close()
    except OSError as error:
        raise ConfigError(f"hydra.launcher.address: no Ray cluster at {address} ({first_line(error)})") from error


class _Tasks:
    """Carries parcels as Ray tasks, so many at once at most."""

    def __init__(self, ray: Any, settings: Ray, at_once: int):
        self._ray, self._at_once = ray, at_once
        self._waiting: deque[int] = deque()
        self._parcels: dict[int, Parcel] = {}
        self._running: dict[Any, int] = {}
        self._never: list[int] = []
        self._unseen = False
        resources = {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus, "max_retries": 0}
        self._train = ray.remote(train_plain).options(runtime_env={"env_vars": parcel.environment()}, **resources)

    def send(self, parcels: Mapping[int, Parcel]) -> None:
        """Have these trained, as soon as there is room."""
        self._parcels |= parcels
        self._waiting.extend(parcels)
        self._start()

    def reports(self, seconds: float) -> dict[int, Report | Lost]:
        """What has come back since the last call, waiting so long at most for a first one."""
        found: dict[int, Report | Lost] = {number: Report({}) for number in self._never}
        self._never.clear()
        done = self._ray.wait(list(self._running), timeout=seconds)[0] if self._running else []
        for ref in done:
            number = self._running.pop(ref)
            if (report := self._report(ref, number)) is not None:
                found[number] = report
        self._start()
        return found

    def cancel(self) -> None:
        """Ask every worker to stop at the end of its epoch; what has not begun never does."""
        self._at_once = 0
        for ref in self._running:
            self._ray.cancel(ref, force=False)  # SIGINT, as a person would
        self._never = list(self._waiting)
        self._waiting.clear()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            number = self._waiting.popleft()
            given = self._parcels[number]
            content = parcel.packed(given.sweep, _places(given)) if self._unseen else None
            self._running[self._train.remote(given.as_text(), content, OF_RAY in os.environ)] = number

    def _report(self, ref: Any, number: int) -> Report | Lost | None:
        """What came of a task; None where it has to be sent again, with what there is of its runs."""
        raised = self._ray.exceptions
        try:
            report = Report(**self._ray.get(ref))
        except raised.TaskCancelledError:
            return Report({})
        except raised.RayTaskError as error:
            line = f"{self._parcels[number].jobs[0].label}: {first_line(error.cause)}"
            return Report(
                {str(job.directory): "failed" for job in self._parcels[number].jobs}, told=((logging.ERROR, line),)
            )
        except raised.RayError as error:
            return Lost(type(error).__name__)
        if report.unseen and report.files is None:
            if not self._at_once:  # cancelled since: it has not begun, and never does
                return Report({})
            self._unseen = True
            self._waiting.appendleft(number)
            return None
        if report.files is not None:
            parcel.put_in_place(report.files, self._parcels[number].sweep)
        return report


def _places(given: Parcel) -> list[Path]:
    """The directories of a parcel's runs in their sweep's."""
    return [job.directory.relative_to(given.sweep) for members in given.packs for job in members]


def train_plain(text: str, content: bytes | None, named: bool) -> dict[str, Any]:
    """What a Ray worker calls: plain values there and back. `named`: the command itself has the variable `OF_RAY`."""
    if not named:
        os.environ.pop(OF_RAY, None)
    from vaex.engines import worker  # late: there, not here

    return dataclasses.asdict(worker.train(text, content))
