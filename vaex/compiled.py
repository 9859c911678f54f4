"""The compiled functions of a pack, with `loop.py` the only place that knows jit and donation.

Compiled ahead, once for all packs of one program and data shape, whatever number of threads asks; the evaluation while
the first epoch trains, which does not need it yet. No time that a run reports has the wait for a compiler in it.
"""

import functools
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Num, UInt

from vaex import objective, pack, step
from vaex.job import type_of_device
from vaex.objective import Hyper, Program
from vaex.step import TrainState

reconstructions = jax.jit(objective.reconstructions, static_argnums=0)
samples = jax.jit(objective.samples, static_argnums=(0, 3))

_ALONE = {
    "order": jax.jit(step.order, static_argnames="count"),
    "train": jax.jit(step.epoch, static_argnums=0, donate_argnames="state"),
    "evaluate": jax.jit(step.evaluate, static_argnums=0),
}
_STACKED = {
    "order": jax.jit(pack.order, static_argnames="count"),
    "train": jax.jit(pack.epoch, static_argnums=0, donate_argnames="state"),
    "evaluate": jax.jit(pack.evaluate, static_argnums=0),
}

_made: dict[Hashable, "Future[Any]"] = {}
_lock = threading.Lock()

RUNS_ONCE: dict[str, Any] = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs once: a third of the time to compile, the same bits."""


def init(program: Program, seed: UInt[Array, ""]) -> TrainState:
    """`step.init`, compiled once a program."""
    abstract_seed = jax.ShapeDtypeStruct((), np.uint32)

    def make() -> Any:
        return jax.jit(step.init, static_argnums=0).lower(program, abstract_seed).compile(compiler_options=RUNS_ONCE)

    return _once(("init", program), make)(seed)


class Compiled:
    """`order` and `train` (`step.epoch`) are for `images[0]`, `evaluate` is for `images[1]`; the program is fixed.

    With numbers along a first axis they are those of `pack`: all runs of a vmapped pack at once.
    """

    def __init__(
        self,
        program: Program,
        hyper: Hyper,
        images: Sequence[Num[Array, "N H W C"]],
        device: type_of_device,
    ):
        shapes = [abstract(array, device) for array in images]
        numbers = jax.tree.map(lambda leaf: abstract(leaf, device), hyper)
        structure = jax.tree.structure(hyper), hyper.seed.shape
        key = (program, structure, device, tuple((each.shape, each.dtype) for each in shapes))
        self._futures = _once(key, functools.partial(_compile, program, numbers, shapes, device))

    def __getattr__(self, name: str) -> Any:
        """The compiled function, as soon as it is."""
        return self._futures[name].result()


def abstract(array: Any, device: type_of_device) -> jax.ShapeDtypeStruct:
    """Shape, dtype and place of an array."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    return jax.ShapeDtypeStruct(np.shape(array), array.dtype, sharding=sharding)


def _compile(
    program: Program, hyper: Any, images: Sequence[jax.ShapeDtypeStruct], device: type_of_device
) -> dict[str, "Future[Any]"]:
    runs, count = hyper.seed.shape, images[0].shape[0]
    functions = _STACKED if runs else _ALONE
    sharding = jax.sharding.SingleDeviceSharding(device)

    def array(shape: Sequence[int], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=sharding)

    state = jax.tree.map(lambda leaf: array((*runs, *leaf.shape), leaf.dtype), step.shapes(program))
    number, time = array(runs, np.int32), array(runs, np.float32)
    rows, taken = array((*runs, count), np.int32), array((2,), np.int32)

    def order() -> Any:
        make = functions["order"].lower(hyper.seed, number, count=count).compile
        return _once(("order", runs, count, device), make)

    def evaluate() -> Any:
        wait([train])  # needed later, and the two would slow each other
        return functions["evaluate"].lower(program, hyper, state.parameters, images[1], taken, time).compile()

    pool = ThreadPoolExecutor(3, thread_name_prefix="compile")
    train = pool.submit(lambda: functions["train"].lower(program, hyper, state, rows, images[0]).compile())
    futures = {"order": pool.submit(order), "train": train, "evaluate": pool.submit(evaluate)}
    pool.shutdown(wait=False)  # its threads end with their work
    return futures


def _once(key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gives for a key, made by the first thread that asks while the others wait."""
    with _lock:
        future, first = _made.get(key), key not in _made
        if future is None:
            future = _made[key] = Future()
    if first:
        try:
            future.set_result(make())
        except BaseException as error:
            with _lock:
                del _made[key]
            future.set_exception(error)
    return future.result()
