"""metric sample_quality: how far images drawn from the prior are from data, in features of a classifier trained here.

Never FID: the features are of a small network on this dataset's labels (PCA where there are none). A distance means
something beside the same figure of real against real only (`…/real`), which is of as many other real images.
"""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.errors import DataError
from vaex.judging.subject import Found, Subject

NEEDS = ()


@dataclass(frozen=True, config=STRICT)
class Config:
    """How many images are drawn and how many real ones they are compared with; neighbours of the supports."""

    samples: Annotated[int, Field(ge=20)]
    neighbours: Annotated[int, Field(ge=1)]


def measure(config: Config, subject: Subject) -> Found:
    """Fréchet and kernel distance, precision, recall, density, coverage: drawn against real, and real against real."""
    from vaex.judging import samples

    real = subject.images(subject.split)
    count = min(config.samples, len(real) // 2)
    if count < samples.LEAST:
        raise DataError(f"sample_quality: needs {2 * samples.LEAST} images of a split, there are {len(real)}")
    features = subject.features()
    one, other = features.of(real[:count]), features.of(real[count : 2 * count])
    drawn = features.of(subject.samples(count))
    found: Found = {}
    for suffix, compared in (("", drawn), ("/real", other)):
        found[f"sample_quality/frechet{suffix}"] = samples.frechet(one, compared)
        found[f"sample_quality/kid{suffix}"] = samples.kid(one, compared)
        for name, value in samples.support(one, compared, config.neighbours)._asdict().items():
            found[f"sample_quality/{name}{suffix}"] = value
    made: dict[str, Any] = {"made_by": features.made_by, "sha256": features.digest, "images": count}
    if features.accuracy:
        made["accuracy"] = features.accuracy.value
    found["sample_quality/features"] = [made]
    return found
