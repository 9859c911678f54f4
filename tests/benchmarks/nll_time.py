"""The likelihood of a trained model against its limit: the decoder's bare matrix products, draw for draw.

    .venv/bin/python tests/benchmarks/nll_time.py [--samples 5000] [--rounds 3] [--json FILE]

The book's model as it is before training (time does not depend on what it has learned), 10 000 test images of
Fashion-MNIST. The limit decodes as many codes without biases, activations, noise, log-likelihood or weights, in batches
of the same size on as many threads. The two take turns; what counts is the ratio of neighbours. Prints one JSON object
a round, then the medians and the most memory that the process has had.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hydra._internal.utils import get_args_parser
from jax import lax
from jaxtyping import Array, Float
from products import Kernels, forward, kernels_of

from vaex.config.compose import compose
from vaex.device import backend
from vaex.device.datasets import load
from vaex.disk import threads
from vaex.trained.model import BATCH, Model
from vaex.vae import objective, step


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    backend.start()
    (config,) = compose(get_args_parser().parse_args([])).jobs
    dataset = load(config.dataset)
    parameters = step.init(objective.program(config, dataset.shape), jnp.uint32(0)).parameters
    model = Model(config, parameters, dataset, "")
    decoder = kernels_of(parameters["model"])[2]
    images = dataset.test.images
    judge(model, images, chosen.samples, 1), decode(decoder, len(images), chosen.samples, 1)  # compiled for all rounds
    rounds = [measure(model, decoder, images, chosen.samples) for _ in range(chosen.rounds)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found = {
        "samples": chosen.samples,
        "images": len(images),
        **{name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
        "peak_gigabytes": memory,
    }
    print(json.dumps(found), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"median": found, "rounds": rounds}, indent=2) + "\n")


def measure(model: Model, decoder: Kernels, images: np.ndarray, samples: int) -> dict[str, float]:
    """One round: seconds of the bounds and of the products, and their ratio."""
    nll, products = judge(model, images, samples), decode(decoder, len(images), samples)
    found = {"nll_seconds": nll, "products_seconds": products, "ratio": nll / products}
    print(json.dumps(found), flush=True)
    return found


def judge(model: Model, images: np.ndarray, samples: int, batches: int | None = None) -> float:
    """Seconds for the importance-weighted bounds of the images, or of the first batches of them."""
    started = time.perf_counter()
    model.bounds(images[: batches * BATCH if batches else None], samples, seed=0)
    return time.perf_counter() - started


def decode(decoder: Kernels, images: int, samples: int, batches: int | None = None) -> float:
    """Seconds for the products of as many draws."""
    latents = decoder[0].shape[0]
    codes = np.random.default_rng(0).standard_normal((BATCH, latents)).astype(np.float32)
    started = time.perf_counter()
    with ThreadPoolExecutor(threads.cores()) as pool:
        done = pool.map(
            lambda _: products(decoder, codes, samples).block_until_ready(), range(batches or images // BATCH)
        )
    list(done)
    return time.perf_counter() - started


@jax.jit
def products(decoder: Kernels, codes: Float[Array, "batch K"], samples: Any) -> Float[Array, ""]:
    """The decoder's products, once a draw; a number that depends on all of them."""

    def draw(index: Array, total: Float[Array, ""]) -> Float[Array, ""]:
        _, outputs = forward(decoder, codes + index.astype(jnp.float32))
        return total + lax.optimization_barrier(outputs)[0, 0]

    return lax.fori_loop(0, samples, draw, jnp.float32(0))


if __name__ == "__main__":
    main()
