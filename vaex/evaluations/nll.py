"""metric nll: −L_S, the importance-weighted bound on −log p(x) (Burda et al. 2016), S = `evaluation.samples`; nats.

An upper bound of the true NLL, the closer the more draws. Whether they suffice is told by the curve (does it still fall
at its end?) and by the effective number of draws (far below S: a few draws decide, and the bound is loose).
"""

import math

from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.estimate import Estimate, Missing, mean
from vaex.judging.subject import Found, Subject

NEEDS = ()

FEW = 2.0
"""Effective draws, on average, below which one draw decides the bound of most images."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""


def measure(config: Config, subject: Subject) -> Found:
    """NLL, bits per dimension where log p is of the data, effective draws, and the curve over 1, 10, 100, … draws."""
    bounds = subject.bounds()
    curve = [mean(-row) for row in bounds.curve]
    nll, reason = curve[-1], subject.no_density
    scale = subject.pixels * math.log(2)
    bits = Estimate(nll.value / scale, None if nll.error is None else nll.error / scale)
    rows = [
        {"samples": samples, "value": each.value, "standard_error": each.error}
        for samples, each in zip(bounds.marks, curve, strict=True)
    ]
    return {
        "nll": nll,
        "nll/bits_per_dimension": Missing(reason) if reason else bits,
        "nll/effective_samples": mean(bounds.effective),
        "nll/curve": rows,
    }


def remark(found: Found) -> str | None:
    """What a reader of the number should know, or None."""
    curve, effective = found["nll/curve"], found["nll/effective_samples"]
    if not isinstance(curve, list) or not isinstance(effective, Estimate) or effective.value >= FEW:
        return None
    samples = curve[-1]["samples"]
    if samples < 10:
        return None
    return (
        f"nll: {effective.value:.1f} of {samples} draws are effective on average: the bound is loose, the likelihood "
        "higher than it says by an amount that more draws may not find; nll/curve shows whether it still falls"
    )
