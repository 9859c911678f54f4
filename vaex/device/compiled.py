"""The compiled functions of a pack, the only place with jit and donation.

Compiled ahead, once for all packs of one program and data shape, whatever number of threads asks; the evaluation while
the first epoch trains, which does not need it yet. No epoch's `seconds` has the wait for a compiler in it; a run's
`wall_seconds` has.
"""

import functools
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax import export
from jaxtyping import Array, Num, UInt

from vaex.device import compilation_cache, mesh
from vaex.device.mesh import Together
from vaex.disk.directory import type_of_device
from vaex.vae import pack, step
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

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

_PART = jax.jit(step.part, static_argnums=(0, 1), donate_argnames="state")
_ADD = jax.jit(step.add_evaluated, static_argnums=0)


@functools.cache
def _together(device: Together) -> dict[str, Any]:
    """The same of one run on several devices."""
    jit = functools.partial(jax.jit, out_shardings=mesh.on(device))
    shared = {"shared": mesh.share(device.mesh)}
    return {
        "order": jit(step.order, static_argnames="count"),
        "train": jit(functools.partial(step.epoch, **shared), static_argnums=0, donate_argnums=2),
        "evaluate": jit(functools.partial(step.evaluate, **shared), static_argnums=0),
    }


_made: dict[Hashable, "Future[Any]"] = {}
_lock = threading.Lock()

RUNS_ONCE: dict[str, Any] = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs once: a third of the time to compile, the same bits."""


LOCATIONS = "jax_traceback_in_locations_limit"
"""Setting: how many places in source files a lowered operation says it comes from."""


def init(program: Program, seed: UInt[Array, ""]) -> TrainState:
    """`step.init` on the CPU, whatever device trains: its bits are the same everywhere, and a GPU compiles for seconds.

    Compiled once for all programs that begin alike, whatever they go on to do.
    """
    host = jax.local_devices(backend="cpu")[0]
    begins = step.beginning(program)
    abstract_seed = _placed(np.uint32(0), host)

    def make() -> Any:
        return _finished(jax.jit(step.init, static_argnums=0).lower(begins, abstract_seed), RUNS_ONCE)

    return _once(("init", begins), make)(jax.device_put(seed, host))


def ahead(
    function: Callable[..., Any],
    static: tuple[Hashable, ...],
    arguments: Any,
    device: type_of_device,
    options: dict[str, Any] | None = None,
) -> Any:
    """`function(*static, *arguments)` compiled for such arguments, once for all threads that ask; takes `arguments`."""
    shapes = jax.tree.map(lambda leaf: _placed(leaf, device), arguments)
    leaves, structure = jax.tree.flatten(shapes)
    given = tuple((options or {}).items())
    key = (function, static, structure, *((leaf.shape, leaf.dtype) for leaf in leaves), device, given)
    fixed = functools.partial(function, *static)
    return _once(key, lambda: _finished(jax.jit(fixed).lower(*shapes), options))


def exported(function: Callable[..., Any], shapes: Sequence[Any], platforms: Sequence[str]) -> export.Exported:
    """`function` for arguments of such shapes, lowered but not compiled, for these platforms: to be run elsewhere.

    It does not say in which files of this machine its source is.
    """
    limit = getattr(jax.config, LOCATIONS)
    jax.config.update(LOCATIONS, 0)
    try:
        return export.export(jax.jit(function), platforms=platforms)(*shapes)
    finally:
        jax.config.update(LOCATIONS, limit)


class _Futures:
    """Functions by name, each there as soon as it is compiled; made once for all that ask by the same key."""

    def __init__(self, key: Hashable, compile_all: Callable[[], dict[str, Any]]):
        self._key = key
        self._futures = _once(key, compile_all)

    def __getattr__(self, name: str) -> Any:
        """The compiled function, as soon as it is."""
        try:
            return self._futures[name].result()
        except Exception:  # no memory, perhaps: the next job of this program tries again
            with _lock:
                _made.pop(self._key, None)
            raise


class Compiled(_Futures):
    """`order` and `train` (`step.epoch`) are for the training images, `evaluate` for those held out from training.

    With numbers along a first axis they are those of `pack`: all runs of a vmapped pack at once. `options` are XLA's.
    """

    def __init__(
        self,
        program: Program,
        hyper: Hyper,
        images: Num[Array, "N H W C"],
        held_out: Num[Array, "M H W C"],
        device: type_of_device,
        options: Mapping[str, Any],
    ):
        numbers, images, held_out = jax.tree.map(lambda leaf: _placed(leaf, device), (hyper, images, held_out))
        shapes = [(each.shape, each.dtype) for each in (hyper.seed, images, held_out)]
        key = program, jax.tree.structure(hyper), device, *options.items(), *shapes
        super().__init__(key, functools.partial(_compile, program, numbers, images, held_out, device, dict(options)))


class Streaming(_Futures):
    """The functions of a lone run whose images come in chunks: `order`, a `part` for each number of steps, `evaluate`.

    An epoch has `steps`; `judged` batches are evaluated at once (`step.add_evaluated`).
    """

    def __init__(
        self,
        program: Program,
        hyper: Hyper,
        images: Any,
        steps: int,
        sizes: Collection[int],
        judged: int,
        device: type_of_device,
        options: Mapping[str, Any],
    ):
        numbers = jax.tree.map(lambda leaf: _placed(leaf, device), hyper)
        self._sizes = sizes
        key = "streaming", program, jax.tree.structure(hyper), device, *options.items()
        key = *key, images.shape, images.dtype, steps, *sorted(sizes), judged
        make = functools.partial(_compile_parts, program, numbers, images, steps, sizes, judged, device, dict(options))
        super().__init__(key, make)

    def part(self, steps: int) -> Any:
        """Of so many steps."""
        return getattr(self, f"part {steps}")

    def wait(self) -> None:
        """Until all that an epoch needs is compiled."""
        for name in ("order", *(f"part {steps}" for steps in self._sizes)):
            getattr(self, name)


def _placed(array: Any, device: type_of_device) -> jax.ShapeDtypeStruct:
    """Shape, dtype and place of an array."""
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=mesh.on(device))


def _compile(
    program: Program, hyper: Any, images: Any, held_out: Any, device: type_of_device, options: dict[str, Any]
) -> dict[str, Any]:
    """Futures of the functions; all arguments but the compiler's options are shapes and dtypes."""
    runs, count = hyper.seed.shape, images.shape[0]
    functions = _STACKED if runs else _together(device) if isinstance(device, Together) else _ALONE

    def array(shape: Sequence[int], dtype: Any) -> jax.ShapeDtypeStruct:
        return _placed(jax.ShapeDtypeStruct((*runs, *shape), dtype), device)

    state = jax.tree.map(lambda leaf: array(leaf.shape, leaf.dtype), step.shapes(program))
    number, time = array((), np.int32), array((), np.float32)
    first_and_end = _placed(jax.ShapeDtypeStruct((2,), np.int32), device)

    def order() -> Any:
        make = functions["order"]
        return _once(("order", runs, count, device), lambda: _finished(make.lower(hyper.seed, number, count=count)))

    def epoch() -> Any:
        return _finished(functions["train"].lower(program, hyper, state, array((count,), np.int32), images), options)

    def evaluate() -> Any:
        train.result()  # needed later, and the two would slow each other
        numbers = step.weighed(hyper, state)
        lowered = functions["evaluate"].lower(program, numbers, state.parameters, held_out, first_and_end, time)
        return _finished(lowered, options)

    pool = ThreadPoolExecutor(3, thread_name_prefix="compile")
    train = pool.submit(epoch)
    futures = {"order": pool.submit(order), "train": train, "evaluate": pool.submit(evaluate)}
    pool.shutdown(wait=False)  # its threads end with their work
    return futures


