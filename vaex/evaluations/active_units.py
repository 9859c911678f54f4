"""metric active_units: how many latents the model uses, by Var_x E[z|x] (Burda et al. 2016) and by KL; list of both."""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.estimate import Estimate
from vaex.judging.subject import Found, Subject

NEEDS = ()


@dataclass(frozen=True, config=STRICT)
class Config:
    """A latent is active above `threshold`, the variance of its mean; the KL counts above the same number of nats."""

    threshold: Annotated[float, Field(ge=0)]


def measure(config: Config, subject: Subject) -> Found:
    """Two counts, which have no standard error, and both quantities of each latent with theirs."""
    from vaex.judging import information

    codes = subject.codes(subject.split)
    found = information.active_units(codes.mu, config.threshold)
    kl = information.kl_per_latent(codes.mu, codes.sigma)
    by_kl = kl.mean(axis=0)
    errors = kl.std(axis=0, ddof=1) / np.sqrt(len(kl))
    latents = [
        {"latent": i, "variance": float(v), "variance_error": float(e), "kl": float(k), "kl_error": float(ke)}
        for i, (v, e, k, ke) in enumerate(zip(found.variance, found.error, by_kl, errors, strict=True))
    ]
    return {
        "active_units": Estimate(float(found.active.sum()), None),
        "active_units/by_kl": Estimate(float(np.sum(by_kl > config.threshold)), None),
        "active_units/latents": latents,
    }
