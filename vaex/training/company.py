"""The runs in the lanes of a pack, and the program that they share: who may take a lane of it after another."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from vaex.device import compilation, mesh
from vaex.device.compilation import Choice
from vaex.device.datasets import load
from vaex.disk.directory import Job, type_of_device
from vaex.vae import objective, pack
from vaex.vae.numbers import Numbers
from vaex.vae.objective import Program


class Company:
    """Who is in which lane. `program` and `choice` stay what they were when the pack began, whoever comes and goes."""

    def __init__(
        self, jobs: Sequence[Job], shape: tuple[int, int, int], steps: int, device: type_of_device, *, spare: bool
    ):
        self._shape, self._steps, self._device, self._spare = shape, steps, device, spare
        self.jobs, self._programs = list(jobs), [*map(self._program, jobs)]
        self._known: dict[tuple[Path, ...], bool] = {}
        self.choice = self._chosen(jobs)
        self.number()
        self.program = self.numbers.program

    @property
    def stacked(self) -> bool:
        """Whether it is a vmapped pack."""
        return len(self.jobs) > 1

    def number(self) -> None:
        """Make the numbers of those that are in the lanes now."""
        configs, put = [job.config for job in self.jobs], functools.partial(mesh.put, device=self._device)
        self.numbers = Numbers(configs, self._programs, self.choice.lanes, self.choice.latents, put)

    def records(self, some: Sequence[int]) -> list[dict[str, Any] | None]:
        """What the manifests of the runs in some lanes say of their pack, if they have one: who is in it now."""
        if not self.stacked:
            return [None for _ in some]
        record = pack.describe([job.config for job in self.jobs])
        later = {"refilled": True}
        return [{"index": index} | record | (later if self.jobs[index].refilled else {}) for index in some]

    def compiled(self) -> dict[str, Any] | None:
        """What manifests say of how the program is compiled."""
        return compilation.record(self.choice, len(self.jobs), self._sizes(self.jobs), self._device)

    def alike(self, jobs: Sequence[Job]) -> bool:
        """Whether a fresh pack of these jobs would have this very program, so that all bits would be the same here."""
        key = tuple(job.directory for job in jobs)  # asked for each free lane
        if key not in self._known:
            merged = pack.merge([*map(self._program, jobs)], self.choice.latents)
            self._known[key] = self._chosen(jobs) == self.choice and merged == self.program
        return self._known[key]

    def fits(self, index: int, job: Job) -> bool:
        """Whether the program stays what it is, also when it is made again from the record, with this job in a lane."""
        program = self._program(job)
        if pack.shared(program, job.config) != pack.shared(self._programs[0], self.jobs[0].config):
            return False
        sizes = self._sizes([*self.jobs[:index], job, *self.jobs[index + 1 :]])
        if not max(sizes) <= self.choice.latents <= compilation.most_latents(sizes):
            return False
        record = compilation.record(self.choice, len(self.jobs), sizes, self._device)
        if compilation.recorded(record or {}, len(self.jobs), sizes, self._device) != self.choice:
            return False
        programs = [*self._programs[:index], program, *self._programs[index + 1 :]]
        return pack.merge(programs, self.choice.latents) == self.program

    def take(self, index: int, job: Job) -> None:
        """Let a job that fits have a lane; `number` when all have theirs."""
        self.jobs[index], self._programs[index] = job, self._program(job)

    def _chosen(self, jobs: Sequence[Job]) -> Choice:
        """How the program is compiled: as it was, where runs are made again."""
        sizes = self._sizes(jobs)
        record = next((job.program for job in jobs if job.program is not None), None)
        if record is not None:
            return compilation.recorded(record, len(jobs), sizes, self._device)
        return compilation.choose(jobs[0].config, len(jobs), sizes, self._steps, self._device, spare=self._spare)

    def _sizes(self, jobs: Sequence[Job]) -> set[int]:
        return {job.config.model.latent_dim for job in jobs}

    def _program(self, job: Job) -> Program:
        return objective.program(job.config, self._shape)


def with_refilled(packs: Sequence[list[Job]], others: Sequence[list[Job]]) -> list[list[Job]]:
    """The packs, and `others`, each of one run among ghosts, which takes its lane of one where that fits."""
    found = [list(jobs) for jobs in packs]
    for jobs in others:
        index = next(place for place, job in enumerate(jobs) if not job.ghost)
        fitting = next((there for there in found if _has_room(there, index, jobs)), None)
        if fitting:
            fitting[index] = jobs[index]
        else:
            found.append(jobs)
    return found


def _has_room(there: Sequence[Job], index: int, jobs: Sequence[Job]) -> bool:
    """Whether a lane of a pack is free, and its program that of the other pack with the job there."""
    if len(there) != len(jobs) or not there[index].ghost:
        return False
    shape = load(jobs[0].config.dataset).shape
    company = Company(there, shape, 0, jax.devices()[0], spare=False)
    return company.alike(jobs) and company.fits(index, jobs[index])
