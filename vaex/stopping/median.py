"""The median rule: a run stops whose best score so far is below the median of the others' running averages.

Golovin et al. 2017, Google Vizier: A Service for Black-Box Optimization (KDD 2017), 3.2.2. The running average of
another run is the mean of its scores up to this epoch; one that has fewer, because it was stopped or is not so far yet,
has the mean of those that it has. So a stopped run stays in the comparison: among survivors alone the median would
rise from epoch to epoch until hardly anybody is left. There the others are runs that are complete; here all that have a
score from min_epochs on, since in a sweep whose runs train side by side nobody is complete yet.
Asked after each epoch from min_epochs on; `factor` has no part in it.
"""

import numpy as np

from vaex.stopping.history import Asked, Held, History

FEWEST = 4
"""Others to compare with before anybody is stopped: a median of fewer is one run's luck."""


def hold(history: History, asked: Asked, min_epochs: int) -> Held | None:
    """The run held against the others; None before `min_epochs`."""
    if asked.epoch < min_epochs:
        return None
    averages = [
        scores.averages[last]
        for job, scores in history.items()
        if job != asked.job
        and (last := scores.last if scores.last <= asked.epoch else scores.until(asked.epoch)) >= min_epochs
    ]
    if len(averages) < FEWEST:
        return Held(stops=False, threshold=None, of=len(averages))
    threshold = float(np.median(averages))
    return Held(history[asked.job].bests[asked.epoch] < threshold, threshold, len(averages))
