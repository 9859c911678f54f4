"""A graph as an ONNX model: each operation is one node, or a few where ONNX has none or one that means something else.

Nothing of a graph is lost: what is not finite comes out as in NumPy, and a low precision rounds where XLA rounds.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vaex.errors import InputError
from vaex.portable.graph import BATCH, Graph, Operation, type_of_shape
from vaex.portable.primitives import SYMBOL

OPSET, IR_VERSION = 18, 8
"""Of early 2023: onnxruntime takes them from 1.14 on."""

LARGEST = (1 << 31) - (1 << 20)
"""Bytes of constants: a protobuf file ends at 2 GiB."""

NODES = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh",
    "erf": "Erf", "floor": "Floor", "not": "Not", "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div",
    "max": "Max", "min": "Min", "pow": "Pow", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "less": "Less", "less_equal": "LessOrEqual", "equal": "Equal", "and": "And", "or": "Or", "select": "Where",
    "matmul": "MatMul",
}  # fmt: skip
"""Operations that are one node, without attributes."""


def library() -> Any:
    """The package `onnx`; raises `InputError` where it is not installed."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(
            f"--format onnx: needs onnx, which is not here ({error}); `pip install 'vaex-experiments[onnx]'` brings it"
        ) from error


def model(graph: Graph, name: str, properties: Mapping[str, str]) -> bytes:
    """The content of a .onnx file; the first axis of inputs and outputs is called "batch"."""
    if sum(array.nbytes for array in graph.constants.values()) > LARGEST:
        raise InputError("the parameters are more than the 2 GiB that a .onnx file can hold; --format npz holds them")
    onnx, writer = library(), _Writer(graph)
    for operation in graph.operations:
        writer.add(operation)
    for output, source in graph.outputs.items():
        writer.nodes.append(onnx.helper.make_node("Identity", [writer.names.get(source, source)], [output]))
    outputs = {output: graph.shapes[output] for output in graph.outputs}
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            writer.nodes,
            name,
            [_declared(onnx, *each) for each in graph.inputs.items()],
            [_declared(onnx, *each) for each in outputs.items()],
            [onnx.numpy_helper.from_array(array, name) for name, array in writer.arrays.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="vaex",
    )
    onnx.helper.set_model_props(made, properties)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def _declared(onnx: Any, name: str, shape: type_of_shape) -> Any:
    lengths = [SYMBOL if length == BATCH else length for length in shape]
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, lengths)


class _Writer:
    """Nodes and initializers so far, and what the arrays of the graph are called among them."""

    def __init__(self, graph: Graph) -> None:
        self._onnx = library()
        self._first_input = next(iter(graph.inputs))
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = dict(graph.constants)
        self.names: dict[str, str] = {}

    def add(self, operation: Operation) -> None:
        """The nodes of one operation."""
        inputs = [self.names.get(name, name) for name in operation.inputs]
        if operation.name in NODES:
            made = self.node(NODES[operation.name], *inputs)
        else:
            made = OTHERS[operation.name](self, operation.attributes, *inputs)
        self.names[operation.output] = made

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of what a node makes."""
        output = f"node_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def number(self, value: float) -> str:
        """The name of a float32."""
        return self._array(np.float32(value))

    def integers(self, values: Sequence[int]) -> str:
        """The name of a vector of integers."""
        return self._array(np.asarray(values, np.int64))

    def lengths(self, shape: Sequence[int]) -> str:
        """The name of a vector that is a shape, the batch as long as the first input."""
        if BATCH not in shape:
            return self.integers(shape)
        batch = self.node("Shape", self._first_input, start=0, end=1)
        return self.node("Concat", *(batch if n == BATCH else self.integers([n]) for n in shape), axis=0)

    def _array(self, array: Any) -> str:
        name = f"{array.dtype}_{'_'.join(map(str, np.ravel(array)))}_{np.ndim(array)}"
        self.arrays[name] = np.asarray(array)
        return name


# Operations that are several nodes, or one with attributes: of the writer, the attributes, the inputs.


def _expm1(writer: _Writer, _: Any, x: str) -> str:
    """e^x − 1 = tanh(x/2)·(e^x + 1), which keeps its digits near 0 and is −1 and ∞ where it should."""
    half = writer.node("Tanh", writer.node("Mul", x, writer.number(0.5)))
    return writer.node("Mul", half, writer.node("Add", writer.node("Exp", x), writer.number(1.0)))


def _log1p(writer: _Writer, _: Any, x: str) -> str:
    """log(u)·x/(u − 1) with u = 1 + x as it was rounded, x where u is 1 (Kahan; Goldberg 1991, theorem 4)."""
    one = writer.number(1.0)
    u = writer.node("Add", x, one)
    rounded = writer.node("Sub", u, one)
    exact = writer.node("Equal", rounded, x)  # at ∞ too, where the ratio is none
    ratio = writer.node("Where", exact, one, writer.node("Div", x, rounded))
    return writer.node("Where", writer.node("Equal", u, one), x, writer.node("Mul", writer.node("Log", u), ratio))


def _logistic(writer: _Writer, _: Any, x: str) -> str:
    """By e^−|x|: onnxruntime's Sigmoid is never below 1e-8."""
    one = writer.number(1.0)
    small = writer.node("Exp", writer.node("Neg", writer.node("Abs", x)))
    above = writer.node("Where", writer.node("Less", x, writer.number(0.0)), small, one)
    return writer.node("Div", above, writer.node("Add", one, small))


