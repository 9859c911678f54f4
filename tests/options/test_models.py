"""Layers against direct loops in NumPy; models: shapes, initial weights, what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate

from tests.support.configurations import make
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


@pytest.mark.parametrize("overrides", [("model=mlp",), ("model=mlp", "model.hidden=[]"), ("model=conv",)])
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
    model = jax.jit(step.init, static_argnums=0)(program, jnp.uint32(0)).parameters["model"]
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


MODELS = pytest.mark.parametrize("model", ["mlp", "conv"])


def encoded(parameters, program, x):
    """μ and the raw head as the model gives them, compiled."""
    module = nnx.eval_shape(lambda: objective.build(program, jax.random.key(0)))
    graph, _, rest = nnx.split(module, nnx.Param, ...)
    return jax.jit(lambda p, x: nnx.merge(graph, p, rest).encode(x))(parameters["model"], x)


@MODELS
def test_input_scale_is_of_the_encoder_only(model: str):
    """A scale of 3 encodes as three times the image would, and decodes as if there were none."""
    plain, scaled = (objective.program(make(f"model={model}", f"model.input_scale={s}"), (8, 8, 1)) for s in (1.0, 3.0))
    parameters = jax.jit(step.init, static_argnums=0)(plain, jnp.uint32(0)).parameters
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
    before, after = (
        jax.jit(step.init, static_argnums=0)(p, jnp.uint32(0)).parameters["model"] for p in (plain, scaled)
    )
    for head in ("mu", "raw"):
        np.testing.assert_array_equal(after[head]["kernel"], 0.5 * before[head]["kernel"])
    after = after | {head: before[head] for head in ("mu", "raw")}
    assert jax.tree.all(jax.tree.map(np.array_equal, before, after))


@MODELS
@pytest.mark.parametrize("initializer", ["glorot_uniform", "orthogonal"])
def test_scales_of_one_change_no_bit(model: str, initializer: str):
    """Beside the same encoder without a scale in it, and the initializer itself."""
    program = objective.program(make(f"model={model}", f"model.initializer={initializer}"), (8, 8, 1))
    parameters = jax.jit(step.init, static_argnums=0)(program, jnp.uint32(0)).parameters
    x = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)

    def without_scale(p, x):
        if model == "mlp":
            h = x.reshape(5, -1)
            for layer in p["encoder"].values():
                h = jax.nn.selu(h @ layer["kernel"] + layer["bias"])
        else:
            for layer in p["down"].values():
                x = jax.nn.relu(layers.patches(x, 2) @ layer["kernel"] + layer["bias"])
            h = jax.nn.relu(x.reshape(5, -1) @ p["bottleneck"]["kernel"] + p["bottleneck"]["bias"])
        return [h @ p[head]["kernel"] + p[head]["bias"] for head in ("mu", "raw")]

    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(without_scale)(parameters["model"], x)
    np.testing.assert_array_equal(encoded(parameters, program, x), expected)
    (layer, reference) = (
        layers.dense(7, 5, initializer, jnp.dtype("float32"), nnx.Rngs(0)),
        nnx.Linear(7, 5, kernel_init=getattr(jax.nn.initializers, initializer)(), rngs=nnx.Rngs(0)),
    )
    np.testing.assert_array_equal(layer.kernel[...], reference.kernel[...])
