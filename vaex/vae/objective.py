"""The objective as pure functions: what a program is, encode, sample, decode, and the loss in nats per example.

`Program` is what decides the compiled program (shapes, layers, loss variant); `Hyper` holds the numbers in which
runs of one program may differ (seed, learning rate, β, …). The streams of a seed depend on nothing but the seed
and the step, so runs that differ in one choice see the same initial weights, data order and noise.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int, Key, Num, PyTree, UInt

from vaex.config import Config, implementation
from vaex.vae import learning_rate
from vaex.vae.posterior import Posterior, sample

PARAMETERS, ORDER, NOISE, OBSERVATION, EVALUATION, PRIOR = range(6)
"""The streams of a seed."""

SAFE_RAW = 1.0
"""A raw output at which every loss variant is finite, with its gradient: for latents that are only padding."""

MATMUL = {"float32": "highest", "tf32": "tensorfloat32"}
"""JAX's names of float32 products: as they are, or with ten bits of mantissa on a GPU."""


@dataclass(frozen=True)
class Program:
    """What is compiled in. Hashable; two runs with equal programs share one compilation.

    `losses` has one entry, but in the program of a vmapped pack all that its runs use (`vaex.vae.pack`); `padded` says
    that runs with fewer latents than `model` ride along, their surplus latents masked.
    """

    model: Any
    losses: tuple[Any, ...]
    likelihood: Any
    kl_weight: Any
    optimizer: Any
    precision: Any
    batch_size: int
    shape: tuple[int, int, int]
    padded: bool = False


class Hyper(NamedTuple):
    """Numbers of one run that are arguments of its program; `loss` is an index into `Program.losses`."""

    seed: UInt[Array, ""]
    loss: Int[Array, ""]
    latents: Int[Array, ""]
    learning_rate: dict[str, Float[Array, ""]]
    kl_weight: dict[str, Float[Array, ""]]
    free_bits: Float[Array, ""]
    gradient_clip: Float[Array, ""]
    max_skips: Int[Array, ""]
    skip_above: Float[Array, ""]


class Terms(NamedTuple):
    """Batch means of the objective's terms (nats per example) and what is watched beside them."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]
    kl_per_latent: Float[Array, " latent"]
    kl_weight: Float[Array, ""]
    sigma_min: Float[Array, ""]
    sigma_max: Float[Array, ""]
    sigma_mean: Float[Array, ""]
    clamped_fraction: Float[Array, ""]


def program(config: Config, shape: tuple[int, int, int]) -> Program:
    """The program of a configuration for images of `shape` (H, W, C), its free numbers taken out."""
    return Program(
        model=config.model,
        losses=(config.loss,),
        likelihood=config.likelihood,
        kl_weight=implementation(config.kl_weight),
        optimizer=replace(config.optimizer, learning_rate=0.0, schedule="constant", warmup_epochs=0.0),
        precision=config.precision,
        batch_size=config.training.batch_size,
        shape=shape,
    )


def hyper(config: Config) -> Hyper:
    """The free numbers of a configuration. `record` is `skip` with no skip allowed."""
    training, kl_weight = config.training, config.kl_weight
    clip, skip_above = training.gradient_clip, training.skip_above
    return Hyper(
        seed=jnp.uint32(config.seed),
        loss=jnp.int32(0),
        latents=jnp.int32(config.model.latent_dim),
        learning_rate=_as_arrays(learning_rate.numbers(config.optimizer, training.epochs)),
        kl_weight=_as_arrays(implementation(kl_weight).numbers(kl_weight)),
        free_bits=jnp.float32(kl_weight.free_bits),
        gradient_clip=jnp.float32(jnp.inf if clip is None else clip),
        max_skips=jnp.int32(training.max_skips if training.on_nonfinite == "skip" else 0),
        skip_above=jnp.float32(jnp.inf if skip_above is None else skip_above),
    )


def objective(
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    images: Num[Array, "batch H W C"],
    weights: Float[Array, " batch"],
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    time: Float[Array, ""],
) -> tuple[Float[Array, ""], Terms]:
    """What is minimised, reconstruction + penalty(KL) in nats per example, and its terms.

    `keys` are of the latent noise and of what the likelihood draws (stochastic binarization). Examples of weight 0 are
    copies of the batch's first one.
    """
    likelihood = implementation(program.likelihood)
    x = likelihood.observe(program.likelihood, keys[1], as_float(images))
    with jax.default_matmul_precision(MATMUL[program.precision.matmul]):
        q = encode(program, hyper, parameters, x)
        eps = noise(keys[0], *q.mu.shape).astype(q.mu.dtype)
        eps = jnp.where(weights[:, None] > 0, eps, eps[:1])  # a copy weighs nothing, but 0 times infinity is NaN
        z = sample(q, eps)
        z = real_latents(program, hyper, z, 0.0)
        outputs = decode(program, parameters, z)
    log_p = likelihood.log_prob(program.likelihood, parameters["likelihood"], outputs, x)

    share = weights / jnp.sum(weights)
    reconstruction = -jnp.sum(share * log_p)
    kl_per_latent = real_latents(program, hyper, jnp.sum(share[:, None] * q.kl.astype(jnp.float32), axis=0), 0.0)
    # Free bits hold for the batch mean of each latent (Kingma et al. 2016); without them a KL that rounding
    # made negative stays visible.
    free = hyper.free_bits
    charged = jnp.where(free > 0, jnp.maximum(kl_per_latent, free), kl_per_latent)
    charged = real_latents(program, hyper, charged, 0.0)
    penalty, kl_weight = program.kl_weight.penalty(hyper.kl_weight, time, jnp.sum(charged))
    sigma = jnp.abs(q.sigma).astype(jnp.float32)
    clamped = q.clamped.astype(jnp.float32)
    latents = hyper.latents if program.padded else sigma.shape[1]
    loss = reconstruction + penalty
    return loss, Terms(
        loss=loss,
        reconstruction=reconstruction,
        kl_per_latent=kl_per_latent,
        kl_weight=kl_weight,
        sigma_min=jnp.min(real_latents(program, hyper, sigma, jnp.inf)),
        sigma_max=jnp.max(real_latents(program, hyper, sigma, 0.0)),
        sigma_mean=jnp.sum(share @ real_latents(program, hyper, sigma, 0.0)) / latents,
        clamped_fraction=jnp.sum(share @ real_latents(program, hyper, clamped, 0.0)) / latents,
    )


def encode(program: Program, hyper: Hyper, parameters: PyTree, x: Float[Array, "batch H W C"]) -> Posterior:
    """q(z|x) in the posterior's precision."""
    mu, raw = _model(program, parameters).encode(x)
    dtype = jnp.dtype(program.precision.posterior)
    mu = real_latents(program, hyper, mu.astype(dtype), 0.0)
    raw = real_latents(program, hyper, raw.astype(dtype), SAFE_RAW)
    variants = [functools.partial(implementation(loss).posterior, loss) for loss in program.losses]
    # A switch, whose rule for vmap keeps the infinite gradient of a variant that is not chosen out of the sum.
    return variants[0](mu, raw) if len(variants) == 1 else lax.switch(hyper.loss, variants, mu, raw)


