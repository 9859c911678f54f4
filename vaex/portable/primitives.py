"""What each of JAX's primitives is in a graph: element-wise ones, and those that change shapes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from vaex.errors import InputError
from vaex.portable.building import Builder
from vaex.portable.graph import BATCH, type_of_shape

SAME = {
    "neg", "abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "logistic", "erf", "floor",
    "is_finite", "not", "add", "sub", "mul", "div", "max", "min", "pow", "and", "or",
}  # fmt: skip
OTHERWISE = {
    "gt": "greater", "ge": "greater_equal", "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
"""JAX's names of element-wise operations, and those that a graph calls otherwise."""


def shape_of(shape: Sequence[Any]) -> type_of_shape:
    """With the batch, whatever JAX calls it, as -1."""
    return tuple(length if isinstance(length, int) else BATCH for length in shape)


# Element-wise operations that are made of others.


def _select(builder: Builder, equation: Any, inputs: list[str]) -> str:
    if len(inputs) != 3 or equation.invars[0].aval.dtype != np.dtype(bool):
        raise InputError("the model, loss or likelihood selects among more than two arrays, which cannot be exported")
    return builder.emit("select", [inputs[0], inputs[2], inputs[1]])


def _convert(builder: Builder, equation: Any, inputs: list[str]) -> str:
    """Between float formats nothing but rounding, which follows."""
    given, wanted = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
    if given == wanted or (given.kind != "b" and jnp.issubdtype(wanted, jnp.floating)):
        return inputs[0]
    if given.kind == "b" and jnp.issubdtype(wanted, jnp.floating):
        return builder.emit("select", [inputs[0], *map(builder.constant, (np.float32(1), np.float32(0)))])
    raise InputError(f"the model, loss or likelihood turns {given} into {wanted}, which cannot be exported")


def _power(builder: Builder, equation: Any, inputs: list[str]) -> str:
    exponent = equation.params.get("y", 2)
    made = inputs[0]
    for _ in range(abs(exponent) - 1):
        made = builder.emit("mul", [made, inputs[0]])
    return made if exponent > 0 else builder.emit("div", [builder.constant(np.float32(1)), made])


def _clamp(builder: Builder, equation: Any, inputs: list[str]) -> str:
    low, x, high = inputs
    return builder.emit("min", [builder.emit("max", [x, low]), high])


COMPOSED: dict[str, Callable[[Builder, Any, list[str]], str]] = {
    "select_n": _select,
    "convert_element_type": _convert,
    "integer_pow": _power,
    "square": _power,
    "clamp": _clamp,
    "copy": lambda builder, equation, inputs: inputs[0],
    "stop_gradient": lambda builder, equation, inputs: inputs[0],
}


# Operations on shapes.


def broadcast(builder: Builder, equation: Any, x: str) -> str:
    """Axes of length 1 where new ones come; the rest is put off."""
    shape = shape_of(equation.outvars[0].aval.shape)
    lengths = shape_of(equation.invars[0].aval.shape)
    axes = dict(zip(equation.params["broadcast_dimensions"], lengths, strict=True))
    narrow = tuple(axes.get(axis, 1) for axis in range(len(shape)))
    value = builder.value(x)
    made = builder.emit("reshape", [x], shape=narrow) if value is None else builder.constant(value.reshape(narrow))
    return made if narrow == shape else builder.put_off(made, shape)


def _reshape(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    if equation.params.get("dimensions") is not None:
        raise InputError("the model, loss or likelihood reshapes with a permutation, which cannot be exported")
    return [builder.emit("reshape", inputs[:1], shape=shape_of(equation.outvars[0].aval.shape))]


def _matmul(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    """... x n times n x m: the axes that are summed over last and first."""
    (left, right), batch = equation.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in equation.invars]
    if len(left) != 1 or any(batch) or ranks[1] != 2:
        raise InputError("the model, loss or likelihood has a product that is not with a matrix: it cannot be exported")
    x, matrix = inputs
    if left[0] != ranks[0] - 1:
        x = builder.emit("transpose", [x], permutation=(*(a for a in range(ranks[0]) if a != left[0]), left[0]))
    if right[0] != 0:
        known = builder.value(matrix)
        matrix = builder.emit("transpose", [matrix], permutation=(1, 0)) if known is None else builder.constant(known.T)
    return [builder.emit("matmul", [x, matrix])]


def _slice(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    strides = equation.params["strides"] or (1,) * len(equation.params["start_indices"])
    limits = shape_of(equation.params["limit_indices"])
    return [builder.emit("slice", inputs, starts=equation.params["start_indices"], limits=limits, strides=strides)]


def _gather(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    """x[:, 2:9], which JAX makes a gather where the batch is not known."""
    numbers, sizes = equation.params["dimension_numbers"], shape_of(equation.params["slice_sizes"])
    index = builder.value(inputs[1])
    all_axes = tuple(range(len(sizes)))
    if index is None or index.ndim != 1 or numbers.offset_dims != all_axes or numbers.operand_batching_dims:
        raise InputError("the model, loss or likelihood indexes an array by another, which cannot be exported")
    starts = [0] * len(sizes)
    for axis, start in zip(numbers.start_index_map, index.tolist(), strict=True):
        starts[axis] = start
    limits = tuple(BATCH if size == BATCH else start + size for start, size in zip(starts, sizes, strict=True))
    return [builder.emit("slice", inputs[:1], starts=tuple(starts), limits=limits, strides=(1,) * len(sizes))]


def _split(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    axis, shape = equation.params["axis"], shape_of(equation.invars[0].aval.shape)
    made, start = [], 0
    for size in equation.params["sizes"]:
        starts, limits = [0] * len(shape), list(shape)
        starts[axis], limits[axis] = start, start + size
        strides = (1,) * len(shape)
        made.append(builder.emit("slice", inputs, starts=tuple(starts), limits=tuple(limits), strides=strides))
        start += size
    return made


def _pad(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    low, high, interior = zip(*equation.params["padding_config"], strict=True)
    if any(interior) or min(*low, *high) < 0:
        raise InputError("the model, loss or likelihood pads between pixels or cuts off, which cannot be exported")
    return [builder.emit("pad", inputs, low=tuple(map(int, low)), high=tuple(map(int, high)))]


STRUCTURAL: dict[str, Callable[[Builder, Any, list[str]], list[str]]] = {
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "dot_general": _matmul,
    "slice": _slice,
    "gather": _gather,
    "split": _split,
    "pad": _pad,
    "transpose": lambda t, e, inputs: [t.emit("transpose", inputs, permutation=e.params["permutation"])],
    "concatenate": lambda t, e, inputs: [t.emit("concatenate", inputs, axis=e.params["dimension"])],
    "reduce_sum": lambda t, e, inputs: [t.emit("sum", inputs, axes=e.params["axes"])],
    "reduce_max": lambda t, e, inputs: [t.emit("maximum", inputs, axes=e.params["axes"])],
}
