"""What a run carries from step to step, and what a step that went wrong leaves of it. Pure."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

CULPRITS = ("", "kl", "reconstruction", "gradient", "update", "skip_above")
"""What was not finite, by `TrainState.culprit`. The KL comes first: its posterior feeds the reconstruction.

The last is of a run that ended at nothing of the kind, but at too many steps in a row above `training.skip_above`.
"""


class TrainState(NamedTuple):
    """All that a run carries from step to step. `step` counts steps taken, skipped ones included.

    `kl_weight` is what a weight that adapts has learned so far; empty for the others.
    """

    parameters: PyTree
    optimizer: PyTree
    step: Int[Array, ""]
    skips_in_a_row: Int[Array, ""]
    frozen: Bool[Array, ""]
    first_nonfinite: Int[Array, ""]
    culprit: Int[Array, ""]
    kl_weight: dict[str, Float[Array, ""]]


def advance(
    before: TrainState,
    after: TrainState,
    finite: list[Bool[Array, ""]],
    small: Bool[Array, ""],
    max_skips: Int[Array, ""],
) -> tuple[TrainState, Bool[Array, ""]]:
    """The state after a step: what it made if all was finite and its gradient small, else the old with the event noted.

    A gradient that is only too large is no event but a skip; the run's end, if there were too many in a row.
    """
    flags = jnp.stack(finite)
    whole = jnp.all(flags)
    applied = whole & small & ~before.frozen
    failed = ~applied & ~before.frozen
    skips = jnp.where(applied, 0, before.skips_in_a_row + failed)
    frozen = before.frozen | (skips > max_skips)
    step = before.step + ~before.frozen
    first = failed & ~whole & (before.first_nonfinite == 0)
    culprit = jnp.where(first, 1 + jnp.argmin(flags), before.culprit)  # the first of CULPRITS that is not finite
    only_large = frozen & ~before.frozen & whole  # it ends here, whatever it got over before

    def keep(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(functools.partial(jnp.where, applied), new, old)

    return TrainState(
        parameters=keep(after.parameters, before.parameters),
        optimizer=keep(after.optimizer, before.optimizer),
        step=step,
        skips_in_a_row=skips,
        frozen=frozen,
        first_nonfinite=jnp.where(first, step, before.first_nonfinite),
        culprit=jnp.where(only_large, len(CULPRITS) - 1, culprit).astype(jnp.int32),
        kl_weight=keep(after.kl_weight, before.kl_weight),
    ), applied
