"""Pictures of what somebody asks a trained model for: samples, the way between two images, a latent moved."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from vaex.figures.decoded import signed
from vaex.figures.subject import type_of_images
from vaex.figures.tiles import Look, grid

MOST = 2000
"""Images in one picture; an array takes any number."""


def samples(images: type_of_images, look: Look, heading: str) -> Image.Image:
    """Images in rows."""
    rows = [images[k : k + look.columns] for k in range(0, len(images), look.columns)]
    return grid([rows], heading + look.scale, look)


def interpolation(ends: type_of_images, between: type_of_images, look: Look, heading: str) -> Image.Image:
    """Two images and, between them, what the codes on the way decode to."""
    shares = np.linspace(0, 1, len(between))
    above = ["image", *(f"{share:.2f}" for share in shares), "image"]
    return grid([[np.concatenate([ends[:1], between, ends[1:]])]], heading + look.scale, look, above=above)


def traversal(
    rows: Sequence[type_of_images],
    latents: Sequence[int],
    values: Float[np.ndarray, " steps"],
    look: Look,
    heading: str,
) -> Image.Image:
    """A row for each latent, a column for each value."""
    names = [f"latent {latent}" for latent in latents]
    return grid([list(rows)], heading + look.scale, look, names, list(map(signed, values)))
