"""Patience: a run stops that has not bettered its own best score for so many epochs. It needs no others.

Goodfellow, Bengio and Courville 2016, Deep Learning, Algorithm 7.1, counted in epochs.
"""

from vaex.stopping.history import Asked, Held, History


def hold(history: History, asked: Asked, min_epochs: int, patience: int) -> Held | None:
    """The run held against its own best, once it has waited; None while it may still wait."""
    scores = {epoch: score for epoch, score in history[asked.job].items() if epoch <= asked.epoch}
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch))  # the first of equal ones
    if asked.epoch < min_epochs or asked.epoch - best < patience:
        return None
    return Held(stops=True, threshold=scores[best], of=1)
