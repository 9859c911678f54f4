"""A run trained again up to one step, from its last checkpoint before it, and whether it came out bit for bit.

`stretch` is the loop of `step.epoch` from any step to any other: its length is an argument, so that one program serves
whole epochs and single steps. That it computes the run's bits is not assumed: every statistic of every step is
compared with what the run recorded.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Num, PyTree, UInt

from vaex.config import Config, schedule
from vaex.device import compilation, compiled, mesh, placement
from vaex.device.datasets import load, on_device
from vaex.disk import progress
from vaex.disk.directory import Job, type_of_device
from vaex.disk.metrics import STEP_COLUMNS
from vaex.errors import InputError
from vaex.training.run import with_its_pack
from vaex.vae import objective, pack, step
from vaex.vae.numbers import Numbers
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

HISTORY = 20
"""Steps before the place whose states are kept."""


class Replay(NamedTuple):
    """A run's way to a step: the states before the last steps, by step (from 1), and their batches.

    `start` is the number of steps taken at the checkpoint it set out from, `origin` says which; `steps` are statistics
    of the steps after it. `lanes` is how many runs shared the program.
    """

    program: Program
    hyper: Hyper
    start: int
    origin: str
    lanes: int
    beginning: TrainState
    states: dict[int, TrainState]
    rows: dict[int, Int[np.ndarray, " batch"]]
    steps: dict[str, np.ndarray]


def stretch(
    program: Program,
    hyper: Hyper,
    state: TrainState,
    order: Int[Array, " N"],
    images: Num[Array, "N H W C"],
    first: Int[Array, ""],
    end: Int[Array, ""],
) -> tuple[TrainState, dict[str, Array]]:
    """Steps `first` to `end` (from 0, less the last) of an epoch; statistics of all its steps, zeros of the others."""
    rows, weights = step.batches(order, program.batch_size)
    steps = rows.shape[0]

    def taken(state: TrainState, number: Any) -> tuple[TrainState, dict[str, Array]]:
        return step.train_step(program, hyper, state, images[rows[number]], weights[number], state.step / steps)

    def body(number: Any, carried: tuple[TrainState, dict[str, Array]]) -> tuple[TrainState, dict[str, Array]]:
        state, found = taken(carried[0], number)
        return state, {name: column.at[number].set(found[name]) for name, column in carried[1].items()}

    of_one = jax.eval_shape(taken, state, jax.ShapeDtypeStruct((), jnp.int32))[1]
    columns = {name: jnp.zeros((steps, *each.shape), each.dtype) for name, each in of_one.items()}
    return lax.fori_loop(first, end, body, (state, columns))


def stretch_of_pack(program: Program, hyper: Hyper, state: TrainState, order: Any, images: Any, *ends: Any) -> Any:
    """`stretch` of every run of a pack, over the same images, each in its own order."""
    axes = (0, 0, 0, None, None, None)
    return jax.vmap(functools.partial(stretch, program), in_axes=axes)(hyper, state, order, images, *ends)


def _order(count: int, seed: UInt[Array, "..."], number: Int[Array, "..."]) -> Int[Array, "..."]:
    return (pack if seed.ndim else step).order(seed, number, count)


def replay(directory: Path, config: Config, manifest: Mapping[str, Any], place: int, device: type_of_device) -> Replay:
    """Train a run again up to and with step `place`, in the pack it was in, from its last checkpoint before it."""
    count = len(load(config.dataset).train.images)
    an_epoch = -(-count // config.training.batch_size)
    epoch, wished = (place - 1) // an_epoch, max(0, place - 1 - HISTORY) // an_epoch
    jobs, founds = _members(Job(config, directory, f"{directory}", resumed=True), manifest, epoch, wished)
    return _Way(jobs, founds, device).to(place)


def _members(
    job: Job, manifest: Mapping[str, Any], epoch: int, wished: int
) -> tuple[list[Job], list[progress.Found | None]]:
    """The runs of the pack, and their checkpoints of at most `epoch`; none where they begin from the start.

    Of the epoch `wished`, where there are, so that enough steps lie before the place.
    """
    try:
        jobs = with_its_pack(job, manifest)
    except InputError:  # the others are not beside it: the pack is made again from its beginning
        return with_its_pack(replace(job, resumed=False), manifest), []
    places, ghosts = [each.directory for each in jobs], [each.ghost for each in jobs]
    earlier = progress.newest_of_pack(places, ghosts, wished) if wished else []
    if wished == 0 or any(found and found[1]["epoch"] == wished for found in earlier):
        return jobs, earlier
    return jobs, progress.newest_of_pack(places, ghosts, epoch)


class _Way:
    """One way from a checkpoint on."""

    def __init__(self, jobs: Sequence[Job], founds: Sequence[progress.Found | None], device: type_of_device):
        dataset = load(jobs[0].config.dataset)
        self.own = next(index for index, job in enumerate(jobs) if not job.ghost)
        self.programs = [objective.program(job.config, dataset.shape) for job in jobs]
        sizes = {program.model.latent_dim for program in self.programs}
        choice = compilation.recorded(jobs[self.own].program or {}, len(jobs), sizes, device)
        self.configs = [job.config for job in jobs]
        self.numbers = Numbers(
            self.configs, self.programs, choice.lanes, choice.latents, functools.partial(mesh.put, device=device)
        )
        self.program = self.numbers.program
        self.stacked, self.device, self.options = len(jobs) > 1, device, choice.options
        placement.refuse_streamed(jobs[0].config, device, "a run that is trained again step by step")
        self.dataset, self.images = dataset, on_device(dataset, device)[0]
        self.an_epoch = -(-len(dataset.train.images) // self.program.batch_size)
        begun = zip(self.programs, map(objective.hyper, self.configs), strict=True)
        states = [compiled.init(program, hyper.seed) for program, hyper in begun]
        for index, found in enumerate(founds):
            states[index] = progress.state_of(jobs[index].directory, found, states[index]) if found else states[index]
        self.state = jax.device_put(
            pack.stack(self.program, states, choice.lanes) if self.stacked else states[0], device
        )
        self.start = int(states[self.own].step)
        found = founds[self.own] if founds else None
        self.origin = f"the checkpoint of epoch {found[1]['epoch']}" if found else "the start"

    def to(self, place: int) -> Replay:
        """All steps up to and with `place`."""
        states, rows, parts, beginning = {}, {}, [], self._part(self.state)
        for number in range(self.start // self.an_epoch, (place - 1) // self.an_epoch + 1):
            before = number * self.an_epoch  # steps of earlier epochs
            order = self._order()
            end = min(self.an_epoch, place - before)
            kept = range(max(0, place - 1 - HISTORY - before), end)
            for first, last in itertools.pairwise(sorted({0, *kept, end})):
                if first in kept:
                    states[before + first + 1] = self._part(self.state)
                    rows[before + first + 1] = self._rows(order, first)
                self.state, found = self._stretch(order, first, last)
                parts.append({name: column[first:last] for name, column in self._part(found, grown=True).items()})
        steps = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        epoch = (place - 1) // self.an_epoch + 1
        program, hyper = self.programs[self.own], objective.hyper(schedule.at(self.configs[self.own], epoch))
        lanes = len(self.programs)
        return Replay(program, hyper, self.start, self.origin, lanes, beginning, states, rows, steps)

    def _order(self) -> Array:
        number = (np.asarray(self.state.step) // self.an_epoch).astype(np.int32)
        self.hyper = self.numbers.at(number + 1)
        arguments = self.hyper.seed, jax.device_put(number, self.device)
        whole = functools.partial(compiled.ahead, _order, (len(self.images),))
        return placement.order(self.dataset, *arguments, lambda *given: whole(given, self.device)(*given), self.device)

    def _stretch(self, order: Array, first: int, end: int) -> tuple[TrainState, dict[str, Array]]:
        function = stretch_of_pack if self.stacked else stretch
        ends = jax.device_put((np.int32(first), np.int32(end)), self.device)
        arguments = self.hyper, self.state, order, self.images, *ends
        return compiled.ahead(function, (self.program,), arguments, self.device, self.options)(*arguments)

    def _part(self, tree: PyTree, grown: bool = False) -> Any:
        """The run's own part of a pack's state, or of its statistics, on the host."""
        if not self.stacked:
            return jax.tree.map(np.array, tree)
        if grown:
            return jax.tree.map(lambda leaf: np.array(leaf[self.own]), tree)
        return pack.unstack(self.programs[self.own], jax.tree.map(np.array, tree), self.own)

    def _rows(self, order: Array, number: int) -> Int[np.ndarray, " batch"]:
        """Which training images a batch has; the filling of the last one is left out."""
        own = np.asarray(order)[self.own] if self.stacked else np.asarray(order)
        size = self.program.batch_size
        return own[number * size : (number + 1) * size]


def differences(replayed: Replay, recorded: Mapping[str, np.ndarray]) -> tuple[int | None, float]:
    """The first step (from 1) whose statistics are not bit for bit those recorded, None for none, and the largest
    relative difference there.
    """
    count = len(replayed.steps["loss"])
    there = {name: recorded[name][replayed.start : replayed.start + count] for name in STEP_COLUMNS}
    ours = {name: replayed.steps[name].astype(np.float32) for name in STEP_COLUMNS}
    same = np.all([(ours[name] == there[name]) | (np.isnan(ours[name]) & np.isnan(there[name])) for name in ours], 0)
    if same.all():
        return None, 0.0
    first = int(np.argmin(same))
    with np.errstate(all="ignore"):
        pairs = [(np.float64(ours[name][first]), np.float64(there[name][first])) for name in ours]
        apart = [float(abs(now - then) / abs(then)) for now, then in pairs]  # of a 0 then: not finite
    return replayed.start + first + 1, max((each for each in apart if np.isfinite(each)), default=float("inf"))
