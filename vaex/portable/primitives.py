"""What each of JAX's primitives is in a graph: element-wise ones, and those that change shapes."""

import math
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


SYMBOL = "batch"
"""What a trace calls the length of the first axis."""


def refused(why: str) -> InputError:
    """The error for what no graph has."""
    return InputError(f"the model, loss or likelihood {why}, which cannot be exported")


def shape_of(shape: Sequence[Any]) -> type_of_shape:
    """With the batch as -1; raises `InputError` where a length is made of the batch's, as after `x.reshape(-1, C)`."""
    for length in shape:
        if not isinstance(length, int) and str(length) != SYMBOL:
            raise refused(f"joins the images of a batch in one axis ({length})")
    return tuple(length if isinstance(length, int) else BATCH for length in shape)


# Element-wise operations that are made of others.


def _number(builder: Builder, value: float) -> str:
    return builder.constant(np.float32(value))


def _select(builder: Builder, equation: Any, inputs: list[str]) -> str:
    if len(inputs) != 3 or equation.invars[0].aval.dtype != np.dtype(bool):
        raise refused("selects among more than two arrays")
    return builder.emit("select", [inputs[0], inputs[2], inputs[1]])


def _convert(builder: Builder, equation: Any, inputs: list[str]) -> str:
    """Between float formats nothing but rounding, which follows."""
    given, wanted = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
    if given == wanted or (given.kind != "b" and jnp.issubdtype(wanted, jnp.floating)):
        return inputs[0]
    if given.kind == "b" and jnp.issubdtype(wanted, jnp.floating):
        return builder.emit("select", [inputs[0], _number(builder, 1.0), _number(builder, 0.0)])
    raise refused(f"turns {given} into {wanted}")


def _power(builder: Builder, equation: Any, inputs: list[str]) -> str:
    """By squaring, as XLA does it; x⁰ is 1 whatever x."""
    exponent = equation.params.get("y", 2)
    left, square, made = abs(exponent), inputs[0], ""
    while left:
        if left % 2:
            made = builder.emit("mul", [made, square]) if made else square
        left //= 2
        square = builder.emit("mul", [square, square]) if left else square
    if not made:
        shape = shape_of(equation.outvars[0].aval.shape)
        return builder.put_off(builder.constant(np.ones((1,) * len(shape), np.float32)), shape)
    return made if exponent > 0 else builder.emit("div", [_number(builder, 1.0), made])


def _clamp(builder: Builder, equation: Any, inputs: list[str]) -> str:
    low, x, high = inputs
    return builder.emit("min", [builder.emit("max", [x, low]), high])


def _exp2(builder: Builder, equation: Any, inputs: list[str]) -> str:
    return builder.emit("exp", [builder.emit("mul", [inputs[0], _number(builder, math.log(2))])])


def _ceil(builder: Builder, equation: Any, inputs: list[str]) -> str:
    return builder.emit("neg", [builder.emit("floor", [builder.emit("neg", inputs)])])


def _erfc(builder: Builder, equation: Any, inputs: list[str]) -> str:
    """1 − erf(x): to a rounding of 1, where x is large not of itself."""
    return builder.emit("sub", [_number(builder, 1.0), builder.emit("erf", inputs)])


def _halves(builder: Builder, x: str) -> list[str]:
    """½e^x and ½e^−x, the halves inside: cosh is finite where e^x is not."""
    shift = _number(builder, math.log(0.5))
    return [builder.emit("exp", [builder.emit("add", [y, shift])]) for y in (x, builder.emit("neg", [x]))]


def _cosh(builder: Builder, equation: Any, inputs: list[str]) -> str:
    return builder.emit("add", _halves(builder, inputs[0]))


def _sinh(builder: Builder, equation: Any, inputs: list[str]) -> str:
    """Near 0, where the difference cancels, ½(d + d/(d + 1)) with d = e^x − 1."""
    one = _number(builder, 1.0)
    d = builder.emit("expm1", inputs)
    twice = builder.emit("add", [d, builder.emit("div", [d, builder.emit("add", [d, one])])])
    small = builder.emit("less", [builder.emit("abs", inputs), one])
    near = builder.emit("mul", [twice, _number(builder, 0.5)])
    return builder.emit("select", [small, near, builder.emit("sub", _halves(builder, inputs[0]))])


