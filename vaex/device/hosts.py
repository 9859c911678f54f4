"""One run in several processes, on one host or many: how they find each other, agree, and end when one is gone.

Each process is given the same command and computes the same; the first one writes, tracks and speaks. They are joined
by `jax.distributed`: Slurm's tasks find each other, elsewhere three variables say where, how many and which. Without
several processes every function here is what one process alone would do.
"""

import ctypes
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import PyTree

from vaex.errors import InputError, VaexError, printable
from vaex.files import first_line

log = logging.getLogger("vaex")

ADDRESS, COUNT, RANK = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Variables that join processes: of the first one, as host:port; how many there are; which this one is, from 0."""

SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
"""Those by which JAX knows a task of Slurm's."""

OF_STEP = "SLURM_STEP_NUM_TASKS"
"""How many tasks there are beside this one. In the shell of an allocation SLURM_NTASKS is what may be started in it."""

MEETING = 300
"""Seconds until all must have come: nodes of a cluster do not start at once."""

HEARTBEAT = 30
"""Seconds of silence after which a process is taken for dead, where its connections do not say so at once."""

SILENT = 5
"""Seconds of waiting for the others of which nothing is said."""

PARTING = 7 * 24 * 3600
"""Seconds for which processes wait at the end for the first one, which draws and measures; should it die, they end."""

GONE = 3
"""The exit code of a process whose run cannot go on because another one is gone."""


class Asked(NamedTuple):
    """How many processes, and which is this one; where the first is (None: Slurm says)."""

    processes: int
    rank: int
    address: str | None


def asked() -> Asked | None:
    """The processes that the surroundings name; None where this one is alone. `InputError` for what they cannot be."""
    named = {name: os.environ[name] for name in (ADDRESS, COUNT, RANK) if os.environ.get(name)}
    if named:
        lacking = [name for name in (ADDRESS, COUNT, RANK) if name not in named]
        if lacking:
            raise InputError(f"{', '.join(named)} without {', '.join(lacking)}: several processes need all three")
        count, rank = (_number(name) for name in (COUNT, RANK))
        port = named[ADDRESS].rpartition(":")[2]
        if not (0 <= rank < count and port.isdecimal() and ":" in named[ADDRESS]):
            raise InputError(
                printable(
                    f"{ADDRESS}={named[ADDRESS]} {COUNT}={count} {RANK}={rank}: expected host:port, "
                    "a number of processes, and one from 0 to below it"
                )
            )
        return Asked(count, rank, named[ADDRESS]) if count > 1 else None
    if all(os.environ.get(name) for name in SLURM):
        count = _number(OF_STEP if os.environ.get(OF_STEP) else "SLURM_NTASKS")
        return Asked(count, _number("SLURM_PROCID"), None) if count > 1 else None
    return None


