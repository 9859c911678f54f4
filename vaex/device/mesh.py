"""One run on several devices: parameters on each of them, of every batch an equal part.

The devices are a mesh with one axis, "batch". What is computed is what one device computes, said of whole batches;
that each device has its rows only, and that their gradients are summed, XLA makes of where the rows are. So noise and
order are those of one device, and all numbers but for the order of summation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array, Int, PyTree

from vaex.config import Config
from vaex.device import hosts, meeting
from vaex.disk.directory import type_of_device
from vaex.errors import ConfigError

AXIS = "batch"


@dataclass(frozen=True)
class Together:
    """Devices that train one run: stands where a single device does."""

    mesh: Mesh

    @property
    def platform(self) -> str:
        """`cpu`, `gpu`, …: of all of them."""
        return self.mesh.devices.flat[0].platform

    def memory_stats(self) -> dict[str, Any] | None:
        """Of the first that is here: all hold as much."""
        return self.mesh.local_devices[0].memory_stats()


def of(config: Config, device: type_of_device) -> type_of_device:
    """Where a run trains: on this device, or on as many as it asks for."""
    count = resolved(config).training.devices
    return device if count == 1 else Together(Mesh(np.array(jax.devices()[: int(count)]), (AXIS,)))


def on(device: type_of_device) -> Any:
    """Whole, on this device; on each of several."""
    if isinstance(device, Together):
        return NamedSharding(device.mesh, PartitionSpec())
    return SingleDeviceSharding(device)


def put(tree: PyTree, device: type_of_device) -> PyTree:
    """The tree's arrays in the memory of a device, or of each of several."""
    if not isinstance(device, Together):
        return jax.device_put(tree, device)

    def everywhere(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, on(device), lambda _: array)

    return jax.tree.map(everywhere, tree)


def share(mesh: Mesh) -> Callable[[Int[Array, " batch"]], Int[Array, " batch"]]:
    """That of a batch's rows each device has its part."""
    parted = NamedSharding(mesh, PartitionSpec(AXIS))
    return lambda rows: jax.lax.with_sharding_constraint(rows, parted)


def resolved(config: Config) -> Config:
    """The configuration with the devices that there are in place of `all`; asks JAX, so its backend must be open."""
    if config.training.devices != "all":
        return config
    training = config.training
    try:
        return replace(config, training=replace(training, devices=len(jax.devices())))
    except ValueError as error:
        few = max(n for n in range(1, len(jax.devices())) if training.batch_size % n == 0)
        raise ConfigError(
            f"training.devices: all are {len(jax.devices())}, among which {training.batch_size} examples a batch "
            f"cannot be shared equally; choose another training.batch_size, or training.devices={few}"
        ) from error


def check(config: Config) -> None:
    """Raise `InputError` where a run asks for more devices than there are."""
    wanted, there = config.training.devices, jax.devices()
    if hosts.several() and wanted != len(there):
        hosts.refuse(
            f"training.devices: {jax.process_count()} processes train on all of their {len(there)} devices, "
            f"got {wanted}; training.devices=all takes them"
        )
    if wanted == "all" or wanted <= len(there):
        return
    kind = there[0].platform
    way = f"XLA_FLAGS=--xla_force_host_platform_device_count={wanted} makes {wanted} of a CPU's cores; " * (
        kind == "cpu"
    )
    hosts.refuse(
        f"training.devices: expected at most the number of devices here, {len(there)} ({kind}), got {wanted}; {way}"
        f"training.devices={len(there)} is another run than on {wanted}"
    )


def check_sweep(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` where the jobs of a sweep cannot share the devices: they train one after the other on all."""
    counts = list(dict.fromkeys(config.training.devices for config in configs))
    if "all" in counts:
        raise ConfigError("training.devices=all: a sweep notes its jobs before devices are opened; say how many")
    if counts != [1] and meeting.asked():
        raise ConfigError("training.devices: a sweep trains in one process, and several were found; start it in one")
    if len(counts) > 1:
        raise ConfigError(
            f"training.devices: the jobs of a sweep must ask for equally many, got {', '.join(map(str, counts))}; "
            "make a sweep of each"
        )
