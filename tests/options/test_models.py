"""Layers against direct loops in NumPy; models: shapes, initial weights, what does not fit is refused."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate
from scipy.special import expit

from tests.support.configurations import make
from vaex.device.compiled import init
from vaex.errors import ConfigError
from vaex.vae import layers, objective, step


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_patches_times_a_matrix_is_a_convolution(stride: int, size: tuple[int, int]):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*size, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    got = layers.patches(jnp.asarray(x[None]), stride)[0] @ kernel.reshape(27, 5)
    padded = np.pad(x.astype(np.float64), [(1, 1), (1, 1), (0, 0)])
    channels = [correlate(padded, kernel[..., c].astype(np.float64), "valid")[..., 0] for c in range(5)]
    np.testing.assert_allclose(got, np.stack(channels, -1)[::stride, ::stride], rtol=1e-4, atol=1e-5)


def test_depth_to_space_puts_each_quarter_in_its_corner():
    x = np.arange(2 * 3 * 8, dtype=np.float32).reshape(2, 3, 8)
    expected = np.empty((4, 6, 2), np.float32)
    for row in range(4):
        for column in range(6):
            corner = 2 * (row % 2) + column % 2
            expected[row, column] = x[row // 2, column // 2, 2 * corner : 2 * corner + 2]
    np.testing.assert_array_equal(layers.depth_to_space(jnp.asarray(x)), expected)


@pytest.mark.parametrize(
    "overrides",
    [("model=mlp",), ("model=mlp", "model.hidden=[]"), ("model=conv",), ("model=linear",), ("model=gated_mlp",)],
)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 2)])
def test_every_model_takes_every_shape(overrides: tuple[str, ...], shape: tuple[int, int, int]):
    config = make(*overrides, "model.latent_dim=4")
    program, hyper = objective.program(config, shape), objective.hyper(config)

    def both_ways(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        parameters = step.init(program, jnp.uint32(0)).parameters
        mu = objective.encode(program, hyper, parameters, x).mu
        return mu, objective.decode(program, parameters, mu)

    mu, outputs = jax.eval_shape(both_ways, jax.ShapeDtypeStruct((5, *shape), jnp.float32))
    assert mu.shape == (5, 4)
    assert outputs.shape == (5, *shape)


def test_conv_refuses_a_size_it_cannot_halve():
    program = objective.program(make("model=conv"), (30, 28, 1))
    with pytest.raises(ConfigError, match=r"model\.channels: 2 stages need .* divisible by 4, the images are 30x28"):
        jax.eval_shape(lambda: step.init(program, jnp.uint32(0)))


def test_book_model_starts_as_keras_starts_it():
    """Glorot-uniform kernels, ±√(6/(in + out)), and zero biases; a loss may set the raw head's bias."""
    program = objective.program(make("loss=sigma", "loss.bias_init=1.0"), (28, 28, 1))
    model = init(program, jnp.uint32(0)).parameters["model"]
    sizes = [784, 150, 100]
    for layer, fan_in, fan_out in zip(model["encoder"].values(), sizes[:-1], sizes[1:], strict=True):
        bound = np.sqrt(6 / (fan_in + fan_out))
        assert layer["kernel"].shape == (fan_in, fan_out)
        assert 0.99 * bound < float(jnp.max(jnp.abs(layer["kernel"]))) <= bound
        assert np.std(layer["kernel"]) == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert not np.any(layer["bias"])
    assert np.all(np.asarray(model["raw"]["bias"]) == 1.0)
    assert not np.any(model["mu"]["bias"])
    encoder = 784 * 150 + 150 + 150 * 100 + 100 + 2 * (100 * 10 + 10)
    decoder = 10 * 100 + 100 + 100 * 150 + 150 + 150 * 784 + 784
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) == encoder + decoder


SELU = 1.0507009873554805, 1.6732632423543772
"""λ and λα of Klambauer et al. 2017."""


def selu(x: np.ndarray) -> np.ndarray:
    return SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(np.minimum(x, 0)))


def affine(layer: Any, x: np.ndarray) -> np.ndarray:
    return x @ layer["kernel"] + layer["bias"]


HIDDEN: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {
    "mlp": lambda layer, x: selu(affine(layer, x)),
    "gated_mlp": lambda layer, x: affine(layer["linear"], x) * expit(affine(layer["gate"], x)),
    "linear": lambda layer, x: pytest.fail("has no hidden layer"),
}
"""A hidden layer of each model of dense layers, by its formula."""

DENSE = pytest.mark.parametrize("model", list(HIDDEN))


def dense_program(model: str) -> objective.Program:
    hidden = () if model == "linear" else ("model.hidden=[7,5]",)
    return objective.program(make(f"model={model}", "model.latent_dim=3", "model.input_scale=1.5", *hidden), (4, 6, 1))


def moved(program: objective.Program) -> Any:
    """Parameters in float64, with biases that are not zero."""
    rng = np.random.default_rng(0)
    like = step.shapes(program).parameters["model"]
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape, scale=0.5), like)


