"""The machine's limit: the matrix products of the book's epoch and nothing else, beside the real epoch in one process.

    .venv/bin/python tests/benchmarks/products.py [--rounds 15]

The limit has the step's 20 products of the same shapes and in the same order, once a step: the forward pass without
biases and activations, then the gradients of the weights and of the layers' inputs. The images change every step, so
nothing can be moved out of the loop, and the weights' gradients are kept behind `lax.optimization_barrier`, so nothing
is left out. The two take turns; what counts is the ratio of neighbours. Prints one JSON object a round.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hydra._internal.utils import get_args_parser
from jax import lax
from jaxtyping import Array, Float

from vaex.config.compose import compose
from vaex.device import compiled
from vaex.device.datasets import load
from vaex.disk import threads
from vaex.vae import objective, step

Kernels = Sequence[Float[Array, "_ _"]]


def products(encoder: Kernels, heads: Kernels, decoder: Kernels, images: Float[Array, "N pixels"], batch: int) -> Any:
    """The products of one epoch; returns one number that depends on all of them."""
    mu, raw = heads

    def body(total: Float[Array, ""], start: Any) -> tuple[Float[Array, ""], None]:
        x = lax.dynamic_slice_in_dim(images, start, batch)
        into_encoder, h = forward(encoder, x)
        into_decoder, outputs = forward(decoder, h @ mu + h @ raw)
        gradients, g = backward(decoder, into_decoder, outputs)
        gradients += [h.T @ g, h.T @ (2 * g)]  # 2: equal products would be made once
        gradients += backward(encoder, into_encoder, g @ mu.T + (2 * g) @ raw.T, to_the_end=False)[0]
        kept = lax.optimization_barrier(tuple(gradients))
        return total + sum(gradient[0, 0] for gradient in kept), None

    steps = -(-len(images) // batch)
    starts = jnp.minimum(jnp.arange(steps) * batch, len(images) - batch)
    return lax.scan(body, jnp.float32(0), starts)[0]


def forward(kernels: Kernels, h: Float[Array, "batch _"]) -> tuple[list[Float[Array, "batch _"]], Any]:
    """What goes into each layer, and what comes out of the last."""
    inputs = []
    for kernel in kernels:
        inputs.append(h)
        h = h @ kernel
    return inputs, h


def backward(
    kernels: Kernels, inputs: Kernels, g: Float[Array, "batch _"], to_the_end: bool = True
) -> tuple[list[Float[Array, "_ _"]], Any]:
    """The gradients of the kernels, last one first, and that of the input (nobody needs that of the images)."""
    gradients = []
    for number in reversed(range(len(kernels))):
        gradients.append(inputs[number].T @ g)
        if number or to_the_end:
            g = g @ kernels[number].T
    return gradients, g


def kernels_of(model: Any) -> tuple[Kernels, Kernels, Kernels]:
    """Encoder, heads and decoder of the book's parameters."""
    encoder = [model["encoder"][key]["kernel"] for key in sorted(model["encoder"])]
    decoder = [model["decoder"][key]["kernel"] for key in sorted(model["decoder"])]
    return encoder, [model["mu"]["kernel"], model["raw"]["kernel"]], [*decoder, model["outputs"]["kernel"]]


def prepare() -> dict[str, Callable[[], Any]]:
    """The limit and the epoch, compiled; each call makes one of them from the same start."""
    (config,) = compose(get_args_parser().parse_args([])).jobs
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    images, state = jax.device_put(dataset.train.images), compiled.init(program, hyper.seed)
    pixels = objective.as_float(images).reshape(len(images), -1)
    kernels = kernels_of(state.parameters["model"])
    limit = jax.jit(products, static_argnums=4).lower(*kernels, pixels, program.batch_size).compile()
    in_order = jax.jit(step.order, static_argnums=2).lower(hyper.seed, np.int32(0), len(images)).compile()
    first = in_order(hyper.seed, np.int32(0))
    epoch = jax.jit(step.epoch, static_argnums=0).lower(program, hyper, state, first, images).compile()
    return {
        "products": lambda: limit(*kernels, pixels),
        "epoch": lambda: epoch(hyper, state, in_order(hyper.seed, np.int32(0)), images),
    }


def main() -> None:
    """One JSON object a round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    threads.set_count()
    functions = prepare()
    rows = []
    for _ in range(rounds + 1):
        seconds = {}
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name] = time.perf_counter() - start
        rows.append(seconds | {"epoch_over_products": seconds["epoch"] / seconds["products"]})
    for row in rows[1:]:  # the first round warms up
        print(json.dumps(row))
    print(json.dumps({"median": {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}}))


if __name__ == "__main__":
    main()
