"""The states of a pack's runs: those from which it begins, and those of runs that take a lane of it later."""

from collections.abc import Mapping, Sequence

from vaex.device import compiled, hosts, mesh
from vaex.disk import progress
from vaex.disk.directory import Job, type_of_device
from vaex.disk.progress import Found
from vaex.training.company import Company
from vaex.training.member import Member, host_copy
from vaex.vae import pack, step
from vaex.vae.step import TrainState


def first(members: Sequence[Member], company: Company, device: type_of_device) -> TrainState:
    """Fresh, or of the newest epoch from which all can go on."""
    found, states, made = _found([member.job for member in members]), [], {}
    for index, member in enumerate(members):
        begins = step.beginning(member.program), member.config.seed
        fresh = made.get(begins)
        if fresh is None:  # lanes that begin alike share it: it is copied when they are stacked
            fresh = made[begins] = compiled.init(member.program, member.hyper.seed)
        states.append(fresh)
        with member.guarded():
            states[index] = member.state(found[index] if found else None, fresh)
    state = pack.stack(company.program, states, company.choice.lanes) if company.stacked else states[0]
    return mesh.put(hosts.of_first(state), device)


def _found(jobs: Sequence[Job]) -> Sequence[Found | None]:
    """The checkpoints to go on from: all of one epoch, or each run's newest where one has taken its lane later."""
    if staggered(jobs):
        return [next(iter(progress.newest_common([job.directory])), None) if job.goes_on else None for job in jobs]
    if not all(job.resumed for job in jobs):
        return []
    return progress.newest_of_pack([job.directory for job in jobs], [job.ghost for job in jobs])


def staggered(jobs: Sequence[Job]) -> bool:
    """Whether the runs of a pack are at epochs of their own."""
    return any(job.refilled and not job.ghost for job in jobs)


def with_fresh(state: TrainState, new: Mapping[int, Member], device: type_of_device) -> TrainState:
    """A pack's state with runs that begin in some of its lanes."""
    host = host_copy(state)
    for index, member in new.items():
        with member.guarded():
            pack.take_lane(host, index, member.state(None, compiled.init(member.program, member.hyper.seed)))
    return mesh.put(host, device)
