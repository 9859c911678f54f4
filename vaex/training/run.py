"""Packs of runs and what surrounds them: worker threads, devices, signals.

`run` is behind every door: a lone run, a sweep, a resumed or reproduced run. Worker threads take packs from a source
and train them while the main thread waits, so that a signal is heard at once: the first asks the running epochs to be
the last ones and saves them, the second ends the process on the spot (every file is whole, so those can be resumed).

On a CPU each worker trains one run at a time, calling the same compiled functions on the same device: XLA computes what
it computes for that run alone, so every run is bit-identical to the lone one. On GPUs there is one worker a device.
"""

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from vaex.config import Config, dump, identity, implementation, parse, schedule
from vaex.device import compilation, hosts, mesh, placement
from vaex.device.datasets import load
from vaex.disk import sweep, threads
from vaex.disk.directory import Job, type_of_device
from vaex.disk.saved import completed
from vaex.errors import ConfigError, DataError, InputError
from vaex.files import first_line
from vaex.stopping.judge import Judge
from vaex.terminal.displays import Display, LoneDisplay
from vaex.terminal.screen import say
from vaex.terminal.stop import Signals
from vaex.training import follower, loop, remarks
from vaex.training.packs import Host, Lane, Listed, Source, program_of
from vaex.vae import objective, pack, step

log = logging.getLogger("vaex")

FILES_A_RUN, FILES_OF_THE_PROCESS = 1, 400
"""Open files: of a run its lock; of Python, JAX, Hydra, and what W&B, checkpoints and figures hold for a moment."""

OF_MEMORY = 0.5
"""The share of a device's memory that a vmapped pack may fill by our estimate."""


class Outcome(NamedTuple):
    """How the jobs ended, by directory, and what ended them all.

    A job is finished, diverged, stopped, interrupted, failed or refused.
    """

    statuses: dict[Path, str]
    signal: int | None
    ended_by_policy: bool


def check(config: Config) -> None:
    """Everything that can be known before a directory exists: devices, data and their range, the model, numbers."""
    mesh.check(config)
    _check_data(config.dataset, config.likelihood)
    own = jax.local_devices()[0]  # of several processes each can ask its own devices only
    placement.refuse_stacked(config, own)
    placement.refuse_shared(config, own)
    step.shapes(program_of(config))
    if not isinstance(getattr(config.model, "latent_dim", None), int):
        raise ConfigError(f"model={config.model.name}: its Config needs latent_dim, the number of latents, an integer")
    try:
        for epoch in (1, *(change.epoch for change in config.schedule)):
            objective.hyper(schedule.at(config, epoch))
    except Exception as error:  # numbers() may be a plugin's, and its Config too: anything can be missing
        raise ConfigError(
            f"kl_weight={config.kl_weight.name}: gives no numbers ({type(error).__name__}: {first_line(error)}); "
            "its Config needs free_bits, and numbers(config) returns floats by their names"
        ) from error
    if hosts.several():  # else the digest is made while programs compile
        follower.agree(config, load(config.dataset).digest)


@functools.cache
def _check_data(dataset: object, likelihood: object) -> None:
    splits = {name: getattr(load(dataset), name).images for name in ("train", "valid", "test")}
    here = f"dataset={dataset.name}"  # pyright: ignore[reportAttributeAccessIssue]
    kinds = ", ".join(f"{name} {images.shape} {images.dtype}" for name, images in splits.items())
    if len({(images.shape[1:], images.dtype) for images in splits.values()}) > 1 or not all(map(len, splits.values())):
        raise DataError(f"{here}: its splits must have images of one shape and dtype, at least one each: {kinds}")
    known = load(dataset).extremes
    for name, images in splits.items() if known is None else [("all splits", known)]:
        implementation(likelihood).check(likelihood, images, f"{here} ({name})")
    remarks.warn(remarks.of(dataset, load(dataset), likelihood))


def run(
    packs: Sequence[Sequence[Job]] | Source,
    display: Display | None = None,
    ended: Callable[[], None] = lambda: None,
    devices: Sequence[type_of_device] | None = None,
    judge: Judge | None = None,
) -> Outcome:
    """Train packs of jobs, one on each of `devices` at a time; a failed one does not stop the others.

    A device named twice trains two at once. `ended` is called when jobs have ended. `judge` says who stops early.
    """
    known = [] if not isinstance(packs, Sequence) else packs
    stop, statuses = Signals(), _statuses(known, "interrupted")
    source = Listed(packs) if isinstance(packs, Sequence) else packs
    shown = display or LoneDisplay()

    def work(device: type_of_device) -> None:
        lane = Lane(source, statuses, ended)
        while not stop.asked:
            jobs = lane.take(stop)
            if jobs is None:
                return
            try:
                loop.train(jobs, Host(shown, stop, device, lane, judge))
            except Exception as error:  # a lane goes on with the next pack, whatever happened to this one
                log.exception("%s: %s: %s", jobs[0].directory, type(error).__name__, error)
            lane.fail()  # of whom nothing has been heard

    chosen = devices or jax.devices()[:1]
    workers = [threading.Thread(target=work, args=(device,), name=f"lane {n}") for n, device in enumerate(chosen)]
    wait(workers, stop)
    hosts.leave()
    return Outcome(statuses, stop.signal, stop.by_policy)


def _statuses(packs: Sequence[Sequence[Job]], status: str) -> dict[Path, str]:
    """This status for each job of some packs, ghosts apart."""
    return {job.directory: status for jobs in packs for job in jobs if not job.ghost}


