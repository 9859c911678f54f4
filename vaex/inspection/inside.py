"""One optimizer step with everything on the way to it: each layer's output, μ, raw, σ, KL, and their gradients. Pure.

The objective is the run's own; what it computes on the way is found in its trace. The gradient of a layer's output is
that of a zero added to it.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PyTree

from vaex.disk import checkpoint
from vaex.inspection import equations, watched
from vaex.inspection.equations import Equation, Trace
from vaex.vae import step
from vaex.vae.objective import NOISE, OBSERVATION, Hyper, Program, objective, stream
from vaex.vae.step import TrainState

UPDATED = ("grad_norm", "direction", "updates", "update_norm")

MODEL = "model."
"""What the names of a model's parameters begin with."""


def inside(
    program: Program,
    hyper: Hyper,
    state: TrainState,
    images: Num[Array, "batch H W C"],
    weights: Float[Array, " batch"],
    steps: Int[Array, ""],
) -> dict[str, Any]:
    """What `step.train_step` computes before it decides, in the order in which it does, by name.

    `steps` are those of an epoch. `values` and `slopes` are what is on the way from an image to the loss and the loss's
    gradient there, `pixels` log p of each pixel.
    """
    time, hyper = state.step / steps, step.weighed(hyper, state)
    noise, observation = (jax.random.fold_in(stream(hyper.seed, each), state.step) for each in (NOISE, OBSERVATION))

    def minimised(parameters: PyTree, images: Array) -> Any:
        return objective(watched.watched(program), hyper, parameters, images, weights, (noise, observation), time)

    found = equations.trace(minimised, state.parameters, images)
    taps = _taps(found, state.parameters)

    def tapped(parameters: PyTree, added: Mapping[str, Array]) -> Any:
        values = found.run(jax.tree.leaves((parameters, images)), _adding(taps, added))
        loss, terms = jax.tree.map(values.get, found.names)
        return loss, (terms, {name: values[number] for name, number in taps.items()})

    zeros = {name: jnp.zeros(found.shapes[number], found.dtypes[number]) for name, number in taps.items()}
    gradient = jax.value_and_grad(tapped, argnums=(0, 1), has_aux=True)
    (loss, (terms, values)), (gradients, slopes) = gradient(state.parameters, zeros)
    likelihood = state.parameters["likelihood"]
    pixels = watched.by_pixel(program.likelihood, likelihood, values["outputs"], values["x"])
    forward = {"values": values, "pixels": pixels, "terms": terms._asdict(), "loss": loss, "slopes": slopes}
    made = step.update(program, hyper, state, gradients, time)._asdict()
    return forward | {"gradients": gradients} | {name: made[name] for name in UPDATED}


def _taps(found: Trace, parameters: PyTree) -> dict[str, int]:
    """The numbers of what is looked at, in the order in which it is computed: layers' outputs, and what is named."""
    modules = {
        number: name.removeprefix(MODEL).rpartition(".")[0]
        for number, name in enumerate(checkpoint.names(parameters))
        if name.startswith(MODEL)
    }
    taps = {f"layer {name}": number for name, number in equations.layers(found, modules).items()}
    for equation in found.equations:
        name = equation.of.params.get("name") if equation.primitive == "name" else None
        if name in watched.NAMES:
            taps[name] = equation.outputs[0]
    return dict(sorted(taps.items(), key=lambda tap: tap[1]))


def _adding(taps: Mapping[str, int], added: Mapping[str, Array]) -> Any:
    """Adds to what an equation makes what is to be added there."""
    names = {number: name for name, number in taps.items()}

    def seen(equation: Equation, made: list[Any]) -> list[Any]:
        pairs = zip(equation.outputs, made, strict=True)
        return [value + added[names[number]] if number in names else value for number, value in pairs]

    return seen
