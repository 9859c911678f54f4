"""One run in several processes, on one host or many: how they agree, and end when one is gone.

Each process is given the same command and computes the same; the first one writes, tracks and speaks. Without several
processes every function here is what one process alone would do.
"""

import ctypes
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from jaxtyping import PyTree

from vaex.device.meeting import Asked, meet
from vaex.errors import InputError, printable
from vaex.files import first_line

log = logging.getLogger("vaex")

GONE = 3
"""The exit code of a process whose run cannot go on because another one is gone."""


def join(processes: Asked) -> None:
    """Meet the other processes, before JAX's backend starts."""
    if _joined:  # a second run of the same process
        return
    _part_streams(processes)
    if processes.rank:
        logging.disable(logging.WARNING)  # only errors are said by each
    meet(processes)
    _joined.append(processes)
    _hear_jax_give_up()


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

    Its thread in C++ does it within seconds of a host's end, or `meeting.HEARTBEAT`, and asks nobody. Python's own
    handlers of signals run when the interpreter comes to it, which it does not any more.
    """

    def aborted(_: int) -> None:
        _end(_gone())

    _handlers.append(ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted))
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _handlers[0])
