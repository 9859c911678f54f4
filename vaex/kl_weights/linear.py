"""kl_weight=linear: KL warm-up, the weight rises from `start` to `beta` over the first `epochs` (Bowman et al. 2016).

    β(t) = (1 − r)·start + r·beta,    r = min(t / epochs, 1)

t in epochs, 0 at the first step; `epochs: 0` is the full weight at once.
"""

from typing import Annotated, Literal

from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT
from vaex.vae.learning_rate import rise


@dataclass(frozen=True, config=STRICT)
class Config:
    """`epochs` may be a fraction of one; `free_bits` in nats per latent."""

    name: Literal["linear"]
    start: Annotated[float, Field(ge=0)]
    beta: Annotated[float, Field(ge=0)]
    epochs: Annotated[float, Field(ge=0)]
    free_bits: Annotated[float, Field(ge=0)]


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    return {"start": config.start, "beta": config.beta, "epochs": config.epochs}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(β(t)·KL, β(t)), in nats per example."""
    r = rise(time, numbers["epochs"])
    weight = (1 - r) * numbers["start"] + r * numbers["beta"]  # exactly start at 0 and beta at 1
    return weight * kl, weight
