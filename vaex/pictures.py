"""What a run's figures show: reconstructions and samples of its parameters, computed on the device, then drawn."""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from vaex import compiled, figures, objective
from vaex.dataset import Dataset
from vaex.metrics import Row
from vaex.objective import Hyper, Program

SHOWN = 24
"""Images in a figure."""


def draw(
    directory: Path,
    program: Program,
    hyper: Hyper,
    parameters: PyTree,
    dataset: Dataset,
    rows: Sequence[Row],
    title: str,
) -> dict[str, Path]:
    """Write the figures of a run to its directory; returns them by name."""
    originals = dataset.valid.images[:SHOWN]
    reconstructed = compiled.reconstructions(program, hyper, parameters, originals)
    drawn = compiled.samples(program, parameters, hyper.seed, SHOWN)
    shown = np.asarray(objective.as_float(jnp.asarray(originals)))
    return figures.draw(directory, rows, shown, np.asarray(reconstructed), np.asarray(drawn), title)