def _compile_parts(
    program: Program,
    hyper: Any,
    images: Any,
    steps: int,
    sizes: Collection[int],
    judged: int,
    device: type_of_device,
    options: dict[str, Any],
) -> dict[str, Any]:
    """`_compile`, of images that come in chunks."""
    batch, of_row = program.batch_size, images.shape[1:]

    def array(shape: Sequence[int], dtype: Any) -> jax.ShapeDtypeStruct:
        return _placed(jax.ShapeDtypeStruct(tuple(shape), dtype), device)

    def like(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: array(leaf.shape, leaf.dtype), tree)

    state = like(step.shapes(program))

    def order() -> Any:
        count = len(images)
        key = "order", (), count, device
        return _once(key, lambda: _finished(_ALONE["order"].lower(hyper.seed, array((), np.int32), count=count)))

    def part(size: int) -> Any:
        batches = array((size, batch), np.int32), array((size, batch), np.float32)
        chunk = array((size * batch, *of_row), images.dtype)
        return _finished(_PART.lower(program, steps, hyper, state, batches, chunk), options)

    def evaluate() -> Any:
        for each in parts.values():
            each.result()  # needed later, and they would slow each other
        pair, chunk = array((2,), np.int32), array((judged * batch, *of_row), images.dtype)
        means = like(jax.eval_shape(functools.partial(step.unevaluated, program)))
        numbers, time = step.weighed(hyper, state), array((), np.float32)
        return _finished(_ADD.lower(program, numbers, state.parameters, chunk, pair, pair, time, means), options)

    pool = ThreadPoolExecutor(4, thread_name_prefix="compile")
    parts = {f"part {size}": pool.submit(part, size) for size in sizes}
    futures = {"order": pool.submit(order), **parts, "evaluate": pool.submit(evaluate)}
    pool.shutdown(wait=False)
    return futures


def _finished(lowered: jax.stages.Lowered, options: dict[str, Any] | None = None) -> Any:
    """The compiled function, in the cache for the commands that start from now on."""
    function = lowered.compile(compiler_options=options or None)
    compilation_cache.seal_new()
    return function


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