COMPOSED: dict[str, Callable[[Builder, Any, list[str]], str]] = {
    "select_n": _select,
    "convert_element_type": _convert,
    "integer_pow": _power,
    "square": _power,
    "clamp": _clamp,
    "exp2": _exp2,
    "ceil": _ceil,
    "erfc": _erfc,
    "cosh": _cosh,
    "sinh": _sinh,
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
    if equation.primitive.name == "reshape" and equation.params["dimensions"] is not None:
        raise refused("reshapes with a permutation")
    return [builder.emit("reshape", inputs[:1], shape=shape_of(equation.outvars[0].aval.shape))]


def _matmul(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    """... x n times n x m: the axes that are summed over last and first; a vector on the right is one column."""
    (left, right), batch = equation.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in equation.invars]
    if len(left) != 1 or any(batch) or ranks[1] > 2:
        raise refused("has a product that is not with a matrix")
    x, matrix = inputs
    if left[0] != ranks[0] - 1:
        x = builder.emit("transpose", [x], permutation=(*(a for a in range(ranks[0]) if a != left[0]), left[0]))
    if ranks[1] == 1:
        column = builder.emit("reshape", [matrix], shape=(*shape_of(equation.invars[1].aval.shape), 1))
        made = builder.emit("matmul", [x, column])
        return [builder.emit("reshape", [made], shape=shape_of(equation.outvars[0].aval.shape))]
    if right[0] != 0:
        known = builder.value(matrix)
        matrix = builder.emit("transpose", [matrix], permutation=(1, 0)) if known is None else builder.constant(known.T)
    return [builder.emit("matmul", [x, matrix])]


def _slice(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    strides = equation.params["strides"] or (1,) * len(equation.params["start_indices"])
    limits = shape_of(equation.params["limit_indices"])
    return [builder.emit("slice", inputs, starts=equation.params["start_indices"], limits=limits, strides=strides)]


def _gather(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    """x[:, 2:9] and x[:, 3], which JAX makes a gather where the batch is not known."""
    numbers, sizes = equation.params["dimension_numbers"], shape_of(equation.params["slice_sizes"])
    index, result = builder.value(inputs[1]), shape_of(equation.outvars[0].aval.shape)
    if index is None or index.ndim != 1 or numbers.offset_dims != tuple(range(len(result))):
        raise refused("indexes an array by another")
    starts = [0] * len(sizes)
    for axis, start in zip(numbers.start_index_map, index.tolist(), strict=True):
        starts[axis] = start
    limits = tuple(BATCH if size == BATCH else start + size for start, size in zip(starts, sizes, strict=True))
    made = builder.emit("slice", inputs[:1], starts=tuple(starts), limits=limits, strides=(1,) * len(sizes))
    return [builder.emit("reshape", [made], shape=result) if numbers.collapsed_slice_dims else made]


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
        raise refused("pads between pixels or cuts off")
    return [builder.emit("pad", inputs, low=low, high=high)]


def _stack(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    axis, shape = equation.params["axis"], shape_of(equation.outvars[0].aval.shape)
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    return [builder.emit("concatenate", [builder.emit("reshape", [x], shape=single) for x in inputs], axis=axis)]


def _minimum(builder: Builder, equation: Any, inputs: list[str]) -> list[str]:
    most = builder.emit("maximum", [builder.emit("neg", inputs)], axes=equation.params["axes"])
    return [builder.emit("neg", [most])]


STRUCTURAL: dict[str, Callable[[Builder, Any, list[str]], list[str]]] = {
    "reshape": _reshape,
    "squeeze": _reshape,
    "dot_general": _matmul,
    "slice": _slice,
    "gather": _gather,
    "split": _split,
    "pad": _pad,
    "transpose": lambda t, e, inputs: [t.emit("transpose", inputs, permutation=e.params["permutation"])],
    "concatenate": lambda t, e, inputs: [t.emit("concatenate", inputs, axis=e.params["dimension"])],
    "stack": _stack,
    "reduce_min": _minimum,
    "reduce_sum": lambda t, e, inputs: [t.emit("sum", inputs, axes=e.params["axes"])],
    "reduce_max": lambda t, e, inputs: [t.emit("maximum", inputs, axes=e.params["axes"])],
}
