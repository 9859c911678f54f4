"""loss=log_sigma: the encoder outputs log σ.

    σ = e^a            KL = ½[μ² + σ² − 1] − a

The γ variant at half the raw value: equal σ and KL where γ = 2a, gradients twice as large.

a → −∞: σ → 0 as e^a, KL grows as −a, its gradient tends to −1: safe, also where σ underflows to 0.
a → +∞: KL and its gradient grow as e^{2a} and overflow from a = 44.4 in float32 and bfloat16, 5.5 in float16.
"""

from typing import Literal

from jaxtyping import Array, Float
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.posterior import Posterior, from_log_sigma


@dataclass(frozen=True, config=STRICT)
class Config:
    """The raw head is log σ."""

    name: Literal["log_sigma"]


def posterior(config: Config, mu: Float[Array, "*batch latent"], raw: Float[Array, "*batch latent"]) -> Posterior:
    """N(μ, e^{2a}) with a = raw, in the dtype of the inputs."""
    return from_log_sigma(mu, raw)
