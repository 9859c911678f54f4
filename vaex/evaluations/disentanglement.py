"""metric disentanglement: MIG, SAP, DCI, modularity, InfoMEC of the posterior means against known factors."""

import numpy as np
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.subject import Found, Subject

NEEDS = ("factors",)


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""


def measure(config: Config, subject: Subject) -> Found:
    """Every measure of `vaex/judging/disentanglement.py`, which says how each is estimated."""
    from vaex.judging import disentanglement

    codes = subject.codes(subject.split)
    assert codes.labels is not None  # as `NEEDS` says
    levels = codes.labels
    if levels.dtype.kind not in "fiu":  # text, booleans: numbered in their order
        levels = np.column_stack([np.unique(column, return_inverse=True)[1] for column in levels.T])
    scores = disentanglement.scores(codes.mu, levels, subject.seed)
    none = Missing("has no meaning with so few latents or factors that vary")
    return {
        f"disentanglement/{name}": none if score.value is None else Estimate(score.value, score.standard_error)
        for name, score in scores.items()
    }
