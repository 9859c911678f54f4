"""The compiled functions of a run, with `loop.py` the only place that knows jit and donation.

Compiled ahead of the first epoch, side by side, once for all runs of one program and data shape: times are then of
training alone.
"""

import functools
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, UInt

from vaex import objective, step
from vaex.dataset import Dataset
from vaex.objective import Hyper, Program
from vaex.step import TrainState

reconstructions = jax.jit(objective.reconstructions, static_argnums=0)
samples = jax.jit(objective.samples, static_argnums=(0, 3))

_train_epoch = jax.jit(step.epoch, static_argnums=0, donate_argnums=2)
_evaluate = jax.jit(step.evaluate, static_argnums=0)

_known: dict[Any, dict[str, "Future[Any]"]] = {}
_lock = threading.Lock()


RUNS_ONCE: dict[str, Any] = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs once: a third of the time to compile, the same bits."""


def init(program: Program, seed: UInt[Array, ""]) -> TrainState:
    """`step.init`, compiled once a program."""
    return _init_of(program)(seed)


@functools.lru_cache(maxsize=64)
def _init_of(program: Program) -> Any:
    seed = jax.ShapeDtypeStruct((), np.uint32)
    return jax.jit(step.init, static_argnums=0).lower(program, seed).compile(compiler_options=RUNS_ONCE)


class Compiled:
    """`train` is `step.epoch`; `valid` and `test` are `step.evaluate` for those splits; the program is fixed in all."""

    def __init__(self, program: Program, hyper: Hyper, dataset: Dataset):
        splits = {name: abstract(getattr(dataset, name).images) for name in ("train", "valid", "test")}
        key = (program, jax.tree.structure(hyper), tuple((s.shape, s.dtype) for s in splits.values()))
        with _lock:
            if key not in _known:
                _known[key] = _compile(program, hyper, splits)
        self._futures = _known[key]

    def __getattr__(self, name: str) -> Any:
        """The compiled function, as soon as it is."""
        return self._futures[name].result()


def abstract(array: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of an array."""
    return jax.ShapeDtypeStruct(np.shape(array), array.dtype)


def _compile(program: Program, hyper: Hyper, splits: dict[str, jax.ShapeDtypeStruct]) -> dict[str, "Future[Any]"]:
    state = jax.eval_shape(functools.partial(step.init, program), hyper.seed)
    numbers = jax.tree.map(abstract, hyper)
    time = jax.ShapeDtypeStruct((), np.float32)
    pool = ThreadPoolExecutor(3, thread_name_prefix="compile")
    train = pool.submit(_train_epoch.lower(program, numbers, state, splits["train"]).compile)

    def evaluation(name: str) -> Any:
        if name == "test":  # needed last: the first epoch need not wait until it is compiled too
            wait([train])
        return _evaluate.lower(program, numbers, state.parameters, splits[name], time).compile()

    futures = {name: pool.submit(evaluation, name) for name in ("valid", "test")} | {"train": train}
    pool.shutdown(wait=False)  # its threads end with their work
    return futures
