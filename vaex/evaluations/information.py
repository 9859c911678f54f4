"""metric information: the mean KL taken apart, I_q(x; z) + KL(q(z) ‖ p(z)) (Hoffman & Johnson 2016); nats.

As information of which of these N images it was, both are unbiased and I is at most log N; as an estimate for all
images behind them I is too low and KL(q(z) ‖ p(z)) too high by as much. Near `saturation` 1 read I as "at least".
"""

from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.judging.estimate import Estimate
from vaex.judging.subject import Found, Subject

NEEDS = ()


@dataclass(frozen=True, config=STRICT)
class Config:
    """Nothing to set."""


def measure(config: Config, subject: Subject) -> Found:
    """Both parts, the KL that they add up to, and what sampling z has added to it; saturation is I / log N."""
    from vaex.judging import information

    codes = subject.codes(subject.split)
    found = information.information(codes.mu, codes.sigma, subject.seed)
    return {
        "information": found.mutual,
        "information/marginal_kl": found.marginal_kl,
        "information/kl": found.kl,
        "information/gap": found.gap,
        "information/saturation": Estimate(found.saturation, None),
    }
