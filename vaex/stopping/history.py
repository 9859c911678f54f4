"""What a rule sees of a sweep, and what it says of a run."""

from collections.abc import Mapping
from typing import NamedTuple

History = Mapping[int, Mapping[int, float]]
"""The scores so far: job number -> epoch -> score, higher is better, −∞ for what is not finite."""


class Asked(NamedTuple):
    """The run in question: its job number, the epoch it has come to, and how many it was to have."""

    job: int
    epoch: int
    epochs: int


class Held(NamedTuple):
    """A run held against others: whether it stops, and the score it was held against (None: too few others).

    `of` counts the runs that were looked at, itself included where a rule does; `rung` and `bracket` count from 0.
    """

    stops: bool
    threshold: float | None
    of: int
    rung: int | None = None
    bracket: int | None = None
