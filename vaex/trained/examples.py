"""A table of reconstructions: images of the validation split with their labels and what the bound says of each."""

from typing import Any

import numpy as np

from vaex.disk.metrics import finite_or_null
from vaex.figures.images import SHOWN
from vaex.figures.tiles import look, tile
from vaex.judging.subject import Bounds
from vaex.trained.model import Model

DRAWS = 10
"""Of z for the ELBO of an image."""


def bounds(model: Model) -> Bounds:
    """The bounds of the images shown, those of the figure."""
    return model.bounds(model.dataset.valid.images[:SHOWN], DRAWS, int(model.hyper.seed))


def table(model: Model, bounds: Bounds) -> list[dict[str, Any]]:
    """A row an image; ELBO, reconstruction and KL in nats, null where they are not finite."""
    rows = model.dataset.valid.take(slice(SHOWN)).in_memory()
    seed = int(model.hyper.seed)
    seen, means = model.observe(rows.images, seed), model.decode(model.encode(rows.images, seed)[0])
    shown = look(seen)
    shown = shown if shown.lines else shown._replace(size=1)  # pixel for pixel: W&B enlarges
    with np.errstate(all="ignore"):  # what explodes overflows here too
        shades = [[np.asarray(tile(image, shown)) for image in images] for images in (seen, means)]
    found = []
    for index in range(len(rows.images)):
        row = {"image": shades[0][index], "reconstructed": shades[1][index]}
        if rows.labels is not None:
            labels = zip(model.dataset.labels_named, rows.labels[index].tolist(), strict=True)
            row |= {f"label/{name}": label for name, label in labels}
        reconstruction, kl = float(bounds.reconstruction[index]), float(bounds.kl[index])
        found.append(row | finite_or_null({"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}))
    return found
