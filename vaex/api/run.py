"""One run as an object: what it recorded, and what its model says of images and codes."""

import functools
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32
from PIL import Image
from safetensors import SafetensorError

from vaex import files
from vaex.api import inputs, shown, states
from vaex.api.limits import MOST_DRAWS
from vaex.api.states import State
from vaex.data.dataset import Split
from vaex.device import backend
from vaex.disk import checkpoint, metrics
from vaex.disk.directory import named_path, read_manifest
from vaex.disk.saved import read_saved
from vaex.errors import InputError
from vaex.trained.model import Model, read_model, read_state

SPLITS = ("train", "valid", "test")


class Code(NamedTuple):
    """q(z|x) of each image."""

    mu: Float32[np.ndarray, "... K"]
    sigma: Float32[np.ndarray, "... K"]


class Run:
    """A run from its directory: configuration, summary, one row an epoch, one value a step; its model on request.

    Images are given as arrays or lists, uint8 (0 to 255) or float, N x H x W [x C] or a single one; for a single one
    the answer has no first axis. Wrong shapes, types and values raise `InputError` or `DataError` (both `VaexError`).
    Images go through the model in batches, so that any number of them fits into memory. All numbers are in nats.
    """

    def __init__(self, directory: Path, overrides: Sequence[str], state: State):
        self.directory = directory
        self.config: dict[str, Any] = files.read_yaml(directory / "config.yaml")
        self.summary: dict[str, Any] = _summary(directory)
        self.metrics = pd.DataFrame(metrics.read_rows(directory / "metrics.jsonl"))
        self.steps: dict[str, np.ndarray] = metrics.read_steps(directory / "steps.npz")
        self._overrides, self._state = overrides, state

    @property
    def model_arrays(self) -> dict[str, np.ndarray]:
        """The arrays in model.safetensors by their flat names, `encoder.0.kernel`: of the end, whatever the state."""
        path = self.directory / "model.safetensors"
        try:
            return checkpoint.arrays_in(files.read_bytes(path))
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as safetensors: {files.first_line(error)}") from error

    def data(self, split: str = "test") -> Split:
        """Images and labels (or None) of a split, as the run had them."""
        if split not in SPLITS:
            raise InputError(f"split: expected {', '.join(SPLITS)}, got {split!r}")
        return getattr(self._model.dataset, split)

    @property
    def labels_named(self) -> tuple[str, ...]:
        """The names of the labels' columns."""
        return self._model.dataset.labels_named

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self._model.dataset.shape

    @property
    def latents(self) -> int:
        """K, the number of latents."""
        return self._model.config.model.latent_dim

    def prior(self, n: int, seed: int = 0, temperature: inputs.type_of_number = 1.0) -> Float32[np.ndarray, "n K"]:
        """n codes z = temperature · ε, ε ~ N(0, I): those of `sample`."""
        return self._model.prior(
            inputs.count(n, "n", inputs.MOST_CODES), inputs.seed(seed), inputs.temperature(temperature)
        )

    def encode(self, images: Any, seed: int = 0) -> Code:
        """μ and σ of q(z|x). The seed is of the pixels that `likelihood.binarize=stochastic` draws."""
        rows, single = inputs.images(images, self._model)
        mu, sigma = self._model.encode(rows, inputs.seed(seed))
        return Code(mu[0], sigma[0]) if single else Code(mu, sigma)

    def decode(self, z: Any) -> Float32[np.ndarray, "... H W C"]:
        """E[x|z] of each code: mean images."""
        rows, single = inputs.codes(z, self._model)
        decoded = self._model.decode(rows)
        return decoded[0] if single else decoded

    def reconstruct(self, images: Any, seed: int = 0) -> Float32[np.ndarray, "... H W C"]:
        """E[x|z] at z = μ(x)."""
        return self.decode(self.encode(images, seed).mu)

    def sample(
        self, n: int = 1, seed: int = 0, temperature: inputs.type_of_number = 1.0
    ) -> Float32[np.ndarray, "n H W C"]:
        """E[x|z] at n codes z = temperature · ε, ε ~ N(0, I)."""
        return self._model.decode(self.prior(n, seed, temperature))

    def elbo(self, images: Any, samples: int = 100, seed: int = 0) -> Float[np.ndarray, " N"] | float:
        """The ELBO of each image (β = 1), by so many draws of z."""
        rows, single = inputs.images(images, self._model)
        found = self._model.bounds(rows, inputs.count(samples, "samples", MOST_DRAWS), inputs.seed(seed))
        elbo = -(found.reconstruction + found.kl)
        return float(elbo[0]) if single else elbo

    def log_likelihood(self, images: Any, samples: int = 1000, seed: int = 0) -> Float[np.ndarray, " N"] | float:
        """log p(x) of each image, bounded from below by so many importance-weighted draws (Burda et al. 2016).

        Of bernoulli on grey pixels it is no likelihood: a cross-entropy takes the place of log p(x|z).
        """
        rows, single = inputs.images(images, self._model)
        bound = self._model.bounds(rows, inputs.count(samples, "samples", MOST_DRAWS), inputs.seed(seed)).curve[-1]
        return float(bound[0]) if single else bound

    def interpolate(self, first: Any, second: Any, steps: int = 8) -> Float32[np.ndarray, "steps H W C"]:
        """E[x|z] at so many even steps from the posterior mean of one image to that of another, both included."""
        ends = [self._one(image).mu for image in (first, second)]
        places = np.linspace(0.0, 1.0, inputs.count(steps, "steps", inputs.MOST_CODES), dtype=np.float32)[:, None]
        return self._model.decode((1 - places) * ends[0] + places * ends[1])

    def traverse(self, image: Any, latent: int, values: Any) -> Float32[np.ndarray, "values H W C"]:
        """E[x|z] at an image's posterior mean with one latent (from 0) set to each of these values."""
        number = inputs.latent(latent, self._model)
        places = inputs.values(values)
        codes = np.repeat(self._one(image).mu[None], len(places), axis=0)
        codes[:, number] = places
        return self.decode(codes)

    def figure(self, name: str) -> Image.Image:
        """The figure of this name, drawn where it is not there yet (`vaex figures` draws all again).

        That of a chosen state is drawn each time and not kept: the run's own figures are of its end.
        """
        if self._state == "last":
            return self._figure(self.directory, f"{self.directory}", name)
        with tempfile.TemporaryDirectory() as folder:
            return self._figure(Path(folder), f"{self.directory}, checkpoint {self._state}", name)

    def _figure(self, folder: Path, title: str, name: str) -> Image.Image:
        from vaex.trained import pictures  # late: matplotlib takes half a second

        rows = metrics.read_rows(self.directory / "metrics.jsonl")
        with Image.open(pictures.one(folder, self._model, rows, title, name)) as image:
            return image.copy()

    def __repr__(self) -> str:
        """Where it is and how it ended."""
        return f"<vaex run {self.directory}: {shown.ended(self.summary)}>"

    def _repr_html_(self) -> str:
        """What it is, how it ended, a picture: for notebooks."""
        return shown.html(self.directory, self.config, self.summary)

    def _one(self, image: Any) -> Code:
        code = self.encode(image)
        if code.mu.ndim != 1:
            raise InputError(f"image: expected a single one, got {len(code.mu)}")
        return code

    @functools.cached_property
    def _model(self) -> Model:
        """Read when first asked for: that starts JAX."""
        return read(self.directory, self._overrides, self._state)


