"""Where the images of a run are while it trains: all in the device's memory, or streamed to it (`dataset.placement`).

It changes no number: which batches there are is the dataset's and the seed's affair.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from vaex.config import Config
from vaex.data import blocks
from vaex.data.dataset import Dataset
from vaex.device import mesh
from vaex.device.datasets import load
from vaex.device.memory import room
from vaex.disk.directory import type_of_device
from vaex.errors import ConfigError, InputError
from vaex.terminal.screen import say
from vaex.vae import step

OF_ROOM = 0.5
"""The share of a device's free memory that images may fill where that is left to us."""


class Placement(NamedTuple):
    """`streamed`: chunk by chunk; else all are in the device's memory. `why` is one line."""

    streamed: bool
    why: str

    @property
    def name(self) -> str:
        """As `dataset.placement` has it."""
        return "stream" if self.streamed else "device"


def of(config: Config, device: type_of_device) -> Placement:
    """The placement of a configuration's dataset on a device; what `auto` comes to is decided once a process."""
    size = size_of(load(config.dataset))
    if config.placement == "auto":
        return _decided(config.dataset, device, size)
    return Placement(
        config.placement == "stream", f"{size / 1e6:.3g} MB of images: dataset.placement={config.placement}"
    )


@functools.lru_cache(maxsize=16)
def _decided(dataset: Any, device: type_of_device, size: int) -> Placement:
    there = room(device)
    streamed = size > OF_ROOM * there
    most = "more than" if streamed else "at most"
    where = "streamed, a chunk after the other" if streamed else "in its memory"
    why = f"{size / 1e6:.3g} MB of images, {most} half of the {there / 1e6:.3g} MB that are free on {device}: {where}"
    if streamed:
        say(f"dataset.placement=auto: {why}")
    return Placement(streamed, why)


def size_of(dataset: Dataset) -> int:
    """Bytes of all images."""
    return sum(split.images.nbytes for split in (dataset.train, dataset.valid, dataset.test))


def refuse_stacked(config: Config, device: type_of_device) -> None:
    """Raise `ConfigError` where runs in one vmapped program, each in its own order, would have to stream."""
    if config.pack.strategy == "vmap" and of(config, device).streamed:
        raise ConfigError(
            f"pack.strategy=vmap: the runs of one program share the images in the device's memory, and these are "
            f"streamed ({of(config, device).why}); pack.strategy=lone trains one after the other"
        )


def refuse_shared(config: Config, device: type_of_device) -> None:
    """Raise `ConfigError` where a run on several devices, each of which has all images, would have to stream."""
    if config.training.devices != 1 and of(config, device).streamed:
        raise ConfigError(
            f"training.devices={config.training.devices}: each device has all images in its memory, and these are "
            f"streamed ({of(config, device).why}); training.devices=1 streams"
        )


def refuse_streamed(config: Config, device: type_of_device, what: str) -> None:
    """Raise `InputError` where all images must be in the device's memory for `what`, and there is no room for them."""
    told = _decided(config.dataset, device, size_of(load(config.dataset)))
    if told.streamed:
        raise InputError(f"{what} needs all images in memory: {told.why.rpartition(':')[0]}; try a larger machine")


def order(dataset: Dataset, seed: Any, number: Any, whole: Any, device: type_of_device) -> Array:
    """The order of an epoch, or of each run of a pack its own, on the device. `whole` is `step.order`, compiled."""
    count = len(dataset.train.images)
    by_blocks = blocks_of(dataset)
    if by_blocks is None:
        return whole(seed, number)
    seeds, numbers = np.asarray(seed), np.asarray(number)
    pairs = zip(seeds.reshape(-1), numbers.reshape(-1), strict=True)
    rows = [np.concatenate(list(blocks.windows(by_blocks, count, words(*pair)))) for pair in pairs]
    return mesh.put(np.stack(rows).astype(np.int32).reshape(*seeds.shape, count), device)


def blocks_of(dataset: Dataset) -> blocks.Blocks | None:
    """The blocks in which a dataset's rows are shuffled; None where they are shuffled as a whole, `step.order`."""
    if dataset.packed is None or dataset.packed.blocks.one_window(len(dataset.train.images)):
        return None
    return dataset.packed.blocks


def words(seed: Any, number: Any) -> list[int]:
    """`step.order_words`, made by the host."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return np.asarray(step.order_words(jax.numpy.uint32(seed), jax.numpy.int32(number))).tolist()
