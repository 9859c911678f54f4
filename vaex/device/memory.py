"""How much of a device's memory is free, and whether a compiled program fits into it before anything is written."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from vaex.disk.directory import type_of_device
from vaex.errors import VaexError

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Control groups, and in which of them this process is."""

V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")
"""Files of a control group: its limit, what it uses; and in memory.stat what of that are files that were read."""


class TooLargeError(VaexError):
    """A pack's program needs more memory than its device has left."""


def free(device: type_of_device) -> int | None:
    """Bytes that are free on a device; None where it does not tell, as a CPU does not."""
    told = device.memory_stats() or {}
    return told["bytes_limit"] - told["bytes_in_use"] if "bytes_limit" in told else None


def refuse_too_large(function: Any, state: PyTree, device: type_of_device, runs: int) -> None:
    """Raise `TooLargeError` where a compiled function, with so many runs' states that are not there yet, will not fit.

    Told by XLA's own plan of the program, and by asking the device for that much: free memory may lie in pieces.
    """
    there = free(device)
    if there is None:
        return
    plan = function.memory_analysis()
    of_state = runs * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    needed = of_state + plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    if needed > there or not _can_have(needed, device):
        raise TooLargeError(f"needs {needed / 1e9:.3g} GB, and {there / 1e9:.3g} GB of {device} are free")


def _can_have(size: int, device: type_of_device) -> bool:
    try:
        jnp.zeros(size, jnp.uint8, device=device).block_until_ready().delete()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return False
        raise
    return True


def room(device: type_of_device) -> int:
    """Bytes that may still be asked for on a device; of a CPU those of the machine, or of the group of processes that
    a container or a batch system has put this one into, if it has fewer.
    """
    told = free(device)
    return min([_of_machine(), *_of_groups()]) if told is None else told


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_groups() -> Iterator[int]:
    """What each control group around this process leaves, of version 2 and of version 1."""
    try:
        lines = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers in ("", "memory"):
            root = GROUPS / controllers
            folders = [root.joinpath(*Path(path).parts[1:count]) for count in range(1, len(Path(path).parts) + 1)]
            for folder in dict.fromkeys((*folders, root)):  # in a container a path may be another's
                yield from _left(folder, *(V1 if controllers else V2))


def _left(folder: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    """The limit less what is used, files that were read apart: those give way."""
    try:
        most = int((folder / limit).read_text())  # "max": no limit
        numbers = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield max(0, most - int((folder / used).read_text()) + int(numbers.get(reclaimable, 0)))
    except (OSError, ValueError):
        return
