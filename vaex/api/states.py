"""Which state of a run is meant: that of its end, its best, or that of an epoch."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

from vaex.disk import checkpoint, metrics
from vaex.errors import InputError

State = int | str
"""Which state of a run: the one it ended with, the one of the best valid/elbo, or that of an epoch."""


def epoch(directory: Path, state: State) -> int | None:
    """The epoch whose checkpoint is wanted, None for model.safetensors; raises `InputError` where it was not kept."""
    elbo = _elbo(directory / "metrics.jsonl")
    last, kept = len(elbo), checkpoint.epochs(directory)
    has_model = (directory / "model.safetensors").exists()
    if state == "last":
        if not has_model and not kept:
            raise InputError(
                f"{directory}: holds no model: neither model.safetensors nor a checkpoint; "
                f"`vaex resume {shlex.quote(str(directory))}` trains it"
            )
        return None if has_model else kept[0]
    known = [(value, number) for number, value in enumerate(elbo, 1) if value is not None and math.isfinite(value)]
    if state == "best" and not known:
        raise InputError(f"{directory}: no epoch has a finite valid/elbo, so none is best")
    wanted = max(known, key=lambda each: (each[0], -each[1]))[1] if state == "best" else int(state)
    if wanted in kept:
        return wanted
    if wanted == last and has_model:
        return None
    there = ", ".join(map(str, sorted(kept))) or "none"
    raise InputError(f"{directory}: the state of epoch {wanted} was not kept (checkpoints: {there}; checkpoint.keep)")


def epoch_of(directory: Path, state: State) -> int:
    """The epoch of a state; raises `InputError` where the run does not have it."""
    found = epoch(directory, state)
    return len(_elbo(directory / "metrics.jsonl")) if found is None else found


def _elbo(path: Path) -> list[float | None]:
    """valid/elbo of each epoch, null where it is not finite; raises `InputError` for a row without a number there."""
    found = []
    for row in metrics.read_rows(path):
        value = row.get("valid/elbo", "none")
        if not (value is None or isinstance(value, float) or _is_short(value)):
            raise InputError(f"{path}: the row of epoch {row['epoch']} has no number as valid/elbo")
        found.append(value)
    return found


def _is_short(value: Any) -> bool:
    """Whether it is an integer that is a float as well: JSON has longer ones."""
    return isinstance(value, int) and abs(value) <= sys.float_info.max
