"""Whether two runs of one configuration came out the same, from what they left on disk.

*identical*: every metric of every epoch, every step and every parameter, bit for bit.
*equal within tolerance*: the steps differ, but the first five losses by no more than 1e-5 relative, and loss, ELBO and
its terms at the end by no more than 0.5 % of the ELBO. Training is chaotic (a difference of 1e-7 grows to 1e-2 nats
within 80 steps), so more cannot be asked of another machine; the band is about what two seeds of the book's run differ
by. A difference that the steps do not show is not chaos, and no tolerance is for it.
*different*: anything else, with the first step, epoch and metric that differ.

Nothing is executed from a directory: arrays are npz without pickle.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files
from vaex.disk import metrics
from vaex.errors import printable

FIRST_STEPS, FIRST_RELATIVE, BAND = 5, 1e-5, 0.005

TERMS = ("loss", "reconstruction", "kl", "elbo")

FINAL = ("status", "first_nonfinite_step", "culprit", "parameters_sha256")
"""Of summary.json, besides the best and the test values."""


@dataclass(frozen=True)
class Recorded:
    """What a run left of its results; None for what is not there."""

    summary: dict[str, Any] | None
    rows: list[metrics.Row] | None
    steps: dict[str, np.ndarray] | None

    @property
    def complete(self) -> bool:
        """Whether the run came to its end; else only its first epochs can be compared."""
        return self.summary is not None and self.summary.get("status") in ("finished", "diverged")


@dataclass(frozen=True)
class Verdict:
    """`identical`, `equal within tolerance` or `different`, and why."""

    name: str
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 same, 1 different."""
        return 1 if self.name == "different" else 0


def read_recorded(directory: Path) -> Recorded:
    """The results in a run directory, as far as they are there; what is there and unreadable raises `InputError`."""

    def read(name: str, reader: Any) -> Any:
        return reader(directory / name) if (directory / name).exists() else None

    return Recorded(
        summary=read("summary.json", files.read_json),
        rows=read("metrics.jsonl", metrics.read_rows),
        steps=read("steps.npz", metrics.read_steps),
    )


def compare(then: Recorded, now: Recorded, differences: Sequence[str]) -> Verdict:
    """The verdict on a run made again; of one that was cut off, on the epochs that it has."""
    places = list(_places(then, now))
    if not places:
        early = then.summary is not None and then.summary.get("status") == "stopped"
        end = "stopped early by its sweep's rule" if early else "cut off"
        count = len(then.rows or ())
        cut = f"its first {f'{count} epochs' if count != 1 else 'epoch'}: the original was {end}"
        return Verdict("identical", () if then.complete else (cut,))
    if _within_tolerance(then, now):
        why = (f"likely cause: {'; '.join(differences)}",) if differences else ()
        return Verdict("equal within tolerance", (*places, *_largest(then, now), *why))
    cause = "; ".join(differences) or "none of the recorded ones: the code, or a setting outside the manifest"
    return Verdict("different", (*places, f"likely cause: {cause}"))


def _places(then: Recorded, now: Recorded) -> Iterator[str]:
    """Where the two part: the first step and quantity, the first epoch and metric, the final values."""
    if then.steps is not None and now.steps is not None:
        yield from _first_step(then.steps, now.steps, then.complete)
    old_rows, new_rows = then.rows or [], now.rows or []
    for number in range(1, max(len(old_rows), len(new_rows) if then.complete and then.rows is not None else 0) + 1):
        if number > min(len(old_rows), len(new_rows)):
            yield f"one of the two has no epoch {number}"
            break
        old, new = old_rows[number - 1], new_rows[number - 1]
        names = [key for key in (*old, *new) if key not in metrics.LEFT_OUT and old.get(key) != new.get(key)]
        if names:
            yield printable(f"first at epoch {number}: {names[0]} was {old.get(names[0])}, is {new.get(names[0])}")
            break
    if then.complete and then.summary is not None and now.summary is not None:
        for key in (*FINAL, *(key for key in then.summary if key.startswith(("test/", "best/")))):
            old, new = then.summary.get(key), now.summary.get(key)
            if old != new:
                yield printable(f"{key} was {old}, is {new}")


