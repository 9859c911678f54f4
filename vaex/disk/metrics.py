"""From the statistics of single steps to the rows of metrics.jsonl, and back from disk. NumPy only, float64 sums."""

import functools
import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Shaped

from vaex import files
from vaex.errors import InputError

STEP_COLUMNS = ("loss", "reconstruction", "kl", "grad_norm", "update_norm", "sigma_min", "sigma_max")
"""The arrays of steps.npz: float32, one entry per optimizer step."""

LEFT_OUT = ("seconds", "examples_per_second")
"""Columns that no equality looks at: they are of the machine, not of the run."""

ACTIVE_NATS = 0.01
"""A latent is active when its mean KL over the validation set is above this."""

SPIKE_WINDOW = 50
"""Steps whose median a loss is compared with to be called a spike."""

LONGEST_LINE = 1 << 20
"""Bytes at which a line of metrics.jsonl is no row: one has about 1000, and 20 for each latent."""

PLAIN = (int, float, str, type(None))
"""Types of a value in a row, or in a list there."""

DIRECTORY_BYTES = 4096
"""More than the table of contents of a steps.npz takes."""

END_BYTES, LOCATOR_BYTES = 22, 20
"""Of a zip file's end record without a comment, and of what precedes it in one of more than 4 GB."""

Row = dict[str, Any]


def epoch_row(steps: Mapping[str, Shaped[np.ndarray, " steps"]], pixels: int) -> Row:
    """The `train/` metrics and the watched numbers of one epoch: example-weighted means over its applied steps.

    A step that diverged is in the means, which are then not finite; a skipped one (the run went on) is not.
    """
    taken, diverged = steps["taken"].astype(bool), steps["diverged"].astype(bool)
    counted = steps["applied"].astype(bool) | diverged
    weights = np.where(counted, steps["examples"], 0).astype(np.float64)

    def mean(name: str) -> float:
        chosen = steps[name][counted].astype(np.float64)
        return float(np.dot(chosen, weights[counted]) / weights.sum()) if counted.any() else math.nan

    def extreme(name: str, function: Any) -> float:
        return float(function(steps[name][counted])) if counted.any() else math.nan

    last = int(np.flatnonzero(taken)[-1])
    return terms("train", mean("loss"), mean("reconstruction"), mean("kl"), pixels) | {
        "grad_norm_mean": mean("grad_norm"),
        "grad_norm_max": extreme("grad_norm", np.max),
        "update_norm_mean": mean("update_norm"),
        "sigma_min": extreme("sigma_min", np.min),
        "sigma_max": extreme("sigma_max", np.max),
        "sigma_mean": mean("sigma_mean"),
        "learning_rate": float(steps["learning_rate"][last]),
        "kl_weight": float(steps["kl_weight"][last]),
        "clamped_fraction": mean("clamped_fraction"),
        "skipped_steps": int(np.sum(taken & ~counted)),
    }


def evaluation_row(split: str, means: Mapping[str, Shaped[np.ndarray, "..."]], pixels: int) -> Row:
    """The metrics of a whole split (`valid/…`, `test/…`), with the KL of each latent and the active ones."""
    kl_per_latent = np.asarray(means["kl_per_latent"], np.float64)
    row = terms(split, float(means["loss"]), float(means["reconstruction"]), float(kl_per_latent.sum()), pixels)
    row[f"{split}/kl_per_latent"] = [float(kl) for kl in kl_per_latent]
    if split == "valid":
        row["active_latents"] = int(np.sum(kl_per_latent > ACTIVE_NATS))
    return row


def terms(split: str, loss: float, reconstruction: float, kl: float, pixels: int) -> Row:
    """Loss as minimised, and the true bound beside it: elbo = −(reconstruction + kl), β = 1; nats per example."""
    elbo = -(reconstruction + kl)
    return {
        f"{split}/loss": loss,
        f"{split}/reconstruction": reconstruction,
        f"{split}/kl": kl,
        f"{split}/elbo": elbo,
        f"{split}/elbo_per_pixel": elbo / pixels,
    }


def loss_spikes(loss: Float[np.ndarray, " steps"], nats: float) -> int:
    """Number of steps whose loss lies more than `nats` above the median of the 50 steps before, or is not finite."""
    if len(loss) <= SPIKE_WINDOW:
        return int(np.sum(~np.isfinite(loss)))
    windows = np.lib.stride_tricks.sliding_window_view(loss[:-1], SPIKE_WINDOW)
    later = loss[SPIKE_WINDOW:]
    with np.errstate(invalid="ignore"):
        above = later > np.nanmedian(windows, axis=1) + nats
    return int(np.sum(above | ~np.isfinite(later)) + np.sum(~np.isfinite(loss[:SPIKE_WINDOW])))


def finite_or_null(value: Any) -> Any:
    """The value as JSON can hold it: what is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite_or_null(item) for item in value]
    return value


def as_line(row: Row) -> str:
    """One line of metrics.jsonl, with its newline."""
    return json.dumps(finite_or_null(row), allow_nan=False) + "\n"


def digest(row: Row) -> str:
    """SHA-256 of a row less the columns that are of the machine."""
    kept = {key: value for key, value in finite_or_null(row).items() if key not in LEFT_OUT}
    return files.sha256(json.dumps(kept, sort_keys=True).encode())


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl, in order; an unfinished last line is left out, anything else is an `InputError`."""
    return list(each_row(path))


