"""One training run as pure functions of its state: init, order, epoch, train_step, evaluate.

No jit, no files, no Hydra.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Int, Key, Num, PyTree, Shaped, UInt

from vaex.config import implementation
from vaex.vae import learning_rate
from vaex.vae.objective import (
    EVALUATION,
    NOISE,
    OBSERVATION,
    ORDER,
    PARAMETERS,
    Hyper,
    Program,
    abstract,
    build,
    objective,
    stream,
)
from vaex.vae.state import CULPRITS as CULPRITS
from vaex.vae.state import TrainState, advance

EVALUATED = ("loss", "reconstruction", "kl_per_latent")


def whole(rows: Int[Array, " batch"]) -> Int[Array, " batch"]:
    """The rows of a batch as they are: where one device has them all. Several share them (`device/mesh.py`)."""
    return rows


def init(program: Program, seed: UInt[Array, ""]) -> TrainState:
    """The state before the first step: the model's own initialization, with zero biases unless configured otherwise."""
    return _fresh(program, nnx.to_pure_dict(nnx.split(build(program, stream(seed, PARAMETERS)), nnx.Param)[1]))


@dataclass(frozen=True)
class Bias:
    """In place of a loss: all of it that decides how a run begins, the second head's first bias."""

    bias_init: float


def beginning(program: Program) -> Program:
    """The program with all taken out that `init` does not depend on: equal for runs that begin alike."""
    bias = Bias(getattr(program.losses[0], "bias_init", 0.0))
    return replace(program, losses=(bias,), kl_weight=program.kl_weight if learned(program) else None, batch_size=1)


@functools.cache
def shapes(program: Program) -> TrainState:
    """Shapes and dtypes of a program's state. Raises `ConfigError` when the model cannot take the images."""
    return jax.eval_shape(functools.partial(_fresh, program), abstract(program)[1])


def _fresh(program: Program, model: PyTree) -> TrainState:
    likelihood = implementation(program.likelihood).initial_parameters(program.likelihood)
    parameters = {"model": model, "likelihood": likelihood}
    return TrainState(
        parameters=parameters,
        optimizer=_direction(program).init(parameters),
        step=jnp.int32(0),
        skips_in_a_row=jnp.int32(0),
        frozen=jnp.bool_(False),
        first_nonfinite=jnp.int32(0),
        culprit=jnp.int32(0),
        kl_weight={name: jnp.float32(0) for name in learned(program)},
    )


def learned(program: Program) -> tuple[str, ...]:
    """Names of what the program's KL weight carries from step to step, 0 before the first: `LEARNED` of its module."""
    return getattr(program.kl_weight, "LEARNED", ())


def weighed(hyper: Hyper, state: TrainState) -> Hyper:
    """The numbers, and among those of the KL weight what it has learned so far."""
    return hyper._replace(kl_weight=hyper.kl_weight | state.kl_weight)


def order(seed: UInt[Array, ""], number: Int[Array, ""], count: int) -> Int[Array, " count"]:
    """The order in which epoch `number`, from 0, takes the training images.

    A program of its own: inside `epoch` the same sort makes the book's epoch 4 % longer, and is compiled again for
    each program.
    """
    return jax.random.permutation(_of_order(seed, number), count).astype(jnp.int32)


def order_words(seed: UInt[Array, ""], number: Int[Array, ""]) -> UInt[Array, "2"]:
    """What decides an epoch's order where the host makes it (`data/blocks.py`): its key, as numbers."""
    return jax.random.key_data(_of_order(seed, number))


def _of_order(seed: UInt[Array, ""], number: Int[Array, ""]) -> Key[Array, ""]:
    return jax.random.fold_in(stream(seed, ORDER), number)