def _summary(directory: Path) -> dict[str, Any]:
    """A run's summary.json; raises `InputError`, for a run that was cut off with how it goes on."""
    path = directory / "summary.json"
    if not files.exists(path):
        raise InputError(
            f"{path}: is not there: the run has not ended; `vaex resume {shlex.quote(str(directory))}` goes on with it"
        )
    return files.read_json(path)


def read(directory: Path, overrides: Sequence[str], state: State) -> Model:
    """The model of a run in one of its states, JAX started as the run had it."""
    backend.start(read_manifest(directory))
    config = read_saved(directory, overrides)
    epoch = states.epoch(directory, state)
    return read_model(directory, config) if epoch is None else read_state(directory, config, epoch)


def load(directory: str | Path, *overrides: str, checkpoint: State | np.integer = "last") -> Run:
    """Read a run directory; a file that is missing or damaged raises `InputError` naming it.

    `overrides` say what the run's files do not decide: `plugins=[...]`, which run code, and `dataset.path=...` for data
    that are elsewhere now. `checkpoint` chooses the state: "last", "best" (by valid/elbo), or an epoch that was kept.
    """
    for item in overrides:
        if not item.startswith(("plugins=", "dataset.path=")):
            raise InputError(f"{item}: vaex.load takes plugins=[...] and dataset.path=...")
    is_epoch = isinstance(checkpoint, (int, np.integer)) and not isinstance(checkpoint, bool)
    if not is_epoch and checkpoint not in ("last", "best"):
        raise InputError(f"checkpoint: expected 'last', 'best' or an epoch, got {checkpoint!r}")
    named_path("load", [str(directory)])
    return Run(Path(directory), overrides, checkpoint if isinstance(checkpoint, str) else int(checkpoint))
