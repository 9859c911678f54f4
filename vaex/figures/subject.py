"""What a figure is given: a trained model as numbers. Each is computed when first asked for, once."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vaex.errors import InputError
from vaex.judging.subject import Bounds, Codes

type_of_images = Float[np.ndarray, "_ H W C"]


class UnfitError(InputError):
    """Why this run has no such figure: silence at a run's end, a line where somebody asked for it by name."""


@runtime_checkable
class Subject(Protocol):
    """The model, its epochs, and the validation images that it is shown by: the first so many, in their order."""

    title: str
    rows: Sequence[dict[str, Any]]
    labels_named: tuple[str, ...]
    size: int
    """Pixels of an image once enlarged, in figures that are nothing but images."""

    @property
    def threshold(self) -> float:
        """Var_x E[z|x] above which a latent is active."""
        ...

    def seen(self) -> type_of_images:
        """The validation images as the encoder sees them: x, perhaps binarized."""
        ...

    @property
    def codes(self) -> Callable[[str], Codes]:
        """q(z|x) of each image of a split; figures are of `valid`."""
        ...

    def decode(self, z: Float[np.ndarray, "M K"]) -> type_of_images:
        """E[x|z] of each code."""
        ...

    def bounds(self) -> Bounds:
        """−E_q log p(x|z) of each validation image, among others."""
        ...

    def samples(self, count: int) -> type_of_images:
        """E[x|z] at z from the prior."""
        ...

    def noise(self, count: int) -> Float[np.ndarray, "count K"]:
        """ε ~ N(0, I), the same each time."""
        ...
