"""The figures by name, and how a set of them is drawn: what fails, or does not fit, costs no other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vaex import files
from vaex.config.validation import nearest
from vaex.errors import InputError
from vaex.figures import curves, decoded, images, latents, plane, style
from vaex.figures.subject import Subject


class Kind(NamedTuple):
    """A figure, and when it is drawn: at a run's end too, by `vaex figures RUN`, or only where it is named."""

    draw: Callable[[Subject], Figure | Image.Image]
    at_end: bool = False
    unasked: bool = True


FIGURES: dict[str, Kind] = {
    "reconstructions": Kind(images.reconstructions, at_end=True),
    "samples": Kind(images.samples, at_end=True),
    "curves": Kind(curves.curves, at_end=True),
    "traversals": Kind(decoded.traversals, at_end=True),
    "interpolation": Kind(decoded.interpolation, at_end=True),
    "manifold": Kind(decoded.manifold, at_end=True),
    "latents": Kind(latents.latents),
    "scatter": Kind(plane.scatter, at_end=True),
    "aggregate": Kind(latents.aggregate),
    "worst": Kind(images.worst),
    "tsne": Kind(plane.tsne, unasked=False),
}
"""A figure's file is figures/NAME.png."""

AT_END = tuple(name for name, kind in FIGURES.items() if kind.at_end)
UNASKED = tuple(name for name, kind in FIGURES.items() if kind.unasked)


def check(names: Iterable[str]) -> None:
    """Raise `InputError` for a name that no figure has."""
    for name in names:
        if name not in FIGURES:
            known = f"figures: {', '.join(FIGURES)}"
            raise InputError(f"no figure {name!r}{nearest(name, FIGURES)} ({known})")


def draw(folder: Path, subject: Subject, names: Iterable[str]) -> dict[str, Path | Exception]:
    """Write figures of a run to a folder; by name the file, or why there is none.

    Raises `OSError` where nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Path | Exception] = {}
    for name in names:
        try:
            with np.errstate(all="ignore"):  # what explodes overflows in pixels and axes too: it has been told already
                content = style.png(FIGURES[name].draw(subject))
        except Exception as error:  # `UnfitError`, or of a figure that is not made for such numbers
            drawn[name] = error
            continue
        drawn[name] = folder / f"{name}.png"
        files.write(folder / f"{name}.png", content)
    return drawn
