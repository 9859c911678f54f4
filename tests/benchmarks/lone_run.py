"""Ways to give a lone run more of the second core, against its epoch as it is.

    .venv/bin/python tests/benchmarks/lone_run.py [--rounds 15] [--json FILE]

Everything takes turns in one process; a ratio is of neighbours in a round (above 1: faster than as it is). What is
tried: gather and noise of the next step made while this one computes; each batch in two halves on two devices, whose
gradients are summed; the same by two halves in one vmapped product; validation of an epoch beside the training of the
next. `bits` says whether the parameters after an epoch are those of the epoch as it is.
"""

import argparse
import functools
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.support.configurations import make
from vaex.device.datasets import load
from vaex.disk import threads
from vaex.vae import objective, step


def prepare() -> tuple[Any, Any, Any, np.ndarray, Any, Any]:
    """Program, numbers, state, an order and the images of the book's run."""
    config = make("dataset=fashion_mnist")
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    state = jax.device_get(jax.jit(step.init, static_argnums=0)(program, hyper.seed))
    order = np.random.default_rng(0).permutation(len(dataset.train.images)).astype(np.int32)
    return program, hyper, state, order, dataset.train.images, dataset.valid.images


def ahead(program: Any, hyper: Any, state: Any, order: Any, images: Any) -> Any:
    """`step.epoch` that carries the next step's batch and noise, which depend on nothing that this step computes."""
    rows, weights = step.batches(order, program.batch_size)
    steps, latents = len(rows), program.model.latent_dim

    def noise(number: Any) -> Any:
        key = jax.random.fold_in(objective.stream(hyper.seed, objective.NOISE), number)
        return NOISE(key, program.batch_size, latents)

    def body(carry: Any, following: Any) -> Any:
        state, batch, eps, weight = carry
        next_rows, next_weight = following
        coming = images[next_rows], noise(state.step + 1), next_weight
        with mock.patch.object(objective, "noise", return_value=eps):
            state, out = step.train_step(program, hyper, state, batch, weight, state.step / steps)
        return (state, *coming), out

    first = state, images[rows[0]], noise(state.step), weights[0]
    (state, *_), out = lax.scan(body, first, (jnp.roll(rows, -1, 0), jnp.roll(weights, -1, 0)))
    return state, out


NOISE = objective.noise


def halves_on_devices(mesh: Mesh) -> Callable[..., Any]:
    """`step.epoch` whose batches are shared out among devices; XLA sums the gradients."""
    sharded = NamedSharding(mesh, PartitionSpec("batch"))

    def epoch(program: Any, hyper: Any, state: Any, order: Any, images: Any) -> Any:
        rows, weights = step.batches(order, program.batch_size)

        def body(state: Any, batch: Any) -> Any:
            x = lax.with_sharding_constraint(images[lax.with_sharding_constraint(batch[0], sharded)], sharded)
            return step.train_step(program, hyper, state, x, batch[1], state.step / len(rows))

        return lax.scan(body, state, (rows, weights))

    return epoch


def halves_in_one_product(program: Any, hyper: Any, state: Any, order: Any, images: Any) -> Any:
    """`step.epoch` whose gradient is the sum of those of two halves of a batch, vmapped."""
    value_and_grad = jax.value_and_grad

    def in_halves(function: Any, argnums: int, has_aux: bool) -> Any:
        gradient = value_and_grad(function, argnums=argnums, has_aux=has_aux)

        def both(program: Any, hyper: Any, parameters: Any, images: Any, weights: Any, keys: Any, time: Any) -> Any:
            x, w = images.reshape(2, -1, *images.shape[1:]), weights.reshape(2, -1)
            pairs = jax.vmap(jax.random.split)(jnp.stack(keys))
            half = functools.partial(gradient, program, hyper, parameters)
            out = jax.vmap(lambda x, w, a, b: half(x, w, (a, b), time))(x, w, pairs[0], pairs[1])
            return jax.tree.map(lambda leaf: leaf.mean(0), out)

        return both

    with mock.patch.object(jax, "value_and_grad", in_halves):
        return step.epoch(program, hyper, state, order, images)


def seconds_of(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - started


def beside(train: Callable[[], Any], evaluate: Callable[[], Any]) -> None:
    """Both at once, each from a thread."""
    thread = threading.Thread(target=lambda: jax.block_until_ready(evaluate()))
    thread.start()
    jax.block_until_ready(train())
    thread.join()


def variants() -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    """What is timed, by name, each an epoch; and the evaluation."""
    program, hyper, state, order, images, held_out = prepare()
    device, mesh = jax.devices()[0], Mesh(np.array(jax.devices()[:2]), ("batch",))
    on_one = jax.device_put((hyper, state, order, images), device)
    on_both = jax.device_put((hyper, state, order, images), NamedSharding(mesh, PartitionSpec()))
    made = {
        "as it is": (step.epoch, on_one),
        "next batch and noise ahead": (ahead, on_one),
        "halves of a batch on two devices": (halves_on_devices(mesh), on_both),
        "halves of a batch in one vmapped product": (halves_in_one_product, on_one),
    }
    compiled = {
        name: functools.partial(jax.jit(functools.partial(function, program)).lower(*arguments).compile(), *arguments)
        for name, (function, arguments) in made.items()
    }
    rows, time_now = np.array([0, len(held_out)], np.int32), np.float32(1)
    arguments = (on_one[0], on_one[1].parameters, jax.device_put(held_out, device), rows, time_now)
    judge = jax.jit(functools.partial(step.evaluate, program)).lower(*arguments).compile()
    return compiled, functools.partial(judge, *arguments)


def main() -> None:
    """A table of medians with their spread, and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/lone_run.json"))
    args = parser.parse_args()
    threads.set_count()
    jax.config.update("jax_num_cpu_devices", 2)
    functions, evaluate = variants()
    parameters = {name: jax.tree.leaves(run()[0].parameters) for name, run in functions.items()}
    bits = {
        name: all(np.array_equal(a, b) for a, b in zip(leaves, parameters["as it is"], strict=True))
        for name, leaves in parameters.items()
    }
    epoch = functions["as it is"]
    functions["epoch, then validation"] = lambda: (jax.block_until_ready(epoch()), evaluate())
    functions["validation beside the next epoch"] = lambda: beside(epoch, evaluate) or ()
    base = dict.fromkeys(functions, "as it is") | {"validation beside the next epoch": "epoch, then validation"}
    rounds = [{name: seconds_of(run) for name, run in functions.items()} for _ in range(args.rounds + 1)][1:]
    print("| | seconds | speed / as it is (rounds) | bits |\n|---|---|---|---|")
    for name in functions:
        ratios = [each[base[name]] / each[name] for each in rounds]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        same = {True: "the same", False: "others"}[bits.get(name, True)]
        print(f"| {name} | {statistics.median(each[name] for each in rounds):.2f} | {spread} | {same} |")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"rounds": rounds, "bits": bits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
