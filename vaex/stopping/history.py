"""What a rule sees of a sweep, and what it says of a run."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Scores(dict[int, float]):
    """One run's scores by epoch, with their running average and the best up to each, kept as they are told.

    `last` is its last epoch, 0 before the first.
    """

    def __init__(self, scores: Iterable[tuple[int, float]] = ()):
        super().__init__()
        self._total, self.last = 0.0, 0
        self.averages: dict[int, float] = {}
        self.bests: dict[int, float] = {}
        for epoch, score in scores:
            self[epoch] = score

    def __setitem__(self, epoch: int, score: float) -> None:
        if epoch <= self.last:  # told before: a run that goes on tells its last epochs again
            if self.get(epoch) != score:
                self._anew({**self, epoch: score})
            return
        super().__setitem__(epoch, score)
        self.bests[epoch] = max(score, self.bests.get(self.last, score))
        self._total, self.last = self._total + score, epoch
        self.averages[epoch] = self._total / len(self)

    def _anew(self, scores: Mapping[int, float]) -> None:
        self.clear()
        self.averages, self.bests, self._total, self.last = {}, {}, 0.0, 0
        for epoch in sorted(scores):
            self[epoch] = scores[epoch]

    def until(self, epoch: int) -> int:
        """The last epoch up to `epoch` that has a score, 0 for none."""
        if epoch >= self.last:
            return self.last
        return epoch if epoch in self else max((at for at in self if at < epoch), default=0)


History = Mapping[int, Scores]
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
