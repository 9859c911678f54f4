"""What a run's numbers may depend on besides its configuration: versions, machine, threads, code, data."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
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


def manifest(dataset_sha256: str, directory: Path) -> dict[str, Any]:
    """The content of manifest.json; the source's uncommitted changes are saved in `directory` as code.diff."""
    return {
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["vaex", *sys.argv[1:]]),
        "environment": environment(),
        "variables": {key: value for key, value in sorted(os.environ.items()) if key.startswith(NUMERIC_VARIABLES)},
        "host": platform.node(),
        "code": _code(directory),
        "dataset_sha256": dataset_sha256,
        "pack": [],
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
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


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
