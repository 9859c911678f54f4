"""metric knn: how much of the labels the nearest training codes tell, in Euclidean distance of the posterior means."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.subject import Found, Subject

NEEDS = ("labels",)


@dataclass(frozen=True, config=STRICT)
class Config:
    """How many neighbours vote, or are averaged."""

    neighbours: Annotated[int, Field(ge=1)]


def measure(config: Config, subject: Subject) -> Found:
    """Accuracy of each column of labels that is classes, R² of each that is numbers."""
    from vaex.judging import label_probes

    fitted_on, scored_on = (
        label_probes.Labelled(codes.mu, codes.labels)  # pyright: ignore[reportArgumentType]: as `NEEDS` says
        for codes in map(subject.codes, ("train", subject.split))
    )
    scores = label_probes.nearest_neighbours(fitted_on, scored_on, subject.labels_named, config.neighbours)
    return {f"knn/{name}": score for name, score in scores.items()}
