"""Arrays as text for a page: weights as short as their accuracy allows, images as bytes where they are bytes."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from vaex.portable import interpreter
from vaex.portable.graph import Graph

NUMBER_FORMATS = ("float16", "float24", "float32")
"""From short to long; float24 is the upper three bytes of a float32, rounded: seven bits more than float16."""

TOLERANCE = 5e-4
"""Of every number that the page computes, against full weights: half of what the page promises."""

SAME = 1e-6
"""A division by 255 may round otherwise on a device."""

Arrays = Mapping[str, np.ndarray]


def packed(content: bytes) -> str:
    """Bytes, deflated, as base64."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def rounded(array: np.ndarray, form: str) -> np.ndarray:
    """The array as the page has it."""
    if array.dtype == bool or form == "float32":
        return array
    if form == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float32)
    bits = np.asarray(array, np.float32, order="C").view(np.uint32).astype(np.uint64)
    return np.asarray(((bits + 0x80) & 0xFFFFFF00).astype(np.uint32).view(np.float32))


def encoded(array: np.ndarray, form: str) -> bytes:
    """The array's bytes, little-endian; of a float24 the upper three of each number."""
    if array.dtype == bool:
        return array.astype(np.uint8).tobytes()
    if form == "float16":
        return array.astype("<f2").tobytes()
    raw = rounded(array, form).astype("<f4")
    return raw.tobytes() if form == "float32" else raw.reshape(-1).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def constants(arrays: Arrays, form: str) -> dict[str, Any]:
    """Constants one after the other, and where each begins."""
    places = [
        {"name": name, "shape": list(array.shape), "form": "bool" if array.dtype == bool else form}
        for name, array in arrays.items()
    ]
    return {"places": places, "bytes": packed(b"".join(encoded(array, form) for array in arrays.values()))}


def shortest(graphs: Mapping[str, Graph], inputs: Mapping[str, Arrays]) -> tuple[str, float]:
    """The shortest format in which no output is off by more than `TOLERANCE`, and by how much it is.

    The graphs' own outputs with full weights are the reference, at the given inputs.
    """
    exact = {name: _outputs(graph, inputs[name], "float32") for name, graph in graphs.items()}
    for form in NUMBER_FORMATS[:-1]:
        error = max(
            _difference(exact[name][key], value)
            for name, graph in graphs.items()
            for key, value in _outputs(graph, inputs[name], form).items()
        )
        if error <= TOLERANCE:
            return form, error
    return NUMBER_FORMATS[-1], 0.0


def _difference(was: np.ndarray, now: np.ndarray) -> float:
    """The largest one; infinite where only one of two numbers is finite, 0 between two that are alike."""
    with np.errstate(invalid="ignore"):
        apart = np.where(np.isclose(was, now, rtol=0, atol=0, equal_nan=True), 0.0, np.abs(was - now))
    return float(np.max(np.nan_to_num(apart, nan=np.inf, posinf=np.inf), initial=0.0))


def _outputs(graph: Graph, inputs: Arrays, form: str) -> Arrays:
    arrays = {name: rounded(array, form) for name, array in graph.constants.items()}
    return interpreter.run(graph.as_json(), arrays, inputs)


def images(rows: Float32[np.ndarray, "N H W C"]) -> dict[str, Any]:
    """Images as bytes where they are x·255, else as float16 or float32: whatever loses nothing."""
    bytes_ = np.round(rows * 255)
    if np.allclose(bytes_ / 255, rows, rtol=0, atol=SAME) and bytes_.min() >= 0 and bytes_.max() <= 255:
        return {"form": "uint8", "bytes": packed(bytes_.astype(np.uint8).tobytes())}
    form = "float16" if np.array_equal(rounded(rows, "float16"), rows) else "float32"
    return {"form": form, "bytes": packed(encoded(rows, form))}
