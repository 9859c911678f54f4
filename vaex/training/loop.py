"""Training: a pack of runs goes through open, epochs, close. On a CPU a pack is one run.

The device work is compiled (`device/compiled.py`), what a run leaves on disk is its `Member`'s.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from vaex.data.dataset import Dataset
from vaex.device import feeding, hosts, mesh
from vaex.device.datasets import load
from vaex.device.memory import TooLargeError, refuse_too_large
from vaex.disk.directory import Job
from vaex.training import states
from vaex.training.company import Company
from vaex.training.follower import Follower
from vaex.training.member import Member, host_copy
from vaex.training.packs import Host, Room
from vaex.vae import pack, step
from vaex.vae.step import TrainState

log = logging.getLogger("vaex")

CLOSERS = 8
"""Threads that write the results of a vmapped pack's runs: most of that work is waiting for the disk."""


def train(jobs: Sequence[Job], host: Host) -> None:
    """Train a pack from opening its directories to its summaries.

    One that is too large for the device is trained without lanes to spare, then as two, and so on: nothing has been
    written of it by then.
    """
    try:
        return _train(jobs, host, spare=True)
    except TooLargeError:
        pass
    try:
        return _train(jobs, host, spare=False)
    except TooLargeError as error:
        half = len(jobs) // 2
        log.warning("%d runs in one program: %s; trained as %d and %d", len(jobs), error, half, len(jobs) - half)
        for part in (jobs[:half], jobs[half:]):
            train(part, host)


def _train(jobs: Sequence[Job], host: Host, *, spare: bool) -> None:
    dataset, host = load(jobs[0].config.dataset), replace(host, device=mesh.of(jobs[0].config, host.device))
    kind = Member if hosts.leads() else Follower
    members = [kind(job, dataset, host.display) for job in jobs]
    try:
        for member in members:
            if not member.job.ghost:
                with member.guarded():
                    member.open()
        if hosts.all_agree(any(member.going for member in members)):
            runs = _Pack(members, dataset, host, spare=spare)
            with contextlib.closing(runs.feed):
                runs.train()
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
    host.tell(members)