def epoch(
    program: Program,
    hyper: Hyper,
    state: TrainState,
    order: Int[Array, " N"],
    images: Num[Array, "N H W C"],
    shared: Callable[[Int[Array, " batch"]], Int[Array, " batch"]] = whole,
) -> tuple[TrainState, dict[str, Shaped[Array, " steps"]]]:
    """One pass over the training images in the given order, and the statistics of each of its steps.

    The last, partial batch is filled up with copies of its first example that weigh nothing: every example
    counts exactly once, and each batch's mean is over its own examples.
    """
    steps = -(-images.shape[0] // program.batch_size)
    return part(program, steps, hyper, state, batches(order, program.batch_size), images, shared)


def part(
    program: Program,
    steps: int,
    hyper: Hyper,
    state: TrainState,
    batches: tuple[Int[Array, "part batch"], Float[Array, "part batch"]],
    images: Num[Array, "M H W C"],
    shared: Callable[[Int[Array, " batch"]], Int[Array, " batch"]] = whole,
) -> tuple[TrainState, dict[str, Shaped[Array, " part"]]]:
    """The next steps of an epoch that has `steps` in all: those of these batches, rows of `images` and weights."""

    def body(state: TrainState, batch: tuple[Array, Array]) -> tuple[TrainState, dict[str, Array]]:
        rows, weights = batch
        return train_step(program, hyper, state, images[shared(rows)], weights, state.step / steps)

    return lax.scan(body, state, batches)


def train_step(
    program: Program,
    hyper: Hyper,
    state: TrainState,
    images: Num[Array, "batch H W C"],
    weights: Float[Array, " batch"],
    time: Float[Array, ""],
) -> tuple[TrainState, dict[str, Shaped[Array, ""]]]:
    """One optimizer step on one batch; `time` is in epochs.

    A step that is not finite, or whose gradient norm is above `hyper.skip_above`, changes nothing but the count.
    """
    gradient = jax.value_and_grad(objective, argnums=2, has_aux=True)
    keys = (
        jax.random.fold_in(stream(hyper.seed, NOISE), state.step),
        jax.random.fold_in(stream(hyper.seed, OBSERVATION), state.step),
    )
    hyper = weighed(hyper, state)
    (loss, terms), gradients = gradient(program, hyper, state.parameters, images, weights, keys, time)
    made = update(program, hyper, state, gradients, time)
    grad_norm, update_norm = made.grad_norm, made.update_norm
    parameters = optax.apply_updates(state.parameters, made.updates)
    before, kl = state, jnp.sum(terms.kl_per_latent)
    finite = [
        jnp.isfinite(kl),
        jnp.isfinite(terms.reconstruction),
        jnp.isfinite(loss) & jnp.isfinite(grad_norm),
        jnp.isfinite(update_norm),
    ]
    kl_weight = program.kl_weight.adapt(hyper.kl_weight, terms.reconstruction, kl) if state.kl_weight else {}
    after = state._replace(parameters=parameters, optimizer=made.optimizer, kl_weight=kl_weight)
    state, applied = advance(before, after, finite, grad_norm <= hyper.skip_above, hyper.max_skips)
    watched = terms._asdict() | {"kl": kl}
    del watched["kl_per_latent"]
    return state, watched | {
        "grad_norm": grad_norm,
        "update_norm": update_norm,
        "learning_rate": made.rate,
        "examples": jnp.sum(weights),
        "taken": ~before.frozen,
        "applied": applied,
        "diverged": state.frozen & ~before.frozen,
    }


class Update(NamedTuple):
    """What the optimizer makes of a step's gradients; norms are global, `grad_norm` before clipping."""

    grad_norm: Float[Array, ""]
    direction: PyTree
    optimizer: PyTree
    rate: Float[Array, ""]
    updates: PyTree
    update_norm: Float[Array, ""]


def update(program: Program, hyper: Hyper, state: TrainState, gradients: PyTree, time: Float[Array, ""]) -> Update:
    """Clip, the optimizer's direction, the learning rate at `time` (in epochs)."""
    grad_norm = norm(gradients)
    scale = jnp.minimum(1.0, hyper.gradient_clip / grad_norm)
    direction, optimizer = _direction(program).update(
        jax.tree.map(lambda g: g * scale, gradients), state.optimizer, state.parameters
    )
    rate = learning_rate.at(hyper.learning_rate, time)
    updates = jax.tree.map(lambda d: -rate * d, direction)
    return Update(grad_norm, direction, optimizer, rate, updates, norm(updates))


def evaluate(
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    images: Num[Array, "N H W C"],
    rows: Int[Array, "2"],
    time: Float[Array, ""],
    shared: Callable[[Int[Array, " batch"]], Int[Array, " batch"]] = whole,
) -> dict[str, Float[Array, "..."]]:
    """Example-weighted means of loss, reconstruction and KL per latent over `images[first:end]`, with fixed noise.

    `rows` is (first, end): numbers, so that one compiled program serves validation and test data in one array.
    """
    first, end = rows
    batches = jnp.stack([jnp.int32(0), -(-(end - first) // program.batch_size)])
    return add_evaluated(program, hyper, parameters, images, rows, batches, time, unevaluated(program), shared)


def unevaluated(program: Program) -> dict[str, Float[Array, "..."]]:
    """Means over nothing yet."""
    latents = jnp.zeros(program.model.latent_dim, jnp.float32)
    return {name: latents if name == "kl_per_latent" else jnp.float32(0) for name in EVALUATED}


def add_evaluated(
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    images: Num[Array, "M H W C"],
    rows: Int[Array, "2"],
    numbers: Int[Array, "2"],
    time: Float[Array, ""],
    means: dict[str, Float[Array, "..."]],
    shared: Callable[[Int[Array, " batch"]], Int[Array, " batch"]] = whole,
) -> dict[str, Float[Array, "..."]]:
    """`evaluate`, of the batches of these numbers only, the first and the one after the last, added to `means`.

    `rows` is where in `images` the first row of all and the end are, or would be: these need be but part of them.
    """
    root = stream(hyper.seed, EVALUATION)
    first, end = rows

    def add_batch(index: Int[Array, ""], means: dict[str, Array]) -> dict[str, Array]:
        of_batch = first + index * program.batch_size + jnp.arange(program.batch_size)
        weights = (of_batch < end).astype(jnp.float32)  # the last batch is filled up with rows that weigh nothing
        key = jax.random.fold_in(root, index)
        keys = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        batch = images[shared(jnp.where(of_batch < end, of_batch, of_batch[0]))]
        _, terms = objective(program, hyper, parameters, batch, weights, keys, time)
        share = jnp.sum(weights) / (end - first)
        return {name: mean + share * getattr(terms, name) for name, mean in means.items()}

    return lax.fori_loop(numbers[0], numbers[1], add_batch, means)


def norm(tree: PyTree) -> Float[Array, ""]:
    """The global 2-norm of all leaves.

    The squares are summed by a product with ones: XLA on CPU makes a scalar loop of a plain sum of squares, which
    makes the book's step 3 to 10 % longer.
    """

    def squares(leaf: Array) -> Float[Array, ""]:
        rows = leaf.reshape(-1, leaf.shape[-1]) if leaf.ndim else leaf.reshape(1, 1)
        return jnp.sum(jnp.matmul(rows * rows, jnp.ones(rows.shape[-1]), precision=lax.Precision.HIGHEST))

    return jnp.sqrt(sum(map(squares, jax.tree.leaves(tree)), start=jnp.float32(0)))


def batches(order: Int[Array, " N"], batch_size: int) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"]]:
    """Rows and weights of each batch; the last one is filled with its first row at weight 0."""
    count = order.shape[0]
    steps = -(-count // batch_size)
    filling = jnp.broadcast_to(order[(steps - 1) * batch_size], steps * batch_size - count)
    rows = jnp.concatenate([order, filling]).reshape(steps, batch_size)
    weights = (jnp.arange(steps * batch_size) < count).astype(jnp.float32).reshape(steps, batch_size)
    return rows, weights


def _direction(program: Program) -> optax.GradientTransformation:
    return implementation(program.optimizer).direction(program.optimizer)
