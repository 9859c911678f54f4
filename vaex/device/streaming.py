"""An epoch of images that are not all in the device's memory: a chunk of steps after the other.

A thread reads the next chunk, in the epoch's order, and sends it while the device trains on the one before. The same
steps run as for images that are all there (`step.part`), over fewer batches at once; the bits are the same.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float32, Int, Int32, PyTree, Shaped

from vaex.data import blocks
from vaex.data.dataset import Dataset, type_of_rows
from vaex.data.stored import Stored
from vaex.device import compiled, placement
from vaex.device.feeding import Feed, type_of_evaluate, type_of_train
from vaex.disk.directory import type_of_device
from vaex.vae import step
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

CHUNK_BYTES = 1 << 25
"""About as many bytes of images are sent at once. Three such chunks are in memory: trained on, waiting, being read."""

FEWEST_STEPS = 2
"""Of a chunk: a loop of one step is compiled as no loop, and rounds otherwise."""

ALIGNED = 64
"""Bytes: where XLA wants an array to begin."""

T = TypeVar("T")


class Streamed(Feed):
    """Epochs and evaluations of a lone run whose images are brought to the device as they are needed."""

    def __init__(
        self, dataset: Dataset, program: Program, hyper: Hyper, device: type_of_device, options: Mapping[str, Any]
    ):
        self._dataset, self._program, self._device = dataset, program, device
        images, batch = dataset.train.images, program.batch_size
        most = most_batches(images, batch)
        self._steps = -(-len(images) // batch)
        self._chunks = shares(self._steps, most)
        held_out = max(len(dataset.valid.images), len(dataset.test.images))
        self._judged_at_once = min(most, -(-held_out // batch))
        self._functions = compiled.Streaming(
            program, hyper, images, self._steps, set(self._chunks), self._judged_at_once, device, options
        )

    @property
    def train(self) -> type_of_train:
        """One epoch: numbers, state and number of the epoch -> state and statistics, as soon as it is compiled."""
        self._functions.wait()
        return self._epoch

    @property
    def evaluate(self) -> type_of_evaluate:
        """Means over a split: its name, numbers, parameters and the time -> means, as soon as it is compiled."""
        return functools.partial(self._evaluate, self._functions.evaluate)

    @property
    def compiled_train(self) -> Any:
        """The program of the first chunk."""
        return self._functions.part(self._chunks[0])

    def _epoch(self, hyper: Hyper, state: TrainState, number: Any) -> tuple[TrainState, dict[str, np.ndarray]]:
        done = []
        for batches, images in beside(self._sent(hyper, number)):
            state, steps = self._functions.part(len(batches[0]))(hyper, state, batches, images)
            done.append(jax.device_get(steps))  # no chunk is begun before: three are in memory, not all of them
        return state, {name: np.concatenate([steps[name] for steps in done]) for name in done[0]}

    def _sent(self, hyper: Hyper, number: Any) -> Iterator[Any]:
        """Rows and weights of each chunk's batches, and its images, on the device."""
        size, count = self._program.batch_size, len(self._dataset.train.images)
        rows = [steps * size for steps in self._chunks]
        rows[-1] = count - sum(rows[:-1])
        places = _windows(self._dataset, self._order(hyper, number))
        for images, steps, real in zip(filled(places, rows, size), self._chunks, rows, strict=True):
            yield jax.device_put((batches(real, steps, size), images), self._device)

    def _order(self, hyper: Hyper, number: Any) -> Iterator[Int[np.ndarray, " rows"]]:
        """Rows of the training split in the epoch's order, as many at once as the dataset's windows have."""
        count, by_blocks = len(self._dataset.train.images), placement.blocks_of(self._dataset)
        if by_blocks is None:
            return iter([np.asarray(self._functions.order(hyper.seed, number))])
        return blocks.windows(by_blocks, count, placement.words(hyper.seed, number))

    def _evaluate(self, function: Any, split: str, hyper: Hyper, parameters: PyTree, time: Any) -> dict[str, Any]:
        images, size = getattr(self._dataset, split).images, self._program.batch_size
        means = jax.device_put(jax.tree.map(np.asarray, step.unevaluated(self._program)), self._device)
        for rows, numbers, chunk in beside(self._read(images, size)):
            means = jax.block_until_ready(function(hyper, parameters, chunk, rows, numbers, time, means))
        return jax.device_get(means)

    def _read(self, images: type_of_rows, size: int) -> Iterator[Any]:
        """Of each chunk of a split: where its first row and end would be, numbers of the batches, and its images."""
        count, at_once = len(images), self._judged_at_once
        for first in range(0, -(-count // size), at_once):
            begins, end = first * size, min(count, (first + at_once) * size)
            chunk = aligned((at_once * size, *images.shape[1:]), images.dtype)
            chunk[: end - begins] = np.asarray(images[begins:end])
            numbers = np.array([first, -(-end // size)], np.int32)
            yield jax.device_put((np.array([-begins, count - begins], np.int32), numbers, chunk), self._device)


def most_batches(images: type_of_rows, batch_size: int) -> int:
    """Batches in a chunk of `CHUNK_BYTES`."""
    return max(FEWEST_STEPS, CHUNK_BYTES // (batch_size * max(1, images.nbytes // len(images))))


def shares(steps: int, most: int) -> list[int]:
    """Steps of each chunk: as few chunks as can be, of sizes that differ by one at most, so two programs at most."""
    count = max(1, min(-(-steps // most), steps // FEWEST_STEPS))
    fewer, more = divmod(steps, count)
    return [fewer + 1] * more + [fewer] * (count - more)


def batches(
    count: int, steps: int, batch_size: int
) -> tuple[Int32[np.ndarray, "steps batch"], Float32[np.ndarray, "steps batch"]]:
    """`step.batches` of `count` rows that are in order already, made by the host."""
    rows = np.arange(steps * batch_size, dtype=np.int32)
    weights = (rows < count).astype(np.float32)
    rows[count:] = (steps - 1) * batch_size
    return rows.reshape(steps, batch_size), weights.reshape(steps, batch_size)


def _windows(dataset: Dataset, order: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Of each part of the order: images in memory, and which of them those are."""
    images = dataset.train.images
    for rows in order:
        if isinstance(images, Stored) and dataset.packed:
            yield images.near(rows, dataset.packed.blocks.rows)
        else:
            yield images, rows


def filled(
    windows: Iterator[tuple[Any, Any]], counts: Sequence[int], batch_size: int
) -> Iterator[Shaped[np.ndarray, "M H W C"]]:
    """Arrays of so many rows, room for whole batches, one after the other, from images and places in them."""
    images, places = next(windows)
    for rows in counts:
        room = -(-rows // batch_size) * batch_size
        chunk = aligned((room, *images.shape[1:]), images.dtype)  # new: a CPU trains on this very memory
        done = 0
        while done < rows:
            if not len(places):
                images = None  # before the next ones are read
                images, places = next(windows)
            count = min(rows - done, len(places))
            np.take(images, places[:count], axis=0, out=chunk[done : done + count], mode="clip")
            places, done = places[count:], done + count
        yield chunk


def aligned(shape: tuple[int, ...], dtype: Any) -> Shaped[np.ndarray, "..."]:
    """An array that XLA takes for its own on a CPU, where it would copy one that begins elsewhere."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNED, np.uint8)
    first = -room.ctypes.data % ALIGNED
    return room[first : first + size].view(dtype).reshape(shape)


def beside(made: Iterator[T]) -> Iterator[T]:
    """The items of an iterator, each made by a thread while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as thread:
        coming = thread.submit(next, made, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, made, None)
            yield item
