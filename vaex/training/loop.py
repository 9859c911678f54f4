"""Training: a pack of runs goes through open, epochs, close. On a CPU a pack is one run.

The device work is compiled (`device/compiled.py`), what a run leaves on disk is its `Member`'s.
"""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from vaex.data.dataset import Dataset
from vaex.device import compilation, compiled, hosts, mesh
from vaex.device.compiled import Compiled
from vaex.device.datasets import load, on_device
from vaex.device.memory import TooLargeError, refuse_too_large
from vaex.disk import progress
from vaex.disk.directory import Job, type_of_device
from vaex.stopping.judge import Judge
from vaex.terminal.displays import Display
from vaex.terminal.stop import Stop
from vaex.training.follower import Follower
from vaex.training.member import Member, host_copy
from vaex.vae import pack, step
from vaex.vae.numbers import Numbers
from vaex.vae.step import TrainState

log = logging.getLogger("vaex")

CLOSERS = 8
"""Threads that write the results of a vmapped pack's runs: most of that work is waiting for the disk."""


def train(
    jobs: Sequence[Job], display: Display, stop: Stop, device: type_of_device, steps: int, judge: Judge | None = None
) -> list[str]:
    """Train a pack from opening its directories to its summaries; returns the status of each job.

    `steps` are the optimizer steps of all runs for which its program is compiled, those of other packs too. `judge`
    says after each epoch which runs stop early.

    One that is too large for the device is trained without lanes to spare, then as two, and so on: nothing has been
    written of it by then.
    """
    try:
        return _train(jobs, display, stop, device, steps, judge, spare=True)
    except TooLargeError:
        pass
    try:
        return _train(jobs, display, stop, device, steps, judge, spare=False)
    except TooLargeError as error:
        half = len(jobs) // 2
        log.warning("%d runs in one program: %s; trained as %d and %d", len(jobs), error, half, len(jobs) - half)
        halves = jobs[:half], jobs[half:]
        return [end for part in halves for end in train(part, display, stop, device, steps, judge)]


def _train(
    jobs: Sequence[Job],
    display: Display,
    stop: Stop,
    device: type_of_device,
    steps: int,
    judge: Judge | None,
    *,
    spare: bool,
) -> list[str]:
    dataset, device = load(jobs[0].config.dataset), mesh.of(jobs[0].config, device)
    kind = Member if hosts.leads() else Follower
    members = [kind(job, dataset, display) for job in jobs]
    try:
        for member in members:
            if not member.job.ghost:
                with member.guarded():
                    member.open()
        if hosts.all_agree(any(member.going for member in members)):
            _Pack(members, dataset, stop, device, steps, judge, spare=spare).train()
    except TooLargeError:
        raise
    except Exception as error:  # compilation, device memory: it is all of theirs
        if hosts.several():
            for member in members:
                with member.guarded():
                    member.settle()
            hosts.give_up(error)
        for member in members:
            with member.guarded():
                member.fail(error)
    finally:
        for member in members:
            member.release()
    return [member.summary["status"] if member.summary else "interrupted" for member in members]


