"""metric probe: how much of the labels a linear model reads off the posterior means, fitted on the training split."""

from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.subject import Found, Subject

NEEDS = ("labels",)


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""


def measure(config: Config, subject: Subject) -> Found:
    """Accuracy of each column of labels that is classes, R² of each that is numbers."""
    from vaex.judging import label_probes

    fitted_on, scored_on = (
        label_probes.Labelled(codes.mu, codes.labels)  # pyright: ignore[reportArgumentType]: as `NEEDS` says
        for codes in map(subject.codes, ("train", subject.split))
    )
    scores = label_probes.linear_probe(fitted_on, scored_on, subject.labels_named)
    return {f"probe/{name}": score for name, score in scores.items()}
