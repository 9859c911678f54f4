"""States to resume from: one file each, a safetensors payload followed by its SHA-256.

Why not Orbax, which flax brings along: it writes some twenty files a checkpoint, takes twenty times as long for a
state of this size, and loads a flipped bit silently. Here any changed or missing byte fails the digest, and a file is
whole or absent (temporary name, fsync, rename, fsync of the directory). No pickle: safetensors is data only.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree
from safetensors import SafetensorError

from vaex import files
from vaex.errors import InputError

DIGEST_BYTES = 32

HEADER_BYTES = 1 << 20
"""The longest header that is read, about 10 000 arrays: each takes far more memory than the header's bytes."""

RECORD = "record"
"""Key in the payload's metadata of the JSON that goes with the arrays: epoch, best so far, seconds, tracker id."""


def flatten(tree: PyTree) -> dict[str, np.ndarray]:
    """Leaves by flat name, `model.encoder.0.kernel`, as NumPy arrays in C order: safetensors writes others wrongly."""
    return {name: np.asarray(leaf, order="C") for name, leaf in zip(names(tree), jax.tree.leaves(tree), strict=True)}


def names(tree: PyTree) -> list[str]:
    """The flat name of each leaf."""
    return [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def unflatten(template: PyTree, arrays: dict[str, np.ndarray], where: Path) -> PyTree:
    """The tree of `template`'s structure with these arrays; `InputError` when a name, dtype or shape differs."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    expected = {_name(path): f"{np.dtype(leaf.dtype)} {leaf.shape}" for path, leaf in leaves}
    found = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
    if expected != found:
        name = min(name for name, _ in expected.items() ^ found.items())
        there, wanted = found.get(name, "nothing"), expected.get(name, "nothing")
        raise InputError(f"{where}: does not fit the configuration beside it ({name}: {there}, expected {wanted})")
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in expected])


def save(path: Path, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    """Write one checkpoint."""
    payload = safetensors.numpy.save(arrays, metadata={RECORD: json.dumps(record)})
    files.write(path, payload + hashlib.sha256(payload).digest())


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and record of a checkpoint; raises `InputError` naming the file if a single byte is not as written."""
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error
    payload, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    del content
    if hashlib.sha256(payload).digest() != digest:
        raise InputError(f"{path}: damaged (its SHA-256 does not match)")
    try:
        arrays = arrays_in(payload)
        header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
        record = json.loads(header["__metadata__"][RECORD])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a checkpoint of vaex") from error
    return arrays, record


def arrays_in(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by flat name; raises `SafetensorError` or `ValueError` for anything else."""
    if int.from_bytes(content[:8], "little") > HEADER_BYTES:
        raise ValueError("a header of that size names more arrays than a state has")
    return safetensors.numpy.load(content)


def path_of(directory: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch lies."""
    return directory / "checkpoints" / f"epoch_{epoch:06d}.ckpt"


def epochs(directory: Path) -> list[int]:
    """Epochs of which there is a checkpoint, newest first."""
    found = (re.fullmatch(r"epoch_(\d+)\.ckpt", path.name) for path in (directory / "checkpoints").glob("epoch_*.ckpt"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def latest(directory: Path) -> int:
    """The newest epoch of which there is a checkpoint, 0 without one."""
    return next(iter(epochs(directory)), 0)


def prune(directory: Path, keep: int, elbo: Mapping[int, float | None]) -> None:
    """Delete all but the newest `keep` checkpoints and the best one, by the validation ELBO of each epoch so far.

    Checkpoints of later epochs go first: a resume found them damaged, and they must not crowd out those it can use.
    """
    usable = [epoch for epoch in epochs(directory) if epoch in elbo]
    best = max(usable, key=lambda epoch: _or_least(elbo[epoch]), default=0)
    for epoch in epochs(directory):
        if epoch not in (*usable[:keep], best):
            path_of(directory, epoch).unlink(missing_ok=True)


def _or_least(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else -math.inf


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
