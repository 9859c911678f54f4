"""What a run's numbers may depend on besides its configuration: versions, machine, threads, code, data."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaex import files

DISTRIBUTIONS = (
    "vaex-experiments", "jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "numpy", "scipy", "hydra-core",
    "omegaconf", "pydantic", "wandb", "safetensors", "matplotlib", "pandas", "pillow", "scikit-learn", "ml_dtypes",
)  # fmt: skip
"""Installed packages whose version can change a result or a file."""

NUMERIC_VARIABLES = ("NPROC", "XLA_", "JAX_", "TF_", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE")
"""Environment variables, or their beginnings, that can change a result."""


def set_thread_count(count: int | None = None) -> None:
    """Fix the size of XLA's CPU pool, which decides the bits of a result, before JAX starts its backend.

    The cores that this process may use, unless NPROC already says otherwise or `count` is given.
    """
    if count is not None:
        os.environ["NPROC"] = str(count)
    os.environ.setdefault("NPROC", str(len(os.sched_getaffinity(0))))


def manifest(dataset_sha256: str, directory: Path, run_id: str, seed: int) -> dict[str, Any]:
    """The content of manifest.json; the source's uncommitted changes are saved in `directory` as code.diff."""
    return {
        "format": 1,
        "run_id": run_id,
        "seed": seed,
        "dataset_sha256": dataset_sha256,
        "environment": environment(),
        "code": _code(directory),
        "segments": [segment()],
        "pack": [],
    }


def segment() -> dict[str, Any]:
    """One process that worked on a run: when, where, from which command line."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["vaex", *sys.argv[1:]]),
        "host": platform.node(),
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
        "threads": int(os.environ.get("NPROC", "0")),
        "variables": {key: value for key, value in sorted(os.environ.items()) if key.startswith(NUMERIC_VARIABLES)},
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`jax: 0.10.2 then, 0.12.0 now`, for every entry that differs."""
    flat_then, flat_now = (dict(_flatten(side)) for side in (then, now))
    keys = sorted(flat_then.keys() | flat_now.keys())
    return [
        f"{key}: {flat_then.get(key)} then, {flat_now.get(key)} now"
        for key in keys
        if flat_then.get(key) != flat_now.get(key)
    ]


def new_id() -> str:
    """An id for a run, ours and W&B's."""
    return uuid.uuid4().hex[:8]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _code(directory: Path) -> dict[str, str | None]:
    """Commit and uncommitted changes of the checkout that vaex runs from; nulls for an installed package."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "diff_sha256": None}
    diff = _git("diff", "HEAD", "--", "vaex", "conf") or b""
    if diff:
        files.write(directory / "code.diff", diff)
    return {"commit": commit.decode().strip(), "diff_sha256": files.sha256(diff) if diff else None}


def _git(*arguments: str) -> bytes | None:
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key, item in value.items() for pair in _flatten(item, f"{prefix}.{key}" if prefix else str(key))]
