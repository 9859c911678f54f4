"""Encoder, decoder and sampler of every model, loss and likelihood: in NumPy and onnxruntime what the model says."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import export

from tests.options.test_options import modules
from tests.support.configurations import make
from vaex.device.compiled import RUNS_ONCE
from vaex.device.datasets import load
from vaex.portable import interpreter, onnx_model
from vaex.portable.formats import PLATFORMS
from vaex.portable.graph import Graph
from vaex.portable.parts import PARTS, Part
from vaex.portable.readme import INPUTS, OUTPUTS
from vaex.trained.model import Model
from vaex.vae import objective, step

SIZES: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (12, 9)},
    "gated_mlp": {"hidden": (12, 9)},
    "conv": {"channels": (4, 6), "hidden": 12},
    "linear": {},
}
LOW = ("bfloat16", "float16")


quickly = partial(jax.jit, compiler_options=RUNS_ONCE)


@cache
def option(group: str, name: str) -> Any:
    """An option as it comes with vaex."""
    return getattr(make("dataset=digits", f"{group}={name}"), group)


def model(
    name: str = "mlp", loss: str = "gamma", likelihood: str = "bernoulli", low: str = "", **changes: Any
) -> Model:
    """A small model of drawn parameters."""
    config = replace(
        make("dataset=digits"),
        model=replace(option("model", name), latent_dim=3, **SIZES[name], **changes),
        loss=option("loss", loss),
        likelihood=option("likelihood", likelihood),
        precision=make(
            "dataset=digits", *(f"precision.{each}={low}" for each in ("network", "posterior") if low)
        ).precision,
    )
    rng, dataset = np.random.default_rng(0), load(config.dataset)
    shapes = step.shapes(objective.program(config, dataset.shape)).parameters
    drawn = jax.tree.map(lambda leaf: 0.2 * rng.standard_normal(leaf.shape).astype(np.float32), shapes)
    return Model(config, drawn, dataset, "")


def inputs(part: Part, count: int) -> dict[str, np.ndarray]:
    """Images in [0, 1], normal codes, temperatures."""
    rng = np.random.default_rng(count)
    drawn = {name: rng.standard_normal((count, *shape)) for name, shape in part.inputs.items()}
    drawn |= {name: rng.uniform(size=(count, *part.inputs[name])) for name in {"x", "temperature"} & drawn.keys()}
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def session(graph: Graph) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(onnx_model.model(graph, "part", {}), providers=["CPUExecutionProvider"])


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Within so much of the larger of 1 and the largest value of each array; kl, a log of σ, of what σ differs by."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert (array.dtype, array.shape) == (np.float32, expected[name].shape)
        largest = max(1.0, float(np.abs(expected[name]).max()))
        allowed = tolerance * largest + (1e-6 / expected["sigma"] if name == "kl" else 0.0)
        assert (np.abs(array - expected[name]) <= allowed).all(), (name, np.abs(array - expected[name]).max())


def assert_the_same(name: str, made: Model, expected: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    """A part in NumPy and in onnxruntime, of the images or codes for which `expected` was computed."""
    part = PARTS[name](made)
    given, graph = inputs(part, 7), part.graph()
    assert_close(interpreter.run(graph.as_json(), graph.constants, given), expected, tolerance)
    arrays = session(graph).run(list(OUTPUTS[name]), given)
    assert_close(dict(zip(OUTPUTS[name], map(np.asarray, arrays), strict=True)), expected, tolerance)


def encoded(made: Model) -> dict[str, np.ndarray]:
    x = inputs(PARTS["encoder"](made), 7)["x"]
    q = quickly(partial(objective.encode, made.program))(made.hyper, made.parameters, x)
    found = {"mu": q.mu, "sigma": jnp.abs(q.sigma), "kl": q.kl}
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def decoded(made: Model) -> dict[str, np.ndarray]:
    z = inputs(PARTS["decoder"](made), 7)["z"]
    return {"x": np.asarray(quickly(partial(objective.mean_images, made.program))(made.parameters, z))}


def each_model_and(group: str, usual: str) -> list[Any]:
    """Every model with every option of a group; quickly, without `-m slow`, one of the two as the book has it."""
    pairs = [(name, option) for name in sorted(modules("model")) for option in sorted(modules(group))]
    slow = pytest.mark.slow
    return [pytest.param(*pair, marks=() if pair[0] == "mlp" or pair[1] == usual else slow) for pair in pairs]


@pytest.mark.parametrize(("name", "loss"), each_model_and("loss", "gamma"))
def test_the_encoder_of_each_model_and_loss(name: str, loss: str):
    made = model(name, loss=loss)
    assert_the_same("encoder", made, encoded(made))


@pytest.mark.parametrize(("name", "likelihood"), each_model_and("likelihood", "bernoulli"))
def test_the_decoder_of_each_model_and_likelihood(name: str, likelihood: str):
    made = model(name, likelihood=likelihood)
    assert_the_same("decoder", made, decoded(made))


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "tanh"])
def test_each_activation(activation: str):
    made = model(activation=activation)
    assert_the_same("encoder", made, encoded(made))
    assert_the_same("decoder", made, decoded(made))


@pytest.mark.slow
@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("name", sorted(modules("model")))
def test_a_low_precision_is_rounded_within_what_the_readme_says(name: str, precision: str):
    """Without its rounding bfloat16 would be off by far less than this; that it is made, test_tracing.py shows."""
    made = model(name, low=precision)
    tolerance = 2.0 ** {"bfloat16": -5, "float16": -8}[precision]
    assert_the_same("encoder", made, encoded(made), tolerance)
    assert_the_same("decoder", made, decoded(made), tolerance)


@pytest.mark.parametrize("name", PARTS)
def test_one_file_takes_any_batch_and_each_image_for_itself(name: str):
    part = PARTS[name](model("conv"))
    graph = part.graph()
    running = session(graph)
    run = export.deserialize(bytearray(part.export(PLATFORMS).serialize()))
    assert [each.name for each in running.get_inputs()] == list(INPUTS[name]) == list(graph.inputs)
    assert {each.shape[0] for each in (*running.get_inputs(), *running.get_outputs())} == {"batch"}
    everything = inputs(part, 300)
    answers = quickly(part.function)(part.parameters, *everything.values())
    for count in (1, 7, 300):
        given = {key: array[:count] for key, array in everything.items()}
        expected = {key: np.asarray(array)[:count] for key, array in answers.items()}
        arrays = map(np.asarray, running.run(list(OUTPUTS[name]), given))
        assert_close(dict(zip(OUTPUTS[name], arrays, strict=True)), expected, 1e-5)
        assert_close(interpreter.run(graph.as_json(), graph.constants, given), expected, 1e-5)
        assert_close({key: np.asarray(array) for key, array in run.call(*given.values()).items()}, expected, 1e-5)


def test_the_sampler_is_the_decoder_at_colder_codes():
    made = model()
    given = inputs(PARTS["sampler"](made), 7)
    assert np.ptp(given["temperature"]) > 0.1
    z = given["temperature"][:, None] * given["eps"]
    expected = objective.mean_images(made.program, made.parameters, jnp.asarray(z))
    assert_the_same("sampler", made, {"x": np.asarray(expected)})


def test_stablehlo_is_for_cpu_and_gpu_and_names_no_file_of_this_machine():
    content = PARTS["encoder"](model()).export(PLATFORMS).serialize()
    assert export.deserialize(bytearray(content)).platforms == ("cpu", "cuda")
    assert b".py" not in content
    assert b"vaex" not in content
