"""loss=gamma: the encoder outputs γ = log σ², the usual choice.

    σ = e^{γ/2}        KL = ½[μ² + expm1(γ) − γ]                               (Géron, Eq. 17-4)

computed as ½μ² + ½·expm1(γ/2)² + (expm1(γ/2) − γ/2), the same number without cancellation (`vaex.vae.posterior`).

γ → −∞: σ → 0 as e^{γ/2}, KL grows as −γ/2, its gradient tends to −½: safe, also where σ underflows to 0.
γ → +∞: KL and its gradient grow as ½e^γ, exponentially in the network's output, and overflow from γ = 89 in float32
and bfloat16; in float16 the gradient from 11.1, the KL from 11.8.
"""

from typing import Literal

from jaxtyping import Array, Float
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, from_log_sigma


@dataclass(frozen=True, config=STRICT)
class Config:
    """The raw head is γ = log σ²."""

    name: Literal["gamma"]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, e^γ) with γ = raw, in the dtype of the inputs."""
    return from_log_sigma(mu, 0.5 * raw)
