"""How many threads XLA's CPU pool has, on which the bits of a result depend: NPROC. Needs no JAX."""

import os

from vaex.errors import InputError

MOST = 1024
"""Neither NPROC nor a manifest can ask for more threads or devices: XLA starts them all, and 99999 take for ever."""


def cores() -> int:
    """Those that this process may use; all there are where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_count(count: int | None = None) -> None:
    """Fix the size of XLA's CPU pool, which decides the bits of a result, before JAX starts its backend.

    The cores that this process may use, unless NPROC already says otherwise or `count` is given.
    """
    os.environ["NPROC"] = str(count or _named() or cores())


def _named() -> int | None:
    """What NPROC says; raises `InputError` where it is no such number, for which XLA would take another."""
    named = os.environ.get("NPROC", "").strip()
    if not named:
        return None
    if not (named.isdecimal() and 1 <= int(named) <= MOST):
        raise InputError(f"NPROC: expected a number of threads from 1 to {MOST}, got {named!r}")
    return int(named)


def count() -> int:
    """The size of XLA's CPU pool; 0 where nobody has set it."""
    return int(os.environ.get("NPROC") or 0)