def each_row(path: Path) -> Iterator[Row]:
    """The rows of a metrics.jsonl, one by one up to the first that is none: the file is never held whole."""
    shared: dict[str, str] = {}
    try:
        with files.open_regular(path) as file:
            lines = iter(lambda: file.readline(LONGEST_LINE), b"")
            for number, line in enumerate(lines, start=1):
                if len(line) == LONGEST_LINE:
                    raise InputError(f"{path}: line {number} is not a row: it has {LONGEST_LINE} bytes or more")
                if line.endswith(b"\n"):
                    row = _row(line, number, path, shared)
                    shared = shared or {key: key for key in row}
                    yield row
    except OSError as error:
        raise InputError(f"{path}: {files.first_line(error)}") from error


def _row(line: bytes, number: int, path: Path, shared: Mapping[str, str]) -> Row:
    """One line of metrics.jsonl: numbers, and lists of numbers, by name; NaN and infinity are read as null.

    Its keys are the `shared` strings, those of the first row: keys of its own would take most of the memory.
    """
    hook = functools.partial(_with_shared_keys, shared)
    try:
        row = json.loads(line, parse_constant=lambda _: None, object_pairs_hook=hook)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {number} is not JSON") from error
    if not isinstance(row, dict) or row.get("epoch") != number:
        raise InputError(f"{path}: line {number} is not the row of epoch {number}")
    for key, value in row.items():
        if not all(isinstance(item, PLAIN) for item in (value if isinstance(value, list) else (value,))):
            raise InputError(f"{path}: line {number}: {key} is neither a number nor a list of numbers")
    return row


def _with_shared_keys(shared: Mapping[str, str], pairs: list[tuple[str, Any]]) -> Row:
    return {shared.get(key, key): value for key, value in pairs}


def taken_steps(steps: Mapping[str, Shaped[np.ndarray, " _steps"]]) -> dict[str, Float[np.ndarray, " steps"]]:
    """Of an epoch's steps those that were taken, and of their statistics those that steps.npz has."""
    taken = steps["taken"].astype(bool)
    return {name: steps[name][taken].astype(np.float32) for name in STEP_COLUMNS}


def step_columns(epochs: Sequence[Mapping[str, Float[np.ndarray, " _"]]]) -> dict[str, Float[np.ndarray, " steps"]]:
    """The arrays of steps.npz for a run's epochs so far."""
    nothing = np.zeros(0, np.float32)
    return {name: np.concatenate([*(steps[name] for steps in epochs), nothing]) for name in STEP_COLUMNS}


def steps_bytes(epochs: Sequence[Mapping[str, Float[np.ndarray, " _"]]]) -> bytes:
    """The content of steps.npz for a run's epochs so far."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **step_columns(epochs))
    return buffer.getvalue()


def read_steps(path: Path) -> dict[str, Float[np.ndarray, " steps"]]:
    """The arrays of a steps.npz; never unpickles, raises `InputError` naming the file when it is not one."""
    try:
        with files.open_regular(path) as file:
            size = _refuse_other_archives(file)
            with zipfile.ZipFile(file) as archive:
                columns = {name: _read_member(archive, name, size // len(STEP_COLUMNS)) for name in STEP_COLUMNS}
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable steps.npz: {files.first_line(error)}") from error
    if len({len(column) for column in columns.values()}) != 1:
        raise InputError(f"{path}: its arrays are not of one length")
    return columns


def _refuse_other_archives(file: BinaryIO) -> int:
    """The archive's size; `ValueError` when it lists other than our arrays: zipfile would make an object of each."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - END_BYTES - LOCATOR_BYTES))
    locator, end = (tail := file.read())[:-END_BYTES], tail[-END_BYTES:]
    if len(end) < END_BYTES or end[:4] != b"PK\5\6" or end[-2:] != b"\0\0" or locator[:4] == b"PK\6\7":
        raise ValueError("it does not end as an archive of arrays does")
    count, listed = struct.unpack_from("<HI", end, 10)
    if count != len(STEP_COLUMNS) or listed > DIRECTORY_BYTES:
        raise ValueError(f"it lists {count} arrays in {listed} bytes")
    return size


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> Float[np.ndarray, " steps"]:
    """One float32 vector, its header exactly as `steps_bytes` writes it, so that no declared size is believed."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or max(info.file_size, info.compress_size) > limit:
        raise ValueError(f"{name} is compressed or longer than its share of the file")
    content = archive.read(info)
    values = np.frombuffer(content, np.float32, offset=len(_header(0)))
    if not content.startswith(_header(len(values))):
        raise ValueError(f"{name} is not a float32 vector of its declared length")
    return values


def _header(count: int) -> bytes:
    """The .npy header of a float32 vector."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (count,)})
    return buffer.getvalue()
