"""An epoch of images that are not all in the device's memory: a chunk of steps after the other.

A thread reads the next chunk, in the epoch's order, and sends it while the device trains on the one before; the first
one of the next epoch while this one is judged. The same steps run as for images that are all there (`step.part`), over
fewer batches at once; the bits are the same.
"""

import functools
import itertools
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
"""About as many bytes of images are sent at once. Two such chunks are in memory: trained on, and being read."""

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
        on_device = functools.partial(jax.device_put, device=device)
        self._batches = functools.cache(lambda rows, steps: on_device(batches(rows, steps, batch)))  # three kinds
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")  # one for all: each takes memory of its own
        self._room = rooms(self._chunks[0] * batch, images)
        self._epochs: tuple[int, Iterator[Any]] | None = None  # the next one's number, and the chunks from there on
        self._judged_at_once = min(most, -(-held_out // batch))
        self._room_to_judge = rooms(self._judged_at_once * batch, images)
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

    def close(self) -> None:
        """End the thread, and forget what it has read ahead, which would keep all of this in memory: it refers back."""
        self._reader.shutdown(cancel_futures=True)
        self._epochs = None

    def _epoch(self, hyper: Hyper, state: TrainState, number: Any) -> tuple[TrainState, dict[str, np.ndarray]]:
        done = []
        for batches, images in itertools.islice(self._from(hyper, int(number)), len(self._chunks)):
            state, steps = self._functions.part(len(batches[0]))(hyper, state, batches, images)
            done.append(jax.device_get(steps))  # no chunk is begun before: its room is needed
        return state, {name: np.concatenate([steps[name] for steps in done]) for name in done[0]}

    def _from(self, hyper: Hyper, number: int) -> Iterator[Any]:
        """The chunks of an epoch, then those of the next ones: what is read ahead at its end is theirs."""
        coming, chunks = self._epochs or (None, iter(()))
        if coming != number:
            later = (self._sent(hyper, np.int32(each)) for each in itertools.count(number))
            chunks = beside(itertools.chain.from_iterable(later), self._reader)
        self._epochs = number + 1, chunks
        return chunks

    def _sent(self, hyper: Hyper, number: Any) -> Iterator[Any]:
        """Rows and weights of each chunk's batches, and its images, on the device."""
        size, count = self._program.batch_size, len(self._dataset.train.images)
        rows = [steps * size for steps in self._chunks]
        rows[-1] = count - sum(rows[:-1])
        places = _windows(self._dataset, self._order(hyper, number))
        for images, steps, real in zip(filled(places, rows, size, self._room), self._chunks, rows, strict=True):
            yield self._batches(real, steps), jax.device_put(images, self._device)

    def _order(self, hyper: Hyper, number: Any) -> Iterator[Int[np.ndarray, " rows"]]:
        """Rows of the training split in the epoch's order, as many at once as the dataset's windows have."""
        count, by_blocks = len(self._dataset.train.images), placement.blocks_of(self._dataset)
        if by_blocks is None:
            return iter([np.asarray(self._functions.order(hyper.seed, number))])
        return blocks.windows(by_blocks, count, placement.words(hyper.seed, number))

    def _evaluate(self, function: Any, split: str, hyper: Hyper, parameters: PyTree, time: Any) -> dict[str, Any]:
        images, size = getattr(self._dataset, split).images, self._program.batch_size
        means = jax.device_put(jax.tree.map(np.asarray, step.unevaluated(self._program)), self._device)
        for rows, numbers, chunk in beside(self._read(images, size), self._reader):
            means = jax.block_until_ready(function(hyper, parameters, chunk, rows, numbers, time, means))
        return jax.device_get(means)

    def _read(self, images: type_of_rows, size: int) -> Iterator[Any]:
        """Of each chunk of a split: where its first row and end would be, numbers of the batches, and its images."""
        count, at_once = len(images), self._judged_at_once
        for first in range(0, -(-count // size), at_once):
            begins, end = first * size, min(count, (first + at_once) * size)
            chunk, part = next(self._room_to_judge), images[begins:end]
            if isinstance(part, Stored):
                part.read(0, chunk[: len(part)])
            else:
                chunk[: len(part)] = part
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
    """Of each part of the order: images in memory until the next part is asked for, and which of them those are."""
    images = dataset.train.images
    if not isinstance(images, Stored) or dataset.packed is None:
        yield from ((images, rows) for rows in order)
        return
    block, window = dataset.packed.blocks
    room = np.empty((min(len(images), block * window), *images.shape_of_row), images.dtype)  # fresh pages cost as much
    for rows in order:
        yield images.near(rows, block, room)


def filled(
    windows: Iterator[tuple[Any, Any]], counts: Sequence[int], batch_size: int, room: Iterator[Any]
) -> Iterator[Shaped[np.ndarray, "M H W C"]]:
    """Arrays of so many rows, in room for whole batches, one after the other, from images and places in them."""
    images, places = next(windows)
    for rows in counts:
        chunk = next(room)[: -(-rows // batch_size) * batch_size]
        done = 0
        while done < rows:
            if not len(places):
                images, places = next(windows)
            count = min(rows - done, len(places))
            np.take(images, places[:count], axis=0, out=chunk[done : done + count], mode="clip")
            places, done = places[count:], done + count
        yield chunk


def rooms(rows: int, images: type_of_rows) -> Iterator[Shaped[np.ndarray, "rows H W C"]]:
    """Two arrays in turn for so many rows: what was in one has been used when it is filled again (`beside`).

    A CPU computes on this very memory. Arrays that are made anew for each chunk cost as much as reading it, and leave
    gaps: memory grew from epoch to epoch.
    """
    return itertools.cycle([aligned((rows, *images.shape[1:]), images.dtype) for _ in range(2)])


def aligned(shape: tuple[int, ...], dtype: Any) -> Shaped[np.ndarray, "..."]:
    """An array that XLA takes for its own on a CPU, where it would copy one that begins elsewhere."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNED, np.uint8)
    first = -room.ctypes.data % ALIGNED
    return room[first : first + size].view(dtype).reshape(shape)


def beside(made: Iterator[T], thread: ThreadPoolExecutor) -> Iterator[T]:
    """The items of an iterator, each made by a thread while the one before is used, and those before that are not."""
    coming = thread.submit(next, made, None)
    while (item := coming.result()) is not None:
        coming = thread.submit(next, made, None)
        yield item
