"""metric elbo: the bound −reconstruction − KL on images, by `evaluation.samples` draws of z each, β = 1; nats."""

import numpy as np
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.estimate import mean
from vaex.judging.subject import Found, Subject

NEEDS = ()


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""


def measure(config: Config, subject: Subject) -> Found:
    """ELBO and its terms; errors are over images, the noise of the draws included."""
    bounds = subject.bounds()
    terms = {"elbo/reconstruction": bounds.reconstruction, "elbo/kl": bounds.kl}
    elbo = -np.add(bounds.reconstruction, bounds.kl)
    return {"elbo": mean(elbo), **{name: mean(values) for name, values in terms.items()}}
