"""Which step of a run is looked at: where it diverged, or its largest spike. NumPy only."""

from collections.abc import Mapping

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


def of_largest_spike(steps: Steps) -> int | None:
    """The step, from 1, whose loss is the furthest above the median of the 50 before it; None for under two steps."""
    loss = steps["loss"].astype(np.float64)
    heights = [_height(loss, step) for step in range(1, len(loss))]
    return int(np.argmax(heights)) + 2 if heights else None


def _height(loss: Float[np.ndarray, " steps"], step: int) -> float:
    before = loss[max(0, step - SPIKE_WINDOW) : step]
    before = before[np.isfinite(before)]
    above = loss[step] - np.median(before) if len(before) else 0.0
    return float(above) if np.isfinite(above) else float("inf")


def all_finite(steps: Steps) -> Bool[np.ndarray, " steps"]:
    """Whether everything watched was finite, for each step."""
    return np.all([np.isfinite(steps[name]) for name in WATCHED], axis=0)
