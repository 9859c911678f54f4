"""What a run's figures show, asked of its model, and drawn: at the run's end, and by `vaex figures`."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32

from vaex import files
from vaex.disk.metrics import Row
from vaex.figures import gallery, images
from vaex.figures.subject import UnfitError
from vaex.figures.tiles import SIZE
from vaex.trained.model import Model
from vaex.trained.subject import ModelSubject
from vaex.vae import objective

log = logging.getLogger("vaex")

MOST = 5000
"""Validation images that are looked at: Fashion-MNIST's. Of more, the first ones."""

DRAWS = 10
"""Draws of z for the reconstruction term of an image."""

BESIDE_TRAINING = ("reconstructions", "samples")
"""Figures of an epoch, where `figures.every` asks for them."""


class PicturedModel(ModelSubject):
    """The model as figures see it: by its validation images, with noise of the run's seed."""

    def __init__(self, model: Model, rows: Sequence[Row], title: str, limit: int = MOST, size: int = SIZE):
        by = replace(model.config.evaluation.common, split="valid", samples=DRAWS, limit=limit, seed=model.config.seed)
        super().__init__(model, by, lambda done, of: None)
        self.rows, self.title, self.size = rows, title, size
        self.seen: Callable[[], Float32[np.ndarray, "N H W C"]] = functools.cache(self._seen)

    @property
    def threshold(self) -> float:
        """The Var_x E[z|x] above which the metric active_units calls a latent active."""
        options = dict(self._model.config.evaluation.options)
        if "active_units" not in options:
            raise UnfitError("needs evaluation.active_units.threshold, and the configuration has none")
        return options["active_units"].threshold

    def decode(self, z: Float[np.ndarray, "M K"]) -> Float32[np.ndarray, "M H W C"]:
        """E[x|z] of each code."""
        return self._model.decode(z)

    def noise(self, count: int) -> Float32[np.ndarray, "count K"]:
        """ε ~ N(0, I), from the seed's stream of the evaluation."""
        key = objective.stream(jnp.uint32(self.seed), objective.EVALUATION)
        return np.asarray(objective.noise(key, count, self._model.config.model.latent_dim))

    def _seen(self) -> Float32[np.ndarray, "N H W C"]:
        return self._model.observe(self.images("valid"), self.seed)


def draw(
    directory: Path, model: Model, rows: Sequence[Row], title: str, names: Iterable[str]
) -> dict[str, Path | Exception]:
    """Write the named figures of a run to its directory; by name the file, or why there is none."""
    return gallery.draw(directory / "figures", PicturedModel(model, rows, title), names)


def one(directory: Path, model: Model, rows: Sequence[Row], title: str, name: str) -> Path:
    """The file of one figure, drawn where it is not there yet; raises whatever keeps it from being drawn."""
    gallery.check([name])
    path = directory / "figures" / f"{name}.png"
    found = path if path.is_file() else draw(directory, model, rows, title, [name])[name]
    if isinstance(found, Exception):
        raise found
    return found


def at_the_end(directory: Path, model: Model, rows: Sequence[Row], title: str) -> dict[str, Path]:
    """Draw a run that has just been trained: what fits it and takes no time; a figure that fails is a warning."""
    return _told(directory, draw(directory, model, rows, title, gallery.AT_END))


def beside_training(folder: Path, model: Model, rows: Sequence[Row]) -> dict[str, Path]:
    """Write the images of an epoch to a folder of its own: of few images, half as large, a quarter of the work."""
    subject = PicturedModel(model, rows, "", limit=images.SHOWN, size=SIZE // 2)
    return _told(folder, gallery.draw(folder, subject, BESIDE_TRAINING))


def _told(folder: Path, drawn: dict[str, Path | Exception]) -> dict[str, Path]:
    """What was drawn; a figure that failed is a warning."""
    for name, error in drawn.items():
        if isinstance(error, Exception) and not isinstance(error, UnfitError):
            log.warning("%s: no %s.png (%s: %s)", folder, name, type(error).__name__, files.first_line(error))
    return {name: path for name, path in drawn.items() if isinstance(path, Path)}