def parting(then: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> tuple[int, str] | None:
    """Index of the first step at which two runs differ in a bit, and the quantity; None where both have the same."""
    count = min(len(then["loss"]), len(now["loss"]))
    firsts = []
    for name in metrics.STEP_COLUMNS:
        unequal = np.flatnonzero(then[name][:count].view(np.uint32) != now[name][:count].view(np.uint32))
        firsts += [(int(unequal[0]), name)] if len(unequal) else []
    return min(firsts, key=lambda first: first[0]) if firsts else None


def _first_step(then: dict[str, np.ndarray], now: dict[str, np.ndarray], complete: bool) -> Iterator[str]:
    count = min(len(then["loss"]), len(now["loss"]))
    first = parting(then, now)
    if first:
        index, name = first
        yield f"first at step {index + 1}: {name} was {then[name][index]}, is {now[name][index]}"
    elif len(then["loss"]) > count or (complete and len(now["loss"]) > count):
        yield f"{len(then['loss'])} steps then, {len(now['loss'])} now"


def _within_tolerance(then: Recorded, now: Recorded) -> bool:
    if not (then.steps and now.steps and then.rows and now.rows and len(now.rows) >= len(then.rows)):
        return False
    old, new = then.summary or {}, now.summary or {}
    if then.complete and len(then.rows) != len(now.rows):
        return False
    if then.complete and any(old.get(key) != new.get(key) for key in ("status", "first_nonfinite_step", "culprit")):
        return False
    first = [side["loss"][:FIRST_STEPS] for side in (then.steps, now.steps)]
    if first[0].shape != first[1].shape or not np.allclose(*first, rtol=FIRST_RELATIVE, atol=0, equal_nan=True):
        return False
    if not any(_first_step(then.steps, now.steps, then.complete)):
        return False
    last = len(then.rows) - 1
    ends = [(split, then.rows[last], now.rows[last]) for split in ("train", "valid")]
    ends += [("test", old, new)] if then.complete else []
    return all(
        _within_band(old.get(f"{split}/{term}"), new.get(f"{split}/{term}"), old.get(f"{split}/elbo"))
        for split, old, new in ends
        for term in TERMS
    )


def _within_band(then: Any, now: Any, elbo: Any) -> bool:
    numbers = all(isinstance(value, (int, float)) for value in (then, now, elbo))
    return abs(then - now) <= BAND * abs(elbo) if numbers else then == now


def _largest(then: Recorded, now: Recorded) -> Iterator[str]:
    """The largest relative differences of the first losses, and of the metrics of any epoch."""
    assert then.steps is not None
    assert now.steps is not None
    losses = zip(then.steps["loss"][:FIRST_STEPS].tolist(), now.steps["loss"].tolist(), strict=False)
    size, step = max((_relative(*pair), number) for number, pair in enumerate(losses, start=1))
    yield f"largest difference of the first {FIRST_STEPS} losses: {size:.1e} relative, at step {step}"
    size, epoch, name = max(
        (_relative(old[key], new.get(key)), old["epoch"], key)
        for old, new in zip(then.rows or [], now.rows or [], strict=False)
        for key in old
        if key not in metrics.LEFT_OUT and isinstance(old[key], (int, float))
    )
    yield printable(f"largest difference of a metric: {size:.1e} relative, {name} at epoch {epoch}")


def _relative(then: Any, now: Any) -> float:
    """|then − now| relative to the larger; 0 for equal values of any kind, infinite where one is no number."""
    if then == now:
        return 0.0
    if not (isinstance(then, (int, float)) and isinstance(now, (int, float))):
        return math.inf
    return abs(then - now) / max(abs(then), abs(now))