class _Pack:
    """Runs that train in one program: alone, or stacked."""

    def __init__(self, members: list[Member], dataset: Dataset, host: Host, *, spare: bool):
        """`members` are those in the lanes: one that takes a lane later is in it, too."""
        self.members, self.dataset, self.host = members, dataset, host
        self.stop, self.device, self.judge = host.stop, host.device, host.judge
        jobs = [member.job for member in members]
        self.company = Company(jobs, dataset.shape, host.lane.steps(jobs), host.device, spare=spare)
        self.stacked, self.program = self.company.stacked, self.company.program
        self.steps_an_epoch = -(-len(dataset.train.images) // self.program.batch_size)
        self.placed = feeding.place(jobs[0].config, host.device, self.stacked)
        first, options = self.company.numbers.at(np.ones(len(members))), self.company.choice.options
        self.feed = feeding.feed(self.placed, dataset, self.program, first, host.device, options)

    def train(self) -> None:
        """Open, epochs, close."""
        if self.stacked and not any(member.job.ghost or member.job.resumed for member in self.members):
            lanes = self.company.choice.lanes
            refuse_too_large(self.feed.compiled_train, step.shapes(self.program), self.device, lanes)
        self._begin(range(len(self.members)))
        state = states.first(self.members, self.company, self.device)
        for member in self.members:
            if isinstance(member, Follower):
                member.caught_up(state, int(np.asarray(state.step)) // self.steps_an_epoch)
        self._say_start(range(len(self.members)))
        state = self._judged(state)  # a run that goes on may have been cut off between an epoch and its end
        while hosts.all_agree(any(member.going for member in self.members) and not self.stop.asked):
            state = self._judged(self._epoch(state))
        self._close(state, range(len(self.members)))

    def _begin(self, some: Sequence[int]) -> None:
        """Write the starting files of some runs."""
        program = self.company.compiled()
        for index, record in zip(some, self.company.records(some), strict=True):
            member = self.members[index]
            if member.summary is None:
                with member.guarded():
                    member.begin(record, program, self.placed.name)

    def _say_start(self, some: Sequence[int]) -> None:
        """What the logs of some runs begin with."""
        for member in (self.members[index] for index in some):
            if member.going:
                with member.guarded():
                    member.say_start(self.company.compiled(), self.placed.why)

    def _epoch(self, state: TrainState) -> TrainState:
        """One epoch and its validation, taken in by every run that is going."""
        train = self.feed.train  # waits for the compiler, which no time contains
        number = (np.asarray(state.step) // self.steps_an_epoch).astype(np.int32)
        hyper = self.company.numbers.at(number + 1)
        started = time.perf_counter()
        state, steps = train(hyper, state, number)
        jax.block_until_ready(steps)
        trained = time.perf_counter() - started
        evaluate = self.feed.evaluate  # waits likewise
        started = time.perf_counter()
        means = self._evaluate(evaluate, state, "valid")
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
        """The state after an epoch where a rule stops runs: lanes whose runs have ended stand still, or have others.

        Those that have ended are closed at once while others go on.
        """
        if self.judge is None and not states.staggered(self.company.jobs):
            return state
        self._judge()
        if not any(member.going for member in self.members):
            return state
        ended = [index for index, each in enumerate(self.members) if each.summary is None and not each.going]
        if ended:
            self._close(state, ended)
            frozen = np.array(state.frozen)
            frozen[ended] = True
            state = state._replace(frozen=mesh.put(frozen, self.device))
        return self._refilled(state) if self.judge and not self.stop.asked else state

    def _judge(self) -> None:
        """Ask the rule; what all runs have come to is known before any is judged."""
        if self.judge is None:
            return
        there = [member for member in self.members if member.summary is None and member.progress.rows]
        for member in there:
            self.judge.tell(member.job, member.progress.rows[-1], member.frozen)
        for member in there:
            if member.going:
                with member.guarded():
                    member.stopped = self.judge.ask(member.job, len(member.progress.rows))

    def _refilled(self, state: TrainState) -> TrainState:
        """The state with further jobs in lanes that are free, where there are any and that is cheaper."""
        free = [index for index, member in enumerate(self.members) if member.summary is not None]
        self.host.tell([self.members[index] for index in free])
        new = [index for index in free if self._refill(index)]
        if not new:
            return state
        self.company.number()
        self._begin(new)
        self._say_start(new)
        begun = {index: self.members[index] for index in new if self.members[index].going}
        return states.with_fresh(state, begun, self.device)

    def _refill(self, index: int) -> bool:
        """Give a free lane to a further job; whether there was one."""
        going = [member for member in self.members if member.going]
        epochs = going[0].config.training.epochs
        left = max(epochs - len(member.progress.rows) for member in going)
        free = len(self.members) - len(going)
        fits = functools.partial(self.company.fits, index)
        job = self.host.lane.refill(Room(self.company.jobs, free, left, epochs, self.company.alike, fits))
        if job is None:
            return False
        self.members[index].release()
        member = self.members[index] = Member(replace(job, refilled=True), self.dataset, self.host.display)
        self.company.take(index, member.job)
        with member.guarded():
            member.open()
        return True

    def _close(self, state: TrainState, some: Sequence[int]) -> None:
        """Of some runs: test values where one has come to its end, then what each leaves behind."""
        done = any(
            len(self.members[index].progress.rows) == self.members[index].config.training.epochs for index in some
        )
        means = None
        if hosts.all_agree(done):
            means = self._evaluate(self.feed.evaluate, state, "test")
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

    def _evaluate(self, evaluate: Callable[..., Any], state: TrainState, split: str) -> dict[str, np.ndarray]:
        """The means over a split that is held out from training."""
        numbers = step.weighed(self.company.numbers.at((np.asarray(state.step) - 1) // self.steps_an_epoch + 1), state)
        return evaluate(split, numbers, state.parameters, self._time(state))

    def _time(self, state: TrainState) -> PyTree:
        """When the last step was, in epochs, for each run."""
        return ((np.asarray(state.step) - 1) / self.steps_an_epoch).astype(np.float32)
