"""ASHA, the stopping variant: at each rung the runs below the top 1/factor so far stop.

Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning (arXiv:1810.05934). There a run pauses at a rung
and is promoted later, once enough others are worse. Here nothing pauses: who comes to rung k (after
min_epochs·factorᵏ epochs) is judged then and once, against all n that have come to it so far, itself included. It goes
on if it is among the best ⌊n/factor⌋ (ties go on), and while n < factor, so the first ones to come always go on. A run
that went on is not stopped when better ones come later.
"""

from vaex.stopping.history import Asked, Held, History


def hold(history: History, asked: Asked, min_epochs: int, factor: int) -> Held | None:
    """The run held against its rung; None where its epoch is none."""
    rung = rung_of(asked.epoch, min_epochs, factor)
    if rung is None:
        return None
    scores = sorted((of_run[asked.epoch] for of_run in history.values() if asked.epoch in of_run), reverse=True)
    best = len(scores) // factor
    if best == 0:
        return Held(stops=False, threshold=None, of=len(scores), rung=rung)
    threshold = scores[best - 1]
    return Held(history[asked.job][asked.epoch] < threshold, threshold, len(scores), rung)


def rung_of(epoch: int, min_epochs: int, factor: int) -> int | None:
    """Which rung an epoch is, from 0; None for one between two rungs."""
    rung, place = 0, min_epochs
    while place < epoch:
        rung, place = rung + 1, place * factor
    return rung if place == epoch else None
