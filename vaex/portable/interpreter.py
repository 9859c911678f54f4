"""Runs a graph in NumPy: what each operation means. Needs nothing but NumPy, so that an export can carry it along."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


def run(graph: Mapping[str, Any], constants: Arrays, inputs: Arrays) -> dict[str, np.ndarray]:
    """The outputs of a graph (as its JSON has it) for these inputs, whose first axes are of one length."""
    batch = len(next(iter(inputs.values())))
    known: dict[str, np.ndarray] = {**constants, **inputs}
    with np.errstate(all="ignore"):
        for each in graph["operations"]:
            arrays = [known[name] for name in each["inputs"]]
            known[each["output"]] = OPERATIONS[each["name"]](each, batch, *arrays)
    return {name: np.asarray(known[source]) for name, source in graph["outputs"].items()}


def load(directory: Path, part: str) -> Callable[..., dict[str, np.ndarray]]:
    """The function of an exported part, "encoder": takes its inputs by name, gives its outputs by name."""
    graph = json.loads((directory / f"{part}.json").read_text(encoding="utf-8"))
    with np.load(directory / f"{part}.npz", allow_pickle=False) as archive:
        constants = dict(archive)
    return lambda **inputs: run(graph, constants, _checked(graph["inputs"], inputs))


def _checked(shapes: Mapping[str, list[int]], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs as float32; raises `ValueError` for others than the graph has, other shapes or lengths, or bytes."""
    if shapes.keys() != given.keys():
        raise ValueError(f"expected {', '.join(shapes)}, got {', '.join(given) or 'nothing'}")
    arrays = {name: np.asarray(each) for name, each in given.items()}
    for name, array in arrays.items():
        if array.ndim != len(shapes[name]) or list(array.shape[1:]) != shapes[name][1:]:
            raise ValueError(f"{name}: shape {array.shape}; expected {' x '.join(map(str, ('N', *shapes[name][1:])))}")
        if array.dtype == np.uint8:
            raise ValueError(f"{name}: bytes; divide them by 255")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"inputs of different lengths: {lengths}")
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _shape(each: Mapping[str, Any], batch: int) -> list[int]:
    return [batch if length == -1 else length for length in each["shape"]]


def _slice(each: Mapping[str, Any], batch: int, x: np.ndarray) -> np.ndarray:
    limits = [None if limit == -1 else limit for limit in each["limits"]]
    return x[tuple(map(slice, each["starts"], limits, each["strides"]))]


def _pad(each: Mapping[str, Any], batch: int, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    return np.pad(x, list(zip(each["low"], each["high"], strict=True)), constant_values=float(value))


def _round(each: Mapping[str, Any], batch: int, x: np.ndarray) -> np.ndarray:
    """The nearest value of the format, the even one of two: a bfloat16 is the upper half of a float32."""
    if each["to"] == "float16":
        return x.astype(np.float16).astype(np.float32)
    bits = np.asarray(x, np.float32, order="C").view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, nearest.view(np.float32))


def _logistic(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, np.float32(1)) / (1 + small)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float32])(x)


def _plain(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda each, batch, *arrays: function(*arrays)


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "neg": _plain(np.negative),
    "abs": _plain(np.abs),
    "sign": _plain(np.sign),
    "exp": _plain(np.exp),
    "expm1": _plain(np.expm1),
    "log": _plain(np.log),
    "log1p": _plain(np.log1p),
    "sqrt": _plain(np.sqrt),
    "rsqrt": _plain(lambda x: 1 / np.sqrt(x)),
    "tanh": _plain(np.tanh),
    "logistic": _plain(_logistic),
    "erf": _plain(_erf),
    "floor": _plain(np.floor),
    "is_finite": _plain(np.isfinite),
    "not": _plain(np.logical_not),
    "add": _plain(np.add),
    "sub": _plain(np.subtract),
    "mul": _plain(np.multiply),
    "div": _plain(np.divide),
    "max": _plain(np.maximum),
    "min": _plain(np.minimum),
    "pow": _plain(np.power),
    "greater": _plain(np.greater),
    "greater_equal": _plain(np.greater_equal),
    "less": _plain(np.less),
    "less_equal": _plain(np.less_equal),
    "equal": _plain(np.equal),
    "not_equal": _plain(np.not_equal),
    "and": _plain(np.logical_and),
    "or": _plain(np.logical_or),
    "select": _plain(np.where),
    "matmul": _plain(np.matmul),
    "reshape": lambda each, batch, x: x.reshape(_shape(each, batch)),
    "expand": lambda each, batch, x: np.broadcast_to(x, _shape(each, batch)),
    "transpose": lambda each, batch, x: x.transpose(each["permutation"]),
    "slice": _slice,
    "pad": _pad,
    "concatenate": lambda each, batch, *arrays: np.concatenate(arrays, each["axis"]),
    "sum": lambda each, batch, x: x.sum(tuple(each["axes"])),
    "maximum": lambda each, batch, x: x.max(tuple(each["axes"])),
    "round": _round,
}
