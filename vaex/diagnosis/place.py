"""Which step of a run is looked at: where it diverged, or its largest spike. NumPy only."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vaex.disk.metrics import SPIKE_WINDOW

WATCHED = ("loss", "reconstruction", "kl", "grad_norm", "update_norm")
"""Columns of steps.npz of which one is not finite at a step that was left out for it."""

Steps = Mapping[str, Float[np.ndarray, " steps"]]


def of_divergence(steps: Steps) -> int | None:
    """The step, from 1, from which on none was finite; None for a run whose last step was.

    With `on_nonfinite=skip` that is the first of the last skips in a row: earlier ones the run got over.
    """
    finite = all_finite(steps)
    if not len(finite) or finite[-1]:
        return None
    good = np.flatnonzero(finite)
    return int(good[-1]) + 2 if len(good) else 1


class Spike(NamedTuple):
    """A step, from 1, and by how many nats its loss was above the median of the 50 before it."""

    step: int
    nats: float


def of_largest_spike(steps: Steps) -> Spike | None:
    """The step whose loss is the furthest above the median of those before it; None where it never rose above it."""
    loss = steps["loss"].astype(np.float64)
    heights = [_height(loss, step) for step in range(1, len(loss))]
    if not heights or max(heights) <= 0:
        return None
    return Spike(int(np.argmax(heights)) + 2, max(heights))


def _height(loss: Float[np.ndarray, " steps"], step: int) -> float:
    before = loss[max(0, step - SPIKE_WINDOW) : step]
    before = before[np.isfinite(before)]
    above = loss[step] - np.median(before) if len(before) else 0.0
    return float(above) if np.isfinite(above) else float("inf")


def all_finite(steps: Steps) -> Bool[np.ndarray, " steps"]:
    """Whether everything watched was finite, for each step."""
    return np.all([np.isfinite(steps[name]) for name in WATCHED], axis=0)