def _number(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise InputError(printable(f"{name}: expected a number, got {value!r}"))
    return int(value)


def join(processes: Asked) -> None:
    """Meet the other processes, before JAX's backend starts."""
    import jax

    if _joined:  # a second run of the same process
        return
    _part_streams(processes)
    if processes.rank:
        logging.disable(logging.WARNING)  # only errors are said by each
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    _refuse_proxies()
    if processes.rank == 0:
        _refuse_taken_port(processes)
    waits = threading.Timer(SILENT, _say_that_it_waits, [processes])
    waits.daemon = True
    waits.start()
    try:
        jax.distributed.initialize(
            processes.address,
            processes.processes,
            processes.rank,
            local_device_ids=_own_device(),
            initialization_timeout=MEETING,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PARTING,
        )
    except Exception as error:  # whatever JAX raises there
        where = processes.address or "Slurm's tasks"
        raise VaexError(
            f"process {processes.rank} of {processes.processes} cannot join the others ({where}): {first_line(error)}"
        ) from error
    finally:
        waits.cancel()
    _joined.append(processes)
    _hear_jax_give_up()


def _say_that_it_waits(processes: Asked) -> None:
    others = f"process {1 - processes.rank}" if processes.processes == 2 else f"{processes.processes - 1} others"
    where = processes.address or "Slurm's tasks"
    print(
        f"vaex: process {processes.rank} of {processes.processes} waits for {others} at {where}, {MEETING} s at most",
        file=sys.stderr,
    )


def _refuse_proxies() -> None:
    """Let processes speak to each other directly: gRPC takes an `http_proxy` even on the loopback, and JAX warns."""
    import jax

    os.environ["grpc_proxy"] = ""  # noqa: SIM112  # gRPC reads it so; empty: none
    jax.config.update("jax_check_proxy_envs", False)


def _refuse_taken_port(processes: Asked) -> None:
    """Raise `InputError` where the first process cannot listen, which JAX answers with a segmentation fault."""
    if processes.address:
        port = int(processes.address.rpartition(":")[2])
    else:  # JAX's choice for a job of Slurm's
        port = int(os.environ["SLURM_JOB_ID"]) % 2**12 + 2**16 - 2**12
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except (OSError, OverflowError) as error:
            where = processes.address or f"job {os.environ['SLURM_JOB_ID']}"
            raise InputError(
                f"the processes of this run cannot meet ({where}): port {port} of this host: {first_line(error)}; "
                f"{ADDRESS}=HOST:PORT names another"
            ) from error


def _own_device() -> list[int] | None:
    """The only GPU that this process was given, as by Slurm's --gpus-per-task.

    None: JAX takes that of the task's number on its node, among those that all of a node's tasks see.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [0] if seen.isdecimal() or (seen.startswith(("GPU-", "MIG-")) and "," not in seen) else None


_joined: list[Asked] = []
"""What this process has joined."""

_left: list[bool] = []

_ending = threading.Lock()

_directory: list[str] = []
"""Of the run that is trained: how to go on is said with it."""


def several() -> bool:
    """Whether this process is one of several."""
    return bool(_joined)


def leads() -> bool:
    """Whether this process writes, tracks and speaks: the first of several, or one alone."""
    return not _joined or _joined[0].rank == 0


def trains(directory: Any) -> None:
    """Remember which run is trained."""
    _directory[:] = [str(directory)]


def all_agree(wanted: bool) -> bool:
    """Whether all processes want it: asked by all of them at the same place."""
    return bool(_of_all(np.int32(wanted)).all()) if _joined else wanted


def of_first(tree: PyTree) -> PyTree:
    """The arrays of the first process, in all of them."""
    if not _joined:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def texts(own: str) -> list[str]:
    """What each process says, in their order."""
    if not _joined:
        return [own]
    coded = np.frombuffer(own.encode(), np.uint8)
    longest = int(_of_all(np.int32(len(coded))).max())
    return [bytes(row).rstrip(b"\0").decode() for row in _of_all(np.pad(coded, (0, longest - len(coded))))]


def _of_all(array: Any) -> np.ndarray:
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array))


def leave() -> None:
    """Wait until all processes are done, and part."""
    import jax

    if waited_for():
        jax.distributed.shutdown()
        _left.append(True)


def waited_for() -> bool:
    """Whether others may wait for this process: it must then end at once, for JAX would wait for them."""
    return bool(_joined) and not _left


def refuse(message: str) -> NoReturn:
    """Raise the `InputError` that all processes come to at the same place."""
    leave()
    raise InputError(message)


def give_up(error: BaseException) -> NoReturn:
    """End at once, saying why in one line: what waits for the others would never end. They notice."""
    told = str(error)
    lost = any(word in told for word in ("Gloo", "NCCL", "oordination", "onnection", "DEADLINE_EXCEEDED"))
    _end(_gone() if lost else f"{_who()}: {type(error).__name__}: {first_line(error)}; the others end too{_how()}")


def _end(why: str) -> NoReturn:
    """Say why, once, whichever thread comes first; nothing is flushed that has not been."""
    if _ending.acquire(blocking=False):
        os.write(sys.stderr.fileno(), f"vaex: {printable(why)}\n".encode(errors="replace"))
        os._exit(GONE)
    while True:  # the thread that has it ends the process
        time.sleep(1)


def _who() -> str:
    return f"process {_joined[0].rank} of {_joined[0].processes}"


def _how() -> str:
    return f"; to go on: `vaex resume {' '.join(_directory) or 'DIR'}` in all of them"


def _gone() -> str:
    return f"{_who()}: another process of this run is gone{_how()}"


def _part_streams(processes: Asked) -> None:
    """Give Python's streams descriptors of their own; what JAX's C++ prints on 1 and 2 goes nowhere.

    It greets (Gloo), and where a process dies the others print thirty lines each. All but the first are silent besides.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, name in ((1, "stdout"), (2, "stderr")):
        own = os.dup(number) if processes.rank == 0 or number == 2 else os.dup(nowhere)
        stream = getattr(sys, name)
        encoding = stream.encoding if isinstance(stream, io.TextIOWrapper) else "utf-8"
        stream.flush()
        setattr(sys, name, open(own, "w", 1, encoding=encoding, errors="replace"))  # noqa: SIM115, PTH123  # kept
        os.dup2(nowhere, number)


_handlers: list[Callable[..., Any]] = []
"""Kept, since C does not."""


def _hear_jax_give_up() -> None:
    """Say in one line, with our exit code, what JAX ends a process for with abort(): another one is gone.

    Its thread in C++ does it within seconds of a host's end, or `HEARTBEAT`, and asks nobody. Python's own handlers of
    signals run when the interpreter comes to it, which it does not any more.
    """

    def aborted(_: int) -> None:
        _end(_gone())

    _handlers.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted))
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _handlers[0])