def _maximum(writer: _Writer, attributes: Mapping[str, Any], x: str) -> str:
    """ReduceMax may pass over NaN: it is added."""
    if not attributes["axes"]:
        return x
    axes = writer.integers(attributes["axes"])
    lost = writer.node("Where", writer.node("IsNaN", x), x, writer.number(0.0))
    most = writer.node("ReduceMax", x, axes, keepdims=0)
    return writer.node("Add", most, writer.node("ReduceSum", lost, axes, keepdims=0))


def _sum(writer: _Writer, attributes: Mapping[str, Any], x: str) -> str:
    """No axes are none here, and all of them to ONNX."""
    return writer.node("ReduceSum", x, writer.integers(attributes["axes"]), keepdims=0) if attributes["axes"] else x


def _slice(writer: _Writer, attributes: Mapping[str, Any], x: str) -> str:
    limits = [np.iinfo(np.int64).max if limit == BATCH else limit for limit in attributes["limits"]]
    bounds = [writer.integers(each) for each in (attributes["starts"], limits, range(len(limits)))]
    return writer.node("Slice", x, *bounds, writer.integers(attributes["strides"]))


def _pad(writer: _Writer, attributes: Mapping[str, Any], x: str, value: str) -> str:
    return writer.node("Pad", x, writer.integers([*attributes["low"], *attributes["high"]]), value)


def _round(writer: _Writer, attributes: Mapping[str, Any], x: str) -> str:
    """To the low precision and back."""
    types = writer._onnx.TensorProto
    low = writer.node("Cast", x, to=types.DataType.Value(attributes["to"].upper()))
    return writer.node("Cast", low, to=types.FLOAT)


OTHERS: dict[str, Callable[..., str]] = {
    "expm1": _expm1,
    "log1p": _log1p,
    "logistic": _logistic,
    "rsqrt": lambda w, _, x: w.node("Reciprocal", w.node("Sqrt", x)),
    "is_finite": lambda w, _, x: w.node("LessOrEqual", w.node("Abs", x), w.number(float(np.finfo(np.float32).max))),
    "not_equal": lambda w, _, x, y: w.node("Not", w.node("Equal", x, y)),
    "reshape": lambda w, attributes, x: w.node("Reshape", x, w.lengths(attributes["shape"]), allowzero=1),
    "expand": lambda w, attributes, x: w.node("Expand", x, w.lengths(attributes["shape"])),
    "transpose": lambda w, attributes, x: w.node("Transpose", x, perm=attributes["permutation"]),
    "concatenate": lambda w, attributes, *arrays: w.node("Concat", *arrays, axis=attributes["axis"]),
    "slice": _slice,
    "pad": _pad,
    "sum": _sum,
    "maximum": _maximum,
    "round": _round,
}
