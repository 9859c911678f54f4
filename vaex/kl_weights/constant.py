"""kl_weight=constant: penalty = β·KL. β = 1 is the ELBO; other values are the β-VAE of Higgins et al. 2017."""

from typing import Annotated, Literal

from jaxtyping import Array, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config import STRICT


@dataclass(frozen=True, config=STRICT)
class Config:
    """`free_bits` in nats per latent."""

    name: Literal["constant"]
    beta: Annotated[float, Field(ge=0)]
    free_bits: Annotated[float, Field(ge=0)]


def numbers(config: Config) -> dict[str, float]:
    """Arguments of the compiled program."""
    return {"beta": config.beta}


def penalty(
    numbers: dict[str, Float[Array, ""]], time: Float[Array, ""], kl: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(β·KL, β), in nats per example."""
    return numbers["beta"] * kl, numbers["beta"]
