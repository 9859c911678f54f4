"""How stably one run trained, as numbers: from its rows and its step arrays, float64 NumPy.

Every measure leaves out what is not finite: that a run met such a value is said by its status, `first_nonfinite_step`
and `culprit`, not by a mean that became NaN. A measure that nothing was left for is None.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

Steps = Mapping[str, Shaped[np.ndarray, " _steps"]]
Measures = dict[str, float | int | None]

JUMP_NATS = 10.0
"""A rise of valid/loss from one epoch to the next above this is a jump."""


def measures(rows: Sequence[Mapping[str, Any]], steps: Steps | None) -> Measures:
    """The `stability/…` values of summary.json: gradient norms, range of σ, unrest of valid/loss (nats per example)."""
    return _gradient(steps) | _sigma(steps) | _unrest(rows)


def _gradient(steps: Steps | None) -> Measures:
    """Quantiles of the global gradient norm over the steps, before clipping, and how far its largest value stands out.

    In a steady run max/p50 is a small number; an explosion that the optimizer survived shows here and in no mean.
    """
    norm = _finite(steps, "grad_norm")
    p50, p99, largest = np.quantile(norm, [0.5, 0.99, 1.0]) if len(norm) else (None, None, None)
    return {
        "stability/grad_norm_p50": _number(p50),
        "stability/grad_norm_p99": _number(p99),
        "stability/grad_norm_max": _number(largest),
        "stability/grad_norm_max_over_p50": _number(largest / p50) if p50 else None,
    }


def _sigma(steps: Steps | None) -> Measures:
    """Smallest and largest |σ| of any example, latent and step."""
    smallest, largest = _finite(steps, "sigma_min"), _finite(steps, "sigma_max")
    return {
        "stability/sigma_min": _number(smallest.min()) if len(smallest) else None,
        "stability/sigma_max": _number(largest.max()) if len(largest) else None,
    }


def _unrest(rows: Sequence[Mapping[str, Any]]) -> Measures:
    """Mean |change| of valid/loss from one epoch to the next, and the number of its rises above 10 nats."""
    loss = np.array([number(row.get("valid/loss")) for row in rows], np.float64)  # None becomes NaN
    change = np.diff(loss)
    change = change[np.isfinite(change)]
    return {
        "stability/valid_change_mean": _number(np.abs(change).mean()) if len(change) else None,
        "stability/valid_jumps": int(np.sum(change > JUMP_NATS)) if len(change) else None,
    }


def initial_loss(steps: Steps | None) -> float | None:
    """−ELBO of the first batch before any update (nats per example), β = 1 whatever was minimised."""
    first = [steps[name][:1] for name in ("reconstruction", "kl")] if steps else []
    return _number(np.sum(first, dtype=np.float64)) if first and all(map(len, first)) else None


def to_target(rows: Sequence[Mapping[str, Any]], target: float) -> tuple[float, float] | None:
    """Steps and seconds until valid/elbo first reached `target`; None when it did not.

    Between two epochs the ELBO is taken to move in a straight line; before the first epoch's end nothing is known, so
    that epoch counts whole. Seconds are the epochs' wall times.
    """
    before: tuple[float, float, float] | None = None
    clock = 0.0
    for row in rows:
        elbo, step, seconds = (number(row.get(key)) for key in ("valid/elbo", "step", "seconds"))
        clock += seconds or 0.0
        if elbo is None or step is None:
            continue
        if elbo >= target:
            if before is None:
                return step, clock
            share = (target - before[0]) / (elbo - before[0])
            return before[1] + share * (step - before[1]), before[2] + share * (clock - before[2])
        before = elbo, step, clock
    return None


def whole(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """All steps and seconds of a run, its epochs' wall times summed."""
    last = rows[-1] if rows else {}
    return number(last.get("step")) or 0.0, sum((number(row.get("seconds")) or 0.0 for row in rows), 0.0)


def number(value: Any) -> float | None:
    """A finite number read from a file, or None for null, text, true and whatever else may stand there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _finite(steps: Steps | None, name: str) -> np.ndarray:
    values = np.asarray(steps[name] if steps else (), np.float64)
    return values[np.isfinite(values)]


def _number(value: Any) -> float | None:
    return None if value is None else number(float(value))
