"""The median rule: a run stops whose best score so far is below the median of the others' running averages.

Golovin et al. 2017, Google Vizier: A Service for Black-Box Optimization (KDD 2017), 3.2.2. The running average of
another run is the mean of its scores up to this epoch. There the others are runs that are complete; here all that have
come to this epoch, those that were stopped later too: in a sweep whose runs train side by side nobody is complete yet.
Asked after each epoch from min_epochs on; `factor` has no part in it.
"""

import statistics
from collections.abc import Mapping

from vaex.stopping.history import Asked, Held, History

FEWEST = 4
"""Others that must have come to an epoch before anybody is stopped there: a median of fewer is one run's luck."""


def hold(history: History, asked: Asked, min_epochs: int) -> Held | None:
    """The run held against the others; None before `min_epochs`."""
    if asked.epoch < min_epochs:
        return None
    averages = [
        statistics.fmean(_until(scores, asked.epoch))
        for job, scores in history.items()
        if job != asked.job and asked.epoch in scores
    ]
    if len(averages) < FEWEST:
        return Held(stops=False, threshold=None, of=len(averages))
    threshold = statistics.median(averages)
    return Held(max(_until(history[asked.job], asked.epoch)) < threshold, threshold, len(averages))


def _until(scores: Mapping[int, float], epoch: int) -> list[float]:
    return [score for at, score in scores.items() if at <= epoch]
