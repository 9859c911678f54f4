"""How much of a device's memory is free, and whether a compiled program fits into it before anything is written."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from vaex.disk.directory import type_of_device
from vaex.errors import VaexError


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