def wait(workers: Sequence[threading.Thread], stop: Signals) -> None:
    """Run the threads to their end, hearing signals meanwhile."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.1)  # with a time-out: a signal's handler runs between two waits
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lanes(config: Config) -> list[type_of_device]:
    """On which devices a sweep trains, each as often as runs train on it at once."""
    devices = jax.devices()
    if config.training.devices != 1:  # each run takes several, the same as the others
        return devices[:1]
    if not side_by_side(config):
        return devices
    most = threads.count() or threads.cores()
    wanted = config.sweep.lanes or threads.cores()
    if config.sweep.lanes and wanted > most:
        log.warning("sweep.lanes=%d: XLA has %d threads, so %d runs train at once", wanted, most, most)
    return devices[:1] * min(wanted, most)


def side_by_side(config: Config) -> bool:
    """Whether the packs of a sweep train side by side on one device: lone runs on a CPU."""
    on_cpu = jax.devices()[0].platform == "cpu"
    return on_cpu and config.training.devices == 1 and config.pack.strategy != "vmap"


def vmapped(config: Config) -> bool:
    """Whether the jobs of a sweep share programs: not where each streams the images in its own order, or has more
    devices than one.
    """
    if config.training.devices != 1 or placement.of(config, jax.local_devices()[0]).streamed:
        return False
    return (config.pack.strategy or ("lone" if jax.devices()[0].platform == "cpu" else "vmap")) == "vmap"


def group(jobs: Sequence[Job]) -> list[list[Job]]:
    """The packs of a sweep's fresh jobs: one job each, or as many of one program as a device takes."""
    alike: dict[object, list[Job]] = {}
    packs: list[list[Job]] = []
    for job in jobs:
        if vmapped(job.config):
            alike.setdefault(pack.shared(program_of(job.config), job.config), []).append(job)
        else:
            packs.append([job])
    for members in alike.values():
        most = _most_runs(members)
        packs += [members[start : start + most] for start in range(0, len(members), most)]
    return packs


def _most_runs(jobs: Sequence[Job]) -> int:
    """Runs in one vmapped program: `pack.max_runs`, else what memory and open files allow, evenly shared out."""
    config = max((job.config for job in jobs), key=lambda config: config.model.latent_dim)
    if config.pack.max_runs:
        return config.pack.max_runs
    import resource

    dataset = load(config.dataset)
    size = pack.bytes_of_run(program_of(config), len(dataset.train.images))
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
    files = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_OF_THE_PROCESS) // FILES_A_RUN
    most = max(1, min(int(OF_MEMORY * memory / size), files))
    packs = -(-len(jobs) // most)
    room = f"{memory / 1e9:.0f} GB of memory, {files} files"
    say(f"{most} runs of {size / 1e6:.1f} MB each fit in a program ({room}): {len(jobs)} jobs, {packs} packs")
    return -(-len(jobs) // packs)


def with_its_pack(job: Job, manifest: Mapping[str, Any]) -> list[Job]:
    """The job, and as ghosts the runs with which it shared a vmapped program; `InputError` for a damaged record.

    A run that goes on needs theirs: the states from which they go on lie beside it, in its sweep's directory. Where it
    took a lane later, they were at other epochs, and begin anew: lanes do not see each other.
    """
    record = manifest.get("pack")
    job = replace(job, program=compilation.of(manifest), refilled=sweep.has_refilled(record))
    configs = [parse(plain) for plain in pack.described(record, dump(job.config))] if record else [job.config]
    refuse_unknown_program([replace(job, config=config) for config in configs])
    if not record:
        return [job]
    if job.resumed and not job.refilled:
        places = _beside(job, record)
    else:
        places = [job.directory / f"ghost {index}" for index in range(len(configs))]
    ghosts = [
        Job(config, place, job.label, resumed=job.resumed, ghost=True, program=job.program)
        for config, place in zip(configs, places, strict=True)
    ]
    return [job if index == record["index"] else ghost for index, ghost in enumerate(ghosts)]


def refuse_unknown_program(jobs: Sequence[Job]) -> None:
    """Raise `InputError` where a manifest of a pack's runs says of their program what it cannot have been."""
    sizes = {job.config.model.latent_dim for job in jobs}
    for job in jobs:
        if job.program is not None:
            compilation.recorded(job.program, len(jobs), sizes, jax.devices()[0])


def _beside(job: Job, record: Mapping[str, Any]) -> list[Path]:
    """The directories of the runs of a job's pack; raises `InputError` unless all are there and the others have ended.

    They are known by what their sweep noted when it began: a run that was trained for longer has another
    configuration since.
    """
    directory = job.directory.absolute()
    folder = next((above for above in directory.parents if (above / sweep.NAME).exists()), directory)
    noted = sweep.read(folder)[1] if folder != directory else []
    own = next((each for each in noted if folder / each.directory == directory), None)
    plugins = {"plugins": list(job.config.plugins)}
    plain = pack.described(dict(record), completed(own.config) | plugins) if own else []
    identities = [identity(parse(each)) for each in plain]
    members = sweep.pack_of(folder, noted, own, record, identities) if own else []
    places = [folder / each.directory for each in members]
    if not own or len(places) != len(plain) or not all((place / "config.yaml").exists() for place in places):
        raise InputError(
            f"{job.directory}: shared a vmapped program with runs that are not beside it, so it cannot go on; "
            f"`vaex reproduce {job.directory}` makes the whole pack again"
        )
    if not all(place == directory or sweep.has_ended(place) for place in places):
        raise InputError(
            f"{job.directory}: shares a vmapped program with runs that have not ended; "
            f"`vaex resume {folder}` goes on with all of them"
        )
    return places
