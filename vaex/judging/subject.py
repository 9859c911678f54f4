"""What a metric is given: a trained model seen through numbers. Each is computed when first asked for, once."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from vaex.judging.estimate import Estimate, Missing

Value = Estimate | Missing | list[dict[str, Any]]
"""A list has a number for each latent, or a row of numbers by name for each place of a curve."""

Found = dict[str, Value]
"""By name: a metric's own for its main value, else `METRIC/WHAT`."""

type_of_images = Shaped[np.ndarray, "N H W C"]


class Bounds(NamedTuple):
    """Of each image, nats: −E_q log p(x|z), KL, L_k for each mark k, effective draws (see `vaex/vae/bound.py`)."""

    reconstruction: Float[np.ndarray, " N"]
    kl: Float[np.ndarray, " N"]
    curve: Float[np.ndarray, "marks N"]
    effective: Float[np.ndarray, " N"]
    marks: tuple[int, ...]


class Codes(NamedTuple):
    """q(z|x) of each image of a split: μ and |σ|; labels, a column a name, where there are any."""

    mu: Float[np.ndarray, "N K"]
    sigma: Float[np.ndarray, "N K"]
    labels: Shaped[np.ndarray, "N L"] | None


class Features(NamedTuple):
    """A function from images to features, which have mean 0 and, on average, variance 1 over the training rows.

    `digest` is the SHA-256 of all numbers in it. `made_by` says what made it, in words; `accuracy` is a classifier's
    on the test split, None for PCA.
    """

    of: Callable[[type_of_images], Float[np.ndarray, "N F"]]
    digest: str
    made_by: str
    accuracy: Estimate | None


@runtime_checkable
class Subject(Protocol):
    """The model that is judged, and the images that it is judged by: the first `limit` of a split."""

    split: str
    seed: int
    labels_named: tuple[str, ...]
    pixels: int

    @property
    def no_density(self) -> str | None:
        """Why log p(x|z) is no log probability of the data, or None: it is."""
        ...

    def codes(self, split: str) -> Codes:
        """Of the images of a split; those judged are of `subject.split`."""
        ...

    def images(self, split: str) -> type_of_images:
        """As the dataset has them."""
        ...

    def bounds(self) -> Bounds:
        """Of the images judged, by the number of draws that the configuration says."""
        ...

    def samples(self, count: int) -> type_of_images:
        """E[x|z] at z from the prior."""
        ...

    def features(self) -> Features:
        """In which samples are compared with data."""
        ...