def by_formula(model: str, parameters: Any, x: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """μ and the raw head of images `x`, and the outputs of latents `z`, in NumPy."""
    h = 1.5 * x.reshape(len(x), -1)
    for layer in parameters.get("encoder", {}).values():
        h = HIDDEN[model](layer, h)
    for layer in parameters.get("decoder", {}).values():
        z = HIDDEN[model](layer, z)
    outputs = affine(parameters["outputs"], z).reshape(x.shape)
    return [affine(parameters["mu"], h), affine(parameters["raw"], h), outputs]


@DENSE
def test_dense_models_are_their_formulas_and_so_are_their_gradients(model: str):
    """Values against NumPy in float64; the gradient along a random direction against a central difference."""
    program = dense_program(model)
    parameters = moved(program)
    rng = np.random.default_rng(1)
    x, z = rng.uniform(size=(5, 4, 6, 1)), rng.normal(size=(5, 3))

    def both_ways(p: Any) -> list[jax.Array]:
        module = module_of(program, p)
        return [*module.encode(jnp.float32(x)), module.decode(jnp.float32(z))]

    single = jax.tree.map(np.float32, parameters)
    expected = by_formula(model, parameters, x, z)
    for got, want in zip(jax.jit(both_ways)(single), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)

    weights = [rng.normal(size=values.shape) for values in expected]
    gradient = jax.jit(jax.grad(lambda p: sum(jnp.vdot(w, v) for w, v in zip(weights, both_ways(p), strict=True))))
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), parameters)

    def along(t: float) -> float:
        values = by_formula(model, jax.tree.map(lambda p, d: p + t * d, parameters, direction), x, z)
        return sum(np.vdot(w, v) for w, v in zip(weights, values, strict=True))

    slopes = jax.tree.map(np.vdot, gradient(single), direction)
    assert sum(jax.tree.leaves(slopes)) == pytest.approx((along(1e-5) - along(-1e-5)) / 2e-5, rel=1e-4)


@DENSE
def test_parameters_of_dense_models_keep_their_names(model: str):
    """A saved run is read by them."""
    parameters = step.shapes(dense_program(model)).parameters["model"]
    names = {".".join(str(key.key) for key in path) for path, _ in jax.tree.leaves_with_path(parameters)}
    stacks = {"mlp": [""], "gated_mlp": [".linear", ".gate"], "linear": []}[model]
    hidden = [f"{stack}.{i}{part}" for stack in ("encoder", "decoder") for i in (0, 1) for part in stacks]
    assert names == {f"{layer}.{leaf}" for layer in ("mu", "raw", "outputs", *hidden) for leaf in ("kernel", "bias")}


MODELS = pytest.mark.parametrize("model", ["mlp", "conv", "linear", "gated_mlp"])


def module_of(program: objective.Program, parameters: Any) -> Any:
    """The model with these parameters."""
    module = nnx.eval_shape(lambda: objective.build(program, jax.random.key(0)))
    graph, _, rest = nnx.split(module, nnx.Param, ...)
    return nnx.merge(graph, parameters, rest)


def encoded(parameters, program, x):
    """μ and the raw head as the model gives them, compiled."""
    return jax.jit(lambda p, x: module_of(program, p).encode(x))(parameters["model"], x)


@MODELS
def test_input_scale_is_of_the_encoder_only(model: str):
    """A scale of 3 encodes as three times the image would, and decodes as if there were none."""
    plain, scaled = (objective.program(make(f"model={model}", f"model.input_scale={s}"), (8, 8, 1)) for s in (1.0, 3.0))
    parameters = init(plain, jnp.uint32(0)).parameters
    x = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)
    got, expected = encoded(parameters, scaled, x), encoded(parameters, plain, 3 * x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(got, encoded(parameters, plain, x), rtol=0.1)
    z = jnp.ones((5, 10))
    both = [objective.decode(program, parameters, z) for program in (plain, scaled)]
    np.testing.assert_array_equal(*both)


@MODELS
def test_head_init_scale_is_of_both_heads_and_of_nothing_else(model: str):
    plain, scaled = (
        objective.program(make(f"model={model}", f"model.head_init_scale={s}"), (8, 8, 1)) for s in (1.0, 0.5)
    )
    before, after = (init(p, jnp.uint32(0)).parameters["model"] for p in (plain, scaled))
    for head in ("mu", "raw"):
        np.testing.assert_array_equal(after[head]["kernel"], 0.5 * before[head]["kernel"])
    after = after | {head: before[head] for head in ("mu", "raw")}
    assert jax.tree.all(jax.tree.map(np.array_equal, before, after))


@MODELS
@pytest.mark.parametrize("initializer", ["glorot_uniform", "orthogonal"])
def test_scales_of_one_change_no_bit(model: str, initializer: str):
    """Beside the same encoder without a scale in it, and the initializer itself."""
    program = objective.program(make(f"model={model}", f"model.initializer={initializer}"), (8, 8, 1))
    parameters = init(program, jnp.uint32(0)).parameters
    x = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)

    def without_scale(p, x):
        for layer in p.get("down", {}).values():
            x = jax.nn.relu(affine(layer, layers.patches(x, 2)))
        h = x.reshape(5, -1)
        if model == "conv":
            h = jax.nn.relu(affine(p["bottleneck"], h))
        for layer in p.get("encoder", {}).values():
            gated = model == "gated_mlp"
            h = affine(layer["linear"], h) * jax.nn.sigmoid(affine(layer["gate"], h)) if gated else affine(layer, h)
            h = jax.nn.selu(h) if model == "mlp" else h
        return [affine(p[head], h) for head in ("mu", "raw")]

    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(without_scale)(parameters["model"], x)
    np.testing.assert_array_equal(encoded(parameters, program, x), expected)
    (layer, reference) = (
        layers.dense(7, 5, initializer, jnp.dtype("float32"), nnx.Rngs(0)),
        nnx.Linear(7, 5, kernel_init=getattr(jax.nn.initializers, initializer)(), rngs=nnx.Rngs(0)),
    )
    np.testing.assert_array_equal(layer.kernel[...], reference.kernel[...])
