"""metric disentanglement: MIG, SAP, DCI, modularity, InfoMEC of the posterior means against known factors."""

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
    scores = disentanglement.scores(codes.mu, codes.labels, subject.seed)
    none = Missing("has no meaning with so few latents or factors that vary")
    return {
        f"disentanglement/{name}": none if score.value is None else Estimate(score.value, score.standard_error)
        for name, score in scores.items()
    }
