"""What the statistics and the non-finite policy cost: the full epoch against a bare one, interleaved in one process.

    .venv/bin/python tests/benchmarks/step_cost.py [--rounds 9]

The bare epoch is the same scan with the loss as its only output: no norms, no σ statistics, no checks, no freezing.
Each further row puts one part back. Ratios of medians; the machine's absolute speed means nothing here.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from hydra._internal.utils import get_args_parser
from jax import lax

from vaex.config import implementation
from vaex.config.compose import compose
from vaex.device.datasets import load
from vaex.disk import threads
from vaex.vae import learning_rate, objective, step

VARIANTS = ("bare", "norms", "statistics", "policy", "full")


def epoch(program: Any, variant: str, hyper: Any, state: Any, order: jax.Array, images: jax.Array) -> tuple[Any, Any]:
    """`step.epoch` with only the parts of `variant`."""
    if variant == "full":
        return step.epoch(program, hyper, state, order, images)
    steps = -(-images.shape[0] // program.batch_size)
    optimizer = implementation(program.optimizer).direction(program.optimizer)

    def body(state: Any, batch: Any) -> tuple[Any, Any]:
        rows, weights = batch
        time = state.step / steps
        keys = jax.random.fold_in(jax.random.key(hyper.seed), state.step), jax.random.key(0)
        (loss, terms), gradients = jax.value_and_grad(objective.objective, argnums=2, has_aux=True)(
            program, hyper, state.parameters, images[rows], weights, keys, time
        )
        direction, after = optimizer.update(gradients, state.optimizer, state.parameters)
        rate = learning_rate.at(hyper.learning_rate, time)
        updates = jax.tree.map(lambda d: -rate * d, direction)
        parameters = optax.apply_updates(state.parameters, updates)
        out = {"loss": loss}
        if variant == "statistics":
            out |= terms._asdict()
        if variant == "norms":
            out |= {"grad_norm": step.norm(gradients), "update_norm": step.norm(updates)}
        if variant == "policy":
            finite = [jnp.isfinite(loss)] * 3
            made = state._replace(parameters=parameters, optimizer=after)
            return step.advance(state, made, finite, jnp.bool_(True), hyper.max_skips)[0], out
        return state._replace(parameters=parameters, optimizer=after, step=state.step + 1), out

    return lax.scan(body, state, step.batches(order, program.batch_size))


def main() -> None:
    """Print a markdown table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    threads.set_count()
    (config,) = compose(get_args_parser().parse_args([])).jobs
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    images = jax.device_put(dataset.train.images)
    state, order = step.init(program, hyper.seed), step.order(hyper.seed, jax.numpy.int32(0), len(images))
    compiled: dict[str, Callable[..., Any]] = {
        name: jax.jit(epoch, static_argnums=(0, 1)).lower(program, name, hyper, state, order, images).compile()
        for name in VARIANTS
    }
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name in VARIANTS:
            start = time.perf_counter()
            jax.block_until_ready(compiled[name](hyper, state, order, images))
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| epoch | seconds (median) | ratio to bare |\n|---|---|---|")
    for name, median in medians.items():
        ratios = sorted(a / b for a, b in zip(seconds[name], seconds["bare"], strict=True))
        print(f"| {name} | {median:.3f} | {statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f}) |")
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
