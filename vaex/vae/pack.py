"""Packs: which runs share one vmapped program, and their states side by side in it. Pure.

Runs of a pack differ in numbers only: seed, latents, learning rate, KL weight, clip, free bits, and the loss, which
`lax.switch` chooses. Each run is initialised at its true size and padded with zeros; the noise is drawn latents first,
so its first K rows are those of the run alone; surplus latents are masked where they enter and leave the objective
(`objective.real_latents`). So padded weights have gradient 0 and stay exactly 0.

What a vmapped run promises: its first step within 1e-6 of the run alone, five steps within 1e-5, final values inside
the spread of seeds (batched products sum in another order, and training is chaotic). On a CPU packs have one run,
which is the run alone, bit for bit; `pack.strategy=vmap` asks for the other path there too.
"""

import copy
import functools
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PyTree, UInt

from vaex import config as configuration
from vaex.config import Config, later
from vaex.errors import InputError
from vaex.vae import step
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

MOST_RUNS = 100_000
"""No manifest can ask for a larger pack."""

STATES_IN_FLIGHT = 6
"""Copies of a run's state in memory while it trains: state, next state, gradient, direction, update, a spare."""


def shared(program: Program, config: Config) -> Hashable:
    """What all runs of a pack have in common; equal for two runs that may share one."""
    model = program.model
    if getattr(program.optimizer, "epsilon", 1.0) > 0:  # without it a padded weight's update is 0/0: sizes stay apart
        model = replace(model, latent_dim=1)
    common = replace(program, model=model, losses=())
    return (
        common,
        config.dataset,
        config.training.epochs,
        config.training.on_nonfinite,
        config.checkpoint,
        config.compile,
    )


def merge(programs: Sequence[Program], latents: int | None = None) -> Program:
    """The one program of a pack: as many latents as its largest run, or more, and every loss that one of them uses."""
    sizes = {program.model.latent_dim for program in programs}
    return replace(
        programs[0],
        model=replace(programs[0].model, latent_dim=latents or max(sizes)),
        losses=tuple(dict.fromkeys(program.losses[0] for program in programs)),
        padded=len(sizes) > 1,
    )


def joined(
    programs: Sequence[Program], hypers: Sequence[Hyper], lanes: int | None = None, latents: int | None = None
) -> tuple[Program, Hyper]:
    """What a pack's runs are compiled for: the one run as it is, or all of them merged and stacked.

    More `lanes` than runs are filled up with copies of the first run's numbers.
    """
    if len(programs) == 1:
        return programs[0], hypers[0]
    merged = merge(programs, latents)
    spare = (lanes or len(programs)) - len(programs)
    return merged, stack_hypers(merged, [*programs, *[programs[0]] * spare], [*hypers, *[hypers[0]] * spare])


def stack_hypers(merged: Program, programs: Sequence[Program], hypers: Sequence[Hyper]) -> Hyper:
    """The runs' numbers along a first axis, each with its loss's place in the merged program."""
    chosen = [
        hyper._replace(loss=jnp.int32(merged.losses.index(program.losses[0])))
        for program, hyper in zip(programs, hypers, strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)


def stack(merged: Program, states: Sequence[TrainState], lanes: int | None = None) -> TrainState:
    """The runs' states along a first axis, padded with zeros to the merged program's sizes.

    More `lanes` than runs are filled up with copies of the first one that stand still.
    """
    template = step.shapes(merged)
    spare = (lanes or len(states)) - len(states)
    states = [*states, *[states[0]._replace(frozen=np.bool_(True))] * spare]

    def grow(leaf: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
        grown = np.zeros(like.shape, like.dtype)
        grown[tuple(map(slice, leaf.shape))] = leaf
        return grown

    padded = [jax.tree.map(grow, state, template) for state in states]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *padded)


def unstack(program: Program, stacked: PyTree, index: int) -> PyTree:
    """One run's state out of a pack's, at its true size; `stacked` may be the state itself or its host copy."""
    template = step.shapes(program)
    return jax.tree.map(lambda leaf, like: leaf[(index, *map(slice, like.shape))], stacked, template)


def take_lane(stacked: TrainState, index: int, state: TrainState) -> None:
    """Put one run's state, padded with zeros, into a lane of a pack's, which is a host copy of it."""
    for leaf, own in zip(jax.tree.leaves(stacked), jax.tree.leaves(state), strict=True):
        leaf[index] = 0
        leaf[(index, *map(slice, own.shape))] = own


def order(seeds: UInt[Array, " runs"], numbers: Int[Array, " runs"], count: int) -> Int[Array, "runs count"]:
    """`step.order` of every run of a pack."""
    return jax.vmap(functools.partial(step.order, count=count))(seeds, numbers)


def epoch(
    program: Program, hyper: Hyper, state: TrainState, order: Int[Array, "runs N"], images: Num[Array, "N H W C"]
) -> tuple[TrainState, dict[str, Array]]:
    """`step.epoch` of every run of a pack, over the same images, each in its own order."""
    return jax.vmap(functools.partial(step.epoch, program), in_axes=(0, 0, 0, None))(hyper, state, order, images)


def evaluate(
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    images: Num[Array, "N H W C"],
    rows: Int[Array, "2"],
    time: Float[Array, " runs"],
) -> dict[str, Array]:
    """`step.evaluate` of every run of a pack, over the same rows; `time` has one entry a run."""
    of_runs = jax.vmap(functools.partial(step.evaluate, program), in_axes=(0, 0, None, None, 0))
    return of_runs(hyper, parameters, images, rows, time)


def bytes_of_run(program: Program, rows: int) -> int:
    """About how much memory one more run of a pack takes: states, activations of a batch, the order of the rows."""
    state = step.shapes(program)
    numbers = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    pixels = int(np.prod(program.shape))
    widths = sum(leaf.shape[-1] for leaf in jax.tree.leaves(state.parameters) if leaf.ndim == 2)
    activations = program.batch_size * (4 * pixels + 4 * widths) * 4
    return STATES_IN_FLIGHT * numbers + activations + 4 * rows * 4


def describe(configs: Sequence[Config]) -> dict[str, Any]:
    """What manifests say of a vmapped pack: its size, and the values in which its runs differ, in order."""
    plain = [configuration.identifying(config) for config in configs]
    if any(config.schedule for config in configs):  # no part of an identity where there is none
        plain = [later.LATER_KEYS | each for each in plain]
    columns: dict[str, list[Any]] = {}
    for key in plain[0]:
        values = [each[key] for each in plain]
        if isinstance(values[0], dict) and len({tuple(value) for value in values}) == 1:
            columns |= {f"{key}.{name}": [value[name] for value in values] for name in values[0]}
        else:
            columns[key] = values
    differ = {key: values for key, values in columns.items() if any(value != values[0] for value in values)}
    return {"runs": len(configs), "differ": differ}


def described(record: dict[str, Any], own: dict[str, Any]) -> list[dict[str, Any]]:
    """The plain configurations of all runs of a recorded pack, from that of one of them; `InputError` if damaged.

    What was recorded may be of a version that knew fewer keys.
    """
    try:
        count, differ = record["runs"], dict(record["differ"])
        if not 0 <= record["index"] < count <= MOST_RUNS:
            raise ValueError(f"run {record['index']} of {count}")
        members = [copy.deepcopy(own) for _ in range(count)]
        for key, values in differ.items():
            section, _, name = key.partition(".")
            for plain, value in zip(members, values, strict=True):
                if name:
                    plain[section][name] = value
                else:
                    plain[section] = value
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"manifest.json: its pack cannot be rebuilt ({error})") from error
    return [later.with_keys(plain) for plain in members]
