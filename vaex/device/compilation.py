"""How a pack's program is compiled where there is a choice: kernels timed or guessed, lanes to spare.

Chosen from the work ahead before anything is compiled; the manifest records it as `program`, and whoever makes the pack
again takes it from there: another choice is another program, with other bits. On a CPU there is nothing to choose.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vaex.config import Config
from vaex.disk.directory import type_of_device
from vaex.errors import InputError, printable

WORTH_TIMING = 750_000
"""Optimizer steps of all lanes together from which timed kernels gain more than the timing costs.

Measured on an H200 with the book's model: autotuning takes 9 s more of a lone run's compiler and gains 7 % of a step
(715 000 against 671 000 examples/s), so it pays after 730 000 steps; 20 s more of 64 lanes' and 10.0 against 3.8
million examples/s: after 960 000 steps of lanes."""

TIMED = "xla_gpu_autotune_level"
"""XLA's flag: 0 takes the first kernel that fits, above that candidates are timed on the device."""

BEFORE = {"autotune": "full"}
"""What a manifest says that was written before there was a choice: XLA's own default, and as many lanes as runs."""


@dataclass(frozen=True)
class Choice:
    """`autotune` is None on a CPU, and where XLA_FLAGS decides it. `lanes` and `latents` are those of the program."""

    autotune: Literal["off", "full"] | None
    lanes: int
    latents: int

    @property
    def options(self) -> dict[str, Any]:
        """Options of XLA's compiler."""
        return {TIMED: 0} if self.autotune == "off" else {}


def choose(config: Config, runs: int, sizes: set[int], steps: int, device: type_of_device, *, spare: bool) -> Choice:
    """How to compile for so many runs of these latent sizes, with so many optimizer steps before all of them.

    With `spare`, lanes and, where sizes are mixed, latents are filled up to a size that other packs will have too.
    """
    lanes, latents = runs, max(sizes)
    if device.platform == "cpu":
        return Choice(None, lanes, latents)
    if spare and runs > 1:
        lanes = max(runs, min(few(runs), config.pack.max_runs or few(runs)))
        latents = few(latents) if len(sizes) > 1 else latents
    return Choice(_timing(config, steps), lanes, latents)


def of(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the manifest of a run that is made again says of its program; None where there is no manifest."""
    record = manifest.get("program", BEFORE) if manifest else None
    if record is not None and not isinstance(record, Mapping):
        raise _cannot_be(record)
    return record


def doubts(manifest: Mapping[str, Any]) -> list[str]:
    """Why a run that is made again with the same program may have other bits."""
    environment = manifest.get("environment")
    devices = environment.get("devices") if isinstance(environment, Mapping) else None
    on_cpu = not isinstance(devices, list) or set(map(str, devices)) <= {"cpu"}
    if on_cpu or (of(manifest) or {}).get("autotune") != "full":
        return []
    return [
        "its kernels were chosen by timing them, which may choose others unless the compiled program is still cached"
    ]


def recorded(record: Mapping[str, Any], runs: int, sizes: set[int], device: type_of_device) -> Choice:
    """The choice that a manifest records; raises `InputError` for what no choice can have been."""
    autotune, lanes, latents = record.get("autotune"), record.get("lanes", runs), record.get("latents", max(sizes))
    if (
        autotune not in ("off", "full", None)
        or not (type(lanes) is int and runs <= lanes <= few(runs))
        or not (type(latents) is int and max(sizes) <= latents <= most_latents(sizes))
    ):
        raise _cannot_be(dict(record))
    return Choice(None if device.platform == "cpu" else autotune, lanes, latents)


def most_latents(sizes: set[int]) -> int:
    """The most latents that a program of runs of these sizes can have."""
    return few(max(sizes)) if len(sizes) > 1 else max(sizes)


def record(choice: Choice, runs: int, sizes: set[int], device: type_of_device) -> dict[str, Any] | None:
    """What a manifest says of it; None on a CPU, where all is as the runs alone would have it."""
    said = {"autotune": choice.autotune} if choice.autotune else {}
    said |= {"lanes": choice.lanes} if choice.lanes > runs or device.platform != "cpu" else {}
    said |= {"latents": choice.latents} if choice.latents > max(sizes) else {}
    return said or None


def _cannot_be(record: Any) -> InputError:
    return InputError(printable(f"manifest.json: its program cannot be rebuilt (program: {record})"))


def few(count: int) -> int:
    """The next of 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, …: at most half of a large program stays unused."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 64 and count <= power * 3 // 4 else power


def _timing(config: Config, steps: int) -> Literal["off", "full"] | None:
    if TIMED in os.environ.get("XLA_FLAGS", ""):
        return None
    if config.compile.autotune != "auto":
        return config.compile.autotune
    return "full" if steps >= WORTH_TIMING else "off"
