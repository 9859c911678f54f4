"""Validation images and their reconstructions, the worst of them, and samples from the prior."""

import numpy as np
from jaxtyping import Float
from PIL import Image

from vaex.figures.subject import Subject, type_of_images
from vaex.figures.tiles import Look, grid, look

SHOWN = 24
"""Images in a figure."""


def reconstructions(subject: Subject) -> Image.Image:
    """Rows of x, of x̂ = E[x|z] at the posterior's mean, and of |x − x̂|."""
    x = subject.seen()[:SHOWN]
    mean = subject.decode(subject.codes("valid").mu[:SHOWN])
    shown = look(x)._replace(size=subject.size)
    error, told = shown.errors(x, mean)
    rows = [over(x, mean, shown), error] if shown.lines else [x, mean, error]
    groups = [[row[k : k + shown.columns] for row in rows] for k in range(0, len(x), shown.columns)]
    what = "with their reconstructions (blue)" if shown.lines else "above their reconstructions"
    heading = f"validation images {what} and |error| ({told}), epoch {len(subject.rows)}{shown.scale}"
    return grid(groups, heading, shown)


def samples(subject: Subject) -> Image.Image:
    """E[x|z] at z from the prior."""
    shown, drawn = look(subject.seen()[:SHOWN])._replace(size=subject.size), subject.samples(SHOWN)
    rows = [drawn[k : k + shown.columns] for k in range(0, SHOWN, shown.columns)]
    return grid([rows], f"samples from the prior, epoch {len(subject.rows)}{shown.scale}", shown)


def worst(subject: Subject) -> Image.Image:
    """The images of largest −E_q log p(x|z), largest first, above their reconstructions, with nats and number below."""
    nats = subject.bounds().reconstruction
    order = by_size(nats)[:SHOWN]
    x, mean = subject.seen()[order], subject.decode(subject.codes("valid").mu[order])
    shown = look(subject.seen()[:SHOWN])
    rows = [over(x, mean, shown)] if shown.lines else [x, mean]
    parts = [slice(k, k + shown.columns) for k in range(0, len(order), shown.columns)]
    below = [[f"{nats[i]:.4g}\nno. {i}" for i in order[part]] for part in parts]
    what = "with" if shown.lines else "above"
    heading = (
        f"the worst of {len(nats)} validation images {what} their reconstructions; below −E log p(x|z) in nats "
        f"(mean {nats.mean():.4g}) and the image's number from 0{shown.scale}"
    )
    return grid([[row[part] for row in rows] for part in parts], heading, shown, below=below)


def by_size(values: np.ndarray) -> np.ndarray:
    """The order from the largest to the smallest; equal ones as they come, what is no number last."""
    return np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")


def over(x: type_of_images, mean: type_of_images, shown: Look) -> Float[np.ndarray, "_ 1 W 2"]:
    """Two lines in one tile, the second over the first."""
    assert shown.lines
    return np.concatenate([x, mean], axis=-1)
