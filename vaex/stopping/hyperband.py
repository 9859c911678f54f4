"""Hyperband as brackets of ASHA that run side by side: some runs are judged early and often, others late.

Li et al. 2018, Hyperband (JMLR 18, arXiv:1603.06560); asynchronous brackets as in Li et al. 2020. With R epochs a run
there are brackets 0 … S, S = ⌊log(R / min_epochs) / log factor⌋. Bracket s is an ASHA of its own, whose first rung is
after min_epochs·factorˢ epochs; bracket S judges no run before its end or nearly so. Of all jobs bracket s has the
share of Hyperband's table, ⌈(S+1)/(S−s+1)·factorˢ′⌉ with s′ = S−s, and each job goes to the bracket that lacks most of
its share: by its number alone, so that who resumes deals alike.
"""

import functools

from vaex.stopping import asha
from vaex.stopping.history import Asked, Held, History


def hold(history: History, asked: Asked, min_epochs: int, factor: int) -> Held | None:
    """The run held against its rung in its own bracket; None where its epoch is none there."""
    shares = sizes(asked.epochs, min_epochs, factor)
    bracket = dealt(asked.job, shares)
    first = min_epochs * factor**bracket
    if asha.rung_of(asked.epoch, first, factor) is None:  # before looking at everybody: most epochs are no rung
        return None
    own = {job: scores for job, scores in history.items() if dealt(job, shares) == bracket}
    held = asha.hold(own, asked, first, factor)
    return held and held._replace(bracket=bracket)


def sizes(epochs: int, min_epochs: int, factor: int) -> tuple[int, ...]:
    """How many runs each bracket has in Hyperband's table, the earliest first."""
    halvings = 0
    while min_epochs * factor ** (halvings + 1) <= epochs:
        halvings += 1
    return tuple(-(-(halvings + 1) * factor**left // (left + 1)) for left in range(halvings, -1, -1))


@functools.cache
def dealt(job: int, shares: tuple[int, ...]) -> int:
    """The bracket of a job: the one that lacks most of its share, the earlier of two."""
    bracket, given = 0, [0] * len(shares)
    for count in range(1, job % sum(shares) + 2):  # after as many as the table has, each bracket has its share exactly
        lacks = [count * share - sum(shares) * had for share, had in zip(shares, given, strict=True)]
        bracket = lacks.index(max(lacks))
        given[bracket] += 1
    return bracket
