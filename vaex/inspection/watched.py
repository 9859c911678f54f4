"""A loss and a likelihood that name what goes through them, in JAX's trace: the options themselves do the work.

`Watched` stands in a program for either, since options are found by the module of their `Config`.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Key

from vaex.config import implementation
from vaex.vae.objective import Program
from vaex.vae.posterior import Posterior

NAMES = ("x", "mu", "raw", "sigma", "kl", "outputs", "log_p")
"""Of what is named, in the order in which it is computed."""


@dataclass(frozen=True)
class Watched:
    """A loss's or a likelihood's own Config."""

    option: Any


def watched(program: Program) -> Program:
    """The program, with names in its trace."""
    losses = tuple(map(Watched, program.losses))
    return replace(program, losses=losses, likelihood=Watched(program.likelihood))


def posterior(config: Watched, mu: Float[Array, "*batch K"], raw: Float[Array, "*batch K"]) -> Posterior:
    """The loss's own q(z|x)."""
    mu, raw = checkpoint_name(mu, "mu"), checkpoint_name(raw, "raw")
    q = implementation(config.option).posterior(config.option, mu, raw)
    return q._replace(sigma=checkpoint_name(q.sigma, "sigma"), kl=checkpoint_name(q.kl, "kl"))


def observe(config: Watched, key: Key[Array, ""], x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch H W C"]:
    """What the likelihood makes of an image."""
    return checkpoint_name(implementation(config.option).observe(config.option, key, x), "x")


def log_prob(
    config: Watched,
    parameters: dict[str, Array],
    outputs: Float[Array, "*batch H W C"],
    x: Float[Array, "*batch H W C"],
) -> Float[Array, "*batch"]:
    """The likelihood's own log p(x|z)."""
    outputs = checkpoint_name(outputs, "outputs")
    return checkpoint_name(implementation(config.option).log_prob(config.option, parameters, outputs, x), "log_p")


def by_pixel(
    config: Any, parameters: dict[str, Array], outputs: Float[Array, "batch H W C"], x: Float[Array, "batch H W C"]
) -> Float[Array, "batch pixels"]:
    """log p of each pixel alone, each taken as an image of its own: of a likelihood that is a product over pixels."""
    alone = [jnp.reshape(each, (-1, 1, 1, 1)) for each in (outputs, x)]
    return implementation(config).log_prob(config, parameters, *alone).reshape(len(x), -1)
