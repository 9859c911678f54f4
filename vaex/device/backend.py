"""JAX, made ready before anything asks it for a number: what is wrong with the device is then said as just that.

Every verb that computes begins here.
"""

import contextlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from vaex import files
from vaex.device import compilation_cache, hosts, meeting
from vaex.disk import provenance
from vaex.errors import InputError, VaexError, printable
from vaex.terminal.screen import Screen, log_to

log = logging.getLogger("vaex")

HELD = {
    "enable_x64": False,
    "numpy_dtype_promotion": "standard",
    "disable_jit": False,
    "debug_nans": False,
    "debug_infs": False,
}
"""Settings that a variable cannot change: a run is float32 and compiled, and what is not finite is its result."""

CHOOSING = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_TRANSFER_GUARD", "CUDA_VISIBLE_DEVICES")
"""Variables that decide which device JAX opens, and whether it may be given numbers."""

PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
"""Variable: whether XLA takes three quarters of a GPU's memory when it opens it."""


def start(manifest: Mapping[str, Any] | None = None, devices: int | str = 1, *, trains: bool = True) -> None:
    """Open the device, with the thread and device counts of a run's manifest; raises `VaexError` where it cannot be.

    `devices` are those on which a run is to train (`training.devices`): of several, other processes may have some. A
    process that does not train itself (`trains`) leaves a GPU's memory to those that do.
    """
    processes = meeting.asked() if devices != 1 else None
    log_to(Screen())
    if "XLA_FLAGS" in os.environ:
        _refuse_unknown_flags(os.environ["XLA_FLAGS"])
    provenance.restore(manifest or {}, processes.processes if processes else 1)
    compilation_cache.start()
    if processes:
        hosts.join(processes)
        log_to(Screen())
    import jax  # late: the counts must be set before its backend starts

    chosen = os.environ.get("JAX_PLATFORMS")
    if chosen and "cpu" not in chosen.split(","):
        jax.config.update("jax_platforms", f"{chosen},cpu")  # initial weights are made there
    for name, value in HELD.items():
        if f"JAX_{name.upper()}" in os.environ:
            jax.config.update(f"jax_{name}", value)
    try:
        with contextlib.nullcontext() if trains else _sparing():
            jax.block_until_ready(jax.numpy.uint32(0))  # a number is sent, which is more than finding the device
    except Exception as error:  # each of JAX's backends raises what it likes
        raise VaexError(_cannot(error)) from error


@contextlib.contextmanager
def _sparing() -> Iterator[None]:
    """Have XLA take memory as it is needed, unless somebody has said otherwise; what is started later is not told."""
    if PREALLOCATE in os.environ:
        yield
        return
    os.environ[PREALLOCATE] = "false"
    try:
        yield
    finally:
        del os.environ[PREALLOCATE]


def _refuse_unknown_flags(flags: str) -> None:
    """Raise `InputError` for flags at which XLA would end the process: only another one can survive asking it."""
    ask = "from jaxlib import xla_client; xla_client.CompileOptions()"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, errors="replace")
    refusal = re.search(r"^[EF]\d{4} .*?\] (.*)", done.stderr, re.MULTILINE)
    if done.returncode and refusal:
        raise InputError(printable(f"XLA_FLAGS={flags}: {refusal[1].rstrip('.')}; correct it, or unset it"))


def _cannot(error: Exception) -> str:
    """Which device cannot be opened, why, and the variables that chose it."""
    chosen = " ".join(f"{name}={os.environ[name]}" for name in CHOOSING if name in os.environ)
    why = files.first_line(error) if str(error) else "there is none here"
    if not chosen:
        return f"JAX cannot open a device ({why}); JAX_PLATFORMS=cpu trains on the CPU"
    return f"{chosen}: JAX cannot use such a device here ({why}); unset it to take the one that is there"
