"""Which processes make a run, as the surroundings name them, and how they meet, by `jax.distributed`.

Slurm's tasks find each other; elsewhere three variables say where, how many and which.
"""

import os
import socket
import sys
import threading
from typing import NamedTuple

from vaex.errors import InputError, VaexError, printable
from vaex.files import first_line

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


def meet(processes: Asked) -> None:
    """Let this process and the others find each other, before JAX's backend starts."""
    import jax

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
