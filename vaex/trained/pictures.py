"""What a run's figures show: reconstructions and samples of its parameters, computed on the device, then drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import PyTree

from vaex.data.dataset import Dataset
from vaex.device import compiled
from vaex.disk.metrics import Row
from vaex.report import figures
from vaex.vae.objective import Hyper, Program

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
    seen, reconstructed = compiled.reconstructions(program, hyper, parameters, dataset.valid.images[:SHOWN])
    drawn = compiled.samples(program, parameters, hyper.seed, SHOWN)
    return figures.draw(directory, rows, np.asarray(seen), np.asarray(reconstructed), np.asarray(drawn), title)