def real_latents(
    program: Program, hyper: Hyper, values: Float[Array, "*batch latent"], filler: float
) -> Float[Array, "*batch latent"]:
    """The values, with `filler` in place of those of latents that are only padding (in a padded program)."""
    if not program.padded:
        return values
    return jnp.where(jnp.arange(values.shape[-1]) < hyper.latents, values, jnp.asarray(filler, values.dtype))


def decode(program: Program, parameters: PyTree, z: Float[Array, "batch latent"]) -> Float[Array, "batch H W C"]:
    """The likelihood's unbounded parameters, one a pixel and channel, in float32."""
    return _model(program, parameters).decode(z).astype(jnp.float32)


def mean_images(program: Program, parameters: PyTree, z: Float[Array, "batch latent"]) -> Float[Array, "batch H W C"]:
    """E[x|z] under the likelihood: what is shown as a picture."""
    likelihood = implementation(program.likelihood)
    return likelihood.mean(program.likelihood, parameters["likelihood"], decode(program, parameters, z))


def noise(key: Key[Array, ""], batch: int, latents: int) -> Float[Array, "batch latent"]:
    """ε ~ N(0, I), drawn latents first: the first K latents do not depend on how many follow."""
    return jax.random.normal(key, (latents, batch)).T


def as_float(images: Num[Array, "..."]) -> Float[Array, "..."]:
    """uint8 pixels 0..255 as float32 in [0, 1]; float images as they are."""
    return images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images


def stream(seed: UInt[Array, ""], stream: int) -> Key[Array, ""]:
    """The key of one of a seed's streams."""
    return jax.random.fold_in(jax.random.key(seed), stream)


def build(program: Program, key: Key[Array, ""]) -> Any:
    """The program's module with fresh parameters."""
    bias = getattr(program.losses[0], "bias_init", 0.0)
    dtype = jnp.dtype(program.precision.network)
    return implementation(program.model).build(program.model, program.shape, bias, dtype, nnx.Rngs(key))


@functools.cache
def abstract(program: Program) -> tuple[Any, PyTree]:
    """The module's static half, and shapes and dtypes of its parameters."""
    graph, parameters = nnx.split(nnx.eval_shape(lambda: build(program, jax.random.key(0))), nnx.Param)
    return graph, nnx.to_pure_dict(parameters)


def _model(program: Program, parameters: PyTree) -> Any:
    return nnx.merge(abstract(program)[0], parameters["model"])


def _as_arrays(numbers: dict[str, float]) -> dict[str, Float[Array, ""]]:
    return {name: jnp.float32(number) for name, number in numbers.items()}
