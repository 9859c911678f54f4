"""Functions of JAX as graphs: NumPy and onnxruntime give what JAX gives, and what no graph has is named."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from vaex.errors import InputError
from vaex.portable import interpreter, onnx_model, tracing
from vaex.portable.graph import Graph

K = 6
VALUES = [
    0.0, -0.0, 1e-8, -1e-8, 1e-3, -1e-3, 0.5, -0.5, 1.0, -1.0, 2.5, -2.5, 7.5, -7.5, 50.0, -50.0, 88.0, -88.0, 200.0,
    -200.0, 1e4, -1e4, 1e38, -1e38, np.inf, -np.inf, np.nan,
]  # fmt: skip
ROWS = np.array([*np.resize(VALUES, (5, K)), *([value] * K for value in VALUES)], np.float32)
"""The values beside each other, and each alone."""

type_of_function = Callable[[Any], Any]


def layer_norm(x: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6)


ACTIVATIONS = (
    "celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid",
    "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus",
    "sparse_plus", "squareplus", "standardize", "tanh",
)  # fmt: skip

FUNCTIONS: dict[str, type_of_function] = {
    **{name: getattr(jax.nn, name) for name in ACTIVATIONS},
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "layer norm": layer_norm,
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=-1),
    "erf": jax.scipy.special.erf,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "log1p": jnp.log1p,
    "cosh": jnp.cosh,
    "sinh": jnp.sinh,
    "ceil": jnp.ceil,
    "sign": jnp.sign,
    "clip": lambda x: jnp.clip(x, -1, 1),
    "to the 0th": lambda x: x**0,
    "to the 7th": lambda x: x**7,
    "to the -3rd": lambda x: x**-3,
    "to the half": lambda x: jnp.abs(x) ** 0.5,
    "largest": lambda x: x.max(-1),
    "smallest": lambda x: x.min(-1),
    "of pairs": lambda x: x.reshape(x.shape[0], 3, 2).max(-1),
    "nan to number": jnp.nan_to_num,
    "finite or 0": lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
    "logaddexp": lambda x: jnp.logaddexp(x, jnp.ones_like(x)),
    "checkpoint": jax.checkpoint(jnp.tanh),
    "column": lambda x: x[:, 1],
    "last columns": lambda x: x[:, -2:],
    "pieces": lambda x: jnp.concatenate(jnp.split(x, [1, 3], axis=1)[::-1], axis=1),
    "padded": lambda x: jnp.pad(x, ((0, 0), (1, 2)), constant_values=3.0),
    "stacked": lambda x: jnp.stack([x, -x], axis=1),
    "swapped": lambda x: x.reshape(x.shape[0], 2, 3).swapaxes(1, 2),
    "squeezed": lambda x: x[:, :, None].squeeze(-1),
    "repeated": lambda x: jnp.repeat(x, 2, axis=1),
    "with nothing": lambda x: jnp.concatenate([x, jnp.zeros((x.shape[0], 0))], axis=1),
    "the same for all": lambda x: jnp.zeros_like(x) + 2,
}
"""What people write into models and losses."""


def of_small_numbers(function: type_of_function) -> type_of_function:
    """Sums of huge numbers of both signs depend on their order."""
    return lambda x: function(jnp.where(jnp.abs(x) < 300, x, 0.0))


PRODUCTS: dict[str, type_of_function] = {
    "with a vector": lambda x: x @ jnp.arange(6.0),
    "transposed": lambda x: jnp.einsum("bi,oi->bo", x, jnp.arange(18.0).reshape(3, 6)),
    "matrix first": lambda x: jnp.einsum("oi,bi->bo", jnp.arange(18.0).reshape(3, 6), x),
    "of three axes": lambda x: jnp.einsum("bhi,oi->bho", x.reshape(x.shape[0], 2, 3), jnp.arange(12.0).reshape(4, 3)),
    "over the first": lambda x: jnp.einsum("bih,io->bho", x.reshape(x.shape[0], 3, 2), jnp.arange(12.0).reshape(3, 4)),
    "of a matrix of its own": lambda x: x @ (x[:1].T * 0 + jnp.ones((6, 2))),
}
FUNCTIONS |= {f"product {name}": of_small_numbers(function) for name, function in PRODUCTS.items()}


def traced(function: type_of_function) -> Graph:
    return tracing.trace(lambda parameters, x: {"y": function(x)}, {}, {"x": (K,)})


def by_onnxruntime(graph: Graph, x: np.ndarray) -> np.ndarray:
    content = onnx_model.model(graph, "function", {})
    (found,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})
    return np.asarray(found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_and_onnxruntime_give_what_jax_gives_at_the_edges_too(name: str):
    graph, expected = traced(FUNCTIONS[name]), np.asarray(jax.jit(FUNCTIONS[name])(ROWS))
    for found in (
        interpreter.run(graph.as_json(), graph.constants, {"x": ROWS})["y"],
        by_onnxruntime(graph, ROWS),
    ):
        assert (found.shape, found.dtype) == (expected.shape, np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_tails_keep_their_digits_in_onnx():
    """onnxruntime's own Sigmoid ends at 1e-8; a log of what is lost there is infinite."""
    x = np.array([[-80.0, -40.0, -20.0, -1e-5, 1e-5, 1e-3]], np.float32)
    for function in (jax.nn.sigmoid, jnp.expm1, jnp.log1p):
        expected = np.asarray(function(x))
        np.testing.assert_allclose(by_onnxruntime(traced(function), x), expected, rtol=1e-6)


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_a_low_precision_rounds_as_jax_does(to: str):
    """Ties, the smallest and the largest numbers included."""
    rng = np.random.default_rng(0)
    odd = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 65520.0, 3.4e38, 6e-8, 1e-40]
    x = np.concatenate([ROWS.ravel(), odd, -np.array(odd), rng.lognormal(0, 20, 1000)]).astype(np.float32)
    x = np.resize(x, (len(x) // K, K))

    def rounded(x: Any) -> Any:
        return x.astype(to).astype(jnp.float32)

    graph, expected = traced(rounded), np.asarray(jax.jit(rounded)(x))
    np.testing.assert_array_equal(interpreter.run(graph.as_json(), graph.constants, {"x": x})["y"], expected)
    np.testing.assert_array_equal(by_onnxruntime(graph, x), expected)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (jnp.sin, "uses JAX's sin,"),
        (lambda x: jnp.cumsum(x, -1), "uses JAX's cumsum,"),
        (lambda x: x - x.mean(0, keepdims=True), "uses JAX's dim_as_value,"),
        (lambda x: jnp.tanh(x.reshape(-1)).reshape(x.shape), "joins the images of a batch in one axis (6*batch),"),
        (lambda x: x.reshape(len(x), -1), "must know how many images a batch has (write x.shape[0], not len(x)),"),
        (lambda x: x if x.shape[0] > 3 else -x, "must know how many images a batch has"),
        (lambda x: x[:, ::2], "indexes an array by another,"),
        (lambda x: jnp.einsum("bi,bj->bij", x, x), "a product that is not with a matrix,"),
        (lambda x: x.astype(jnp.int32).astype(jnp.float32), "turns float32 into int32,"),
    ],
)
def test_what_no_graph_has_is_named(function: type_of_function, told: str):
    with pytest.raises(InputError) as refusal:
        traced(function)
    assert told in str(refusal.value)
    assert str(refusal.value).endswith("which cannot be exported")


def test_a_file_of_more_than_protobuf_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx_model, "LARGEST", 23)
    graph = traced(lambda x: x * jnp.arange(6.0)[None])
    with pytest.raises(InputError, match="2 GiB"):
        onnx_model.model(graph, "function", {})
