"""What a run's figures show: reconstructions and samples of its parameters, computed on the device, then drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, PyTree

from vaex.data.dataset import Dataset
from vaex.device import compiled
from vaex.disk.metrics import Row
from vaex.report import figures
from vaex.vae.objective import Hyper, Program

SHOWN = 24
"""Images in a figure."""

Shown = Float[np.ndarray, "n H W C"]


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
    return figures.draw(directory, rows, *_shown(program, hyper, parameters, dataset), title)


def draw_grids(
    folder: Path, program: Program, hyper: Hyper, parameters: PyTree, dataset: Dataset, epoch: int
) -> dict[str, Path]:
    """Write the grids of an epoch to a folder; returns them by name."""
    return figures.draw_grids(folder, epoch, *_shown(program, hyper, parameters, dataset))


def _shown(program: Program, hyper: Hyper, parameters: PyTree, dataset: Dataset) -> tuple[Shown, Shown, Shown]:
    """Validation images as the encoder sees them, their reconstructions, samples."""
    seen, reconstructed = compiled.reconstructions(program, hyper, parameters, dataset.valid.images[:SHOWN])
    drawn = compiled.samples(program, parameters, hyper.seed, SHOWN)
    return np.asarray(seen), np.asarray(reconstructed), np.asarray(drawn)
