"""What a run's numbers may depend on besides its configuration: versions, machine, threads, code, data."""

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaex import files
from vaex.disk import threads
from vaex.errors import printable

DISTRIBUTIONS = (
    "vaex-experiments", "jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "numpy", "scipy", "hydra-core",
    "omegaconf", "pydantic", "wandb", "safetensors", "matplotlib", "pandas", "pillow", "scikit-learn", "ml_dtypes",
)  # fmt: skip
"""Installed packages whose version can change a result or a file."""

NUMERIC_VARIABLES = (
    "NPROC", "XLA_", "JAX_", "TF_XLA_FLAGS", "TF_CUDNN_", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip
"""Environment variables, or their beginnings, that can change a result."""


OF_A_PROCESS = (
    "JAX_COORDINATOR_ADDRESS", "JAX_COORDINATOR_BIND_ADDRESS", "JAX_COORDINATOR_PORT", "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID", "JAX_LOCAL_DEVICE_IDS",
)  # fmt: skip
"""Of those the ones that only say where the processes of a run are."""

CODE = ("vaex", "conf", ":(exclude)conf/README.md")
"""What of a checkout decides numbers, as git takes paths."""


def restore(manifest: Mapping[str, Any], processes: int = 1) -> None:
    """Set the counts of threads and CPU devices that a manifest names, before JAX starts its backend.

    Several `processes` have an equal part of the devices each.
    """
    environment = manifest.get("environment")
    then = environment if isinstance(environment, dict) else {}
    count, devices = then.get("threads"), then.get("devices")
    threads.set_count(count if isinstance(count, int) and 1 <= count <= threads.MOST else None)
    if isinstance(devices, list) and 1 < len(devices) <= threads.MOST and set(map(str, devices)) == {"cpu"}:
        import jax  # late, as below

        jax.config.update("jax_num_cpu_devices", max(1, len(devices) // processes))


def manifest(
    dataset_sha256: str,
    directory: Path,
    run_id: str,
    seed: int,
    identity: str,
    members: dict[str, Any] | None = None,
    name: str | None = None,
    program: dict[str, Any] | None = None,
    placement: str | None = None,
) -> dict[str, Any]:
    """The content of manifest.json; the source's uncommitted changes are saved in `directory` as code.diff.

    `name` is what W&B calls the run. `pack` says with which other runs this one was vmapped (see `pack.describe`), null
    when it was alone; `program` how it was compiled where that was a choice (`device/compilation.py`), null when not.
    """
    diff = _diff()
    if diff:
        files.write(directory / "code.diff", diff)
    return {
        "format": 1,
        "run_id": run_id,
        "name": name,
        "seed": seed,
        "dataset_sha256": dataset_sha256,
        **surroundings(),
        "segments": [segment(identity, placement)],
        "pack": members,
        "program": program,
    }


def surroundings() -> dict[str, Any]:
    """What decides the numbers besides configuration and data: `environment`, and the version of the `code`."""
    return {"environment": environment(), "code": _code()}


def identities(manifest: Mapping[str, Any]) -> list[str]:
    """The identities of the configurations that a run was trained by; empty where a segment of older code is silent."""
    segments = manifest.get("segments")
    known = [each.get("identity") for each in segments if isinstance(each, dict)] if isinstance(segments, list) else []
    return list(map(str, known)) if all(known) else []


def segment(identity: str, placement: str | None = None) -> dict[str, Any]:
    """One process that worked on a run: when, where, from which command line, by a configuration of this identity.

    `placement` is where it had the images: what `dataset.placement` came to, null where none trained.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["vaex", *sys.argv[1:]]),
        "host": platform.node(),
        "cwd": str(Path.cwd()),
        "identity": identity,
        "placement": placement,
    }


def environment() -> dict[str, Any]:
    """Versions, platform and devices: what must be equal for bits to be equal."""
    import jax  # late: the thread count must be set before its backend starts

    return {
        "versions": {name: version for name in DISTRIBUTIONS if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "devices": [str(getattr(device, "device_kind", device)) for device in jax.devices()],
        "threads": threads.count(),
        "variables": {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith(NUMERIC_VARIABLES) and "_CACHE" not in key and key not in OF_A_PROCESS
        },
        **({"processes": jax.process_count()} if jax.process_count() > 1 else {}),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`versions.jax: 0.10.2 then, 0.12.0 now`, for every entry that differs; safe to show."""
    flat_then, flat_now = (dict(flatten(side)) for side in (then, now))
    return [
        printable(f"{key}: {flat_then.get(key)} then, {flat_now.get(key)} now")
        for key in dict.fromkeys((*flat_then, *flat_now))
        if flat_then.get(key) != flat_now.get(key)
    ]


def changes(manifest: Mapping[str, Any]) -> list[str]:
    """What is not as it was when a manifest was written; nothing can be said about one that lacks it."""
    now = surroundings()
    return differences({key: manifest.get(key, now[key]) for key in now}, now)


def new_id() -> str:
    """An id for a run, ours and W&B's: under a W&B agent the one that it has given the run."""
    of_agent = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    return of_agent or uuid.uuid4().hex[:8]


@functools.cache  # a sweep asks for every job, and each look reads the disk
def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


@functools.cache
def _code() -> dict[str, str | None]:
    """Commit and uncommitted changes of the checkout that vaex runs from; nulls for an installed package."""
    commit, diff = _git("rev-parse", "HEAD"), _diff()
    return {
        "commit": commit.decode().strip() if commit else None,
        "diff_sha256": files.sha256(diff) if diff else None,
    }


@functools.cache
def _diff() -> bytes | None:
    """Uncommitted changes of the code, as a patch; files that git does not know yet are new files in it."""
    changed = _git("diff", "HEAD", "--binary", "--", *CODE)
    unknown = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *CODE) or b""
    new = [
        _git("diff", "--no-index", "--binary", "--", os.devnull, os.fsdecode(name))
        for name in unknown.split(b"\0")[:-1]
    ]
    return None if changed is None else b"".join([changed, *(patch or b"" for patch in new)])


def _git(*arguments: str) -> bytes | None:
    """What git prints, run in the checkout; None without one, and where git fails (1: there are differences)."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode in (0, 1) else None


def flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested sections as pairs of full key and value."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key, item in value.items() for pair in flatten(item, f"{prefix}.{key}" if prefix else str(key))]