class _Pack:
    """Runs that train in one program: alone, or stacked."""

    def __init__(
        self,
        members: Sequence[Member],
        dataset: Dataset,
        stop: Stop,
        device: type_of_device,
        steps: int,
        judge: Judge | None,
        *,
        spare: bool,
    ):
        self.members, self.stop, self.device, self.judge = members, stop, device, judge
        self.stacked = len(members) > 1
        programs, configs = [each.program for each in members], [each.config for each in members]
        self.steps_an_epoch = -(-len(dataset.train.images) // programs[0].batch_size)
        self.sizes = {program.model.latent_dim for program in programs}
        self.choice = self._choose(steps, spare=spare)
        self.numbers = Numbers(
            configs, programs, self.choice.lanes, self.choice.latents, functools.partial(mesh.put, device=device)
        )
        self.program = self.numbers.program
        self.images, self.held_out = on_device(dataset, device)
        self.first_test_row = len(dataset.valid.images)
        images = self.images, self.held_out
        self.functions = Compiled(
            self.program, self.numbers.at(np.ones(len(members))), *images, device, self.choice.options
        )

    def _choose(self, steps: int, *, spare: bool) -> compilation.Choice:
        """How the program is compiled: as it was, where runs are made again."""
        config, runs = self.members[0].config, len(self.members)
        record = next((member.job.program for member in self.members if member.job.program is not None), None)
        if record is not None:
            return compilation.recorded(record, runs, self.sizes, self.device)
        return compilation.choose(config, runs, self.sizes, steps, self.device, spare=spare)

    def train(self) -> None:
        """Open, epochs, close."""
        if self.stacked and not any(member.job.ghost or member.job.resumed for member in self.members):
            refuse_too_large(self.functions.train, step.shapes(self.program), self.device, self.choice.lanes)
        record = pack.describe([each.config for each in self.members]) if self.stacked else None
        program = compilation.record(self.choice, len(self.members), self.sizes, self.device)
        for index, member in enumerate(self.members):
            if member.summary is None:
                with member.guarded():
                    member.begin(record and {"index": index} | record, program)
        state = self._first_state()
        for member in self.members:
            if member.going:
                with member.guarded():
                    member.say_start(program)
        state = self._judged(state)  # a run that goes on may have been cut off between an epoch and its end
        while hosts.all_agree(any(member.going for member in self.members) and not self.stop.asked):
            state = self._judged(self._epoch(state))
        self._close(state, range(len(self.members)))

    def _first_state(self) -> TrainState:
        """Fresh, or of the newest epoch from which all can go on."""
        resumed = all(member.job.resumed for member in self.members)
        places, ghosts = zip(*((member.directory, member.job.ghost) for member in self.members), strict=True)
        found = progress.newest_of_pack(places, ghosts) if resumed else []
        states, made = [], {}
        for index, member in enumerate(self.members):
            begins = step.beginning(member.program), member.config.seed
            fresh = made.get(begins)
            if fresh is None:  # lanes that begin alike share it: it is copied when they are stacked
                fresh = made[begins] = compiled.init(member.program, member.hyper.seed)
            states.append(fresh)
            with member.guarded():
                states[index] = member.state(found[index] if found else None, fresh)
        state = pack.stack(self.program, states, self.choice.lanes) if self.stacked else states[0]
        state = hosts.of_first(state)
        for member in self.members:
            if isinstance(member, Follower):
                member.caught_up(state, int(state.step) // self.steps_an_epoch)
        return mesh.put(state, self.device)

    def _epoch(self, state: TrainState) -> TrainState:
        """One epoch and its validation, taken in by every run that is going."""
        order, train = self.functions.order, self.functions.train  # waits for the compiler, which no time contains
        number = (np.asarray(state.step) // self.steps_an_epoch).astype(np.int32)
        hyper = self.numbers.at(number + 1)
        started = time.perf_counter()
        state, steps = train(hyper, state, order(hyper.seed, number), self.images)
        jax.block_until_ready(steps)
        trained = time.perf_counter() - started
        evaluate = self.functions.evaluate  # waits likewise
        started = time.perf_counter()
        means = self._evaluate(evaluate, state, 0, self.first_test_row)
        steps = jax.device_get(steps)
        seconds = trained + time.perf_counter() - started
        copy = functools.cache(functools.partial(host_copy, state))
        for member in self.members if self.stacked else ():  # so that all have a checkpoint in common at any moment
            if member.going:
                with member.guarded():
                    member.settle()
        for index, member in enumerate(self.members):
            if member.going:
                with member.guarded():
                    own = functools.partial(self._own, copy, index)
                    member.epoch(self._part(steps, index), self._part(means, index), trained, seconds, own)
                    self.stop.by_policy |= member.frozen and member.config.training.on_nonfinite == "raise"
        return state

    def _judged(self, state: TrainState) -> TrainState:
        """The state after an epoch, with the lanes standing still of runs that their sweep's rule has stopped.

        Those are closed at once while others go on; what all of them have come to is known before any is judged.
        """
        if self.judge is None:
            return state
        there = [member for member in self.members if member.summary is None and member.progress.rows]
        for member in there:
            self.judge.tell(member.job, member.progress.rows[-1], member.frozen)
        for member in there:
            if member.going:
                with member.guarded():
                    member.stopped = self.judge.ask(member.job, len(member.progress.rows))
        stopped = [index for index, member in enumerate(self.members) if member.stopped and member.summary is None]
        if not stopped or not any(member.going for member in self.members):
            return state
        self._close(state, stopped)
        frozen = np.array(state.frozen)
        frozen[stopped] = True
        return state._replace(frozen=mesh.put(frozen, self.device))

    def _close(self, state: TrainState, some: Sequence[int]) -> None:
        """Of some runs: test values where one has come to its end, then what each leaves behind."""
        done = any(
            len(self.members[index].progress.rows) == self.members[index].config.training.epochs for index in some
        )
        means = None
        if hosts.all_agree(done):
            means = self._evaluate(self.functions.evaluate, state, self.first_test_row, len(self.held_out))
        copy = functools.cache(functools.partial(host_copy, state))
        copy()

        def close(index: int) -> None:
            member = self.members[index]
            with member.guarded():
                if member.summary is None:
                    member.close(self._own(copy, index), None if means is None else self._part(means, index), self.stop)

        with ThreadPoolExecutor(CLOSERS if self.stacked else 1, thread_name_prefix="close") as closers:
            list(closers.map(close, some))

    def _own(self, copy: Callable[[], TrainState], index: int) -> TrainState:
        """One run's state from a host copy of the pack's."""
        return pack.unstack(self.members[index].program, copy(), index) if self.stacked else copy()

    def _part(self, tree: Any, index: int) -> Any:
        """One run's statistics; of the KL per latent only those that it has."""
        if not self.stacked:
            return tree
        part = jax.tree.map(lambda leaf: leaf[index], tree)
        latents = self.members[index].config.model.latent_dim
        return {name: value[:latents] if name == "kl_per_latent" else value for name, value in part.items()}

    def _evaluate(self, evaluate: Callable[..., Any], state: TrainState, first: int, end: int) -> dict[str, np.ndarray]:
        """The means over rows `first` to `end` of the images that are held out from training."""
        rows = np.array([first, end], np.int32)
        numbers = step.weighed(self.numbers.at((np.asarray(state.step) - 1) // self.steps_an_epoch + 1), state)
        return jax.device_get(evaluate(numbers, state.parameters, self.held_out, rows, self._time(state)))

    def _time(self, state: TrainState) -> PyTree:
        """When the last step was, in epochs, for each run."""
        return ((np.asarray(state.step) - 1) / self.steps_an_epoch).astype(np.float32)
