"""A trained model as functions of any number of images: encode, decode, samples, bounds. Compiled, in bounded memory.

Images go through in batches of one size, the last one filled up, on as many threads as there are cores. What is drawn
for a batch follows from the seed and the batch's number, so no number depends on the threads or on how many follow.
"""

import functools
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key, PyTree, Shaped
from safetensors import SafetensorError

from vaex import files
from vaex.config import Config, implementation
from vaex.data.dataset import Dataset, type_of_rows
from vaex.device import compiled
from vaex.device.datasets import load
from vaex.disk import checkpoint, saved, threads
from vaex.disk.directory import read_manifest, type_of_device
from vaex.errors import InputError
from vaex.judging.subject import Bounds
from vaex.trained.rows import Rows
from vaex.vae import bound, objective, step
from vaex.vae.objective import EVALUATION, MATMUL, PRIOR, Hyper, Program

BATCH = 250
"""Images at once: what a core works on then stays in its cache."""

type_of_function = Callable[..., tuple[Array, ...]]
Tell = Callable[[int, int], None]
"""Told after each batch how many are done, of how many; what it raises ends the work."""


class Model:
    """A model with its parameters on a device, and the data that it was trained on.

    `digest` is the SHA-256 of its model.safetensors.
    """

    def __init__(
        self, config: Config, parameters: PyTree, dataset: Dataset, digest: str, device: type_of_device | None = None
    ):
        self.config, self.dataset, self.digest = config, dataset, digest
        self.program: Program = objective.program(config, dataset.shape)
        self._device = device or jax.devices()[0]
        self.hyper: Hyper = jax.device_put(objective.hyper(config), self._device)
        self.parameters: PyTree = jax.device_put(parameters, self._device)

    def encode(
        self, images: type_of_rows | Rows, seed: int = 0
    ) -> tuple[Float32[np.ndarray, "N K"], Float32[np.ndarray, "N K"]]:
        """μ and |σ| of q(z|x). `seed` is of what the likelihood draws (stochastic binarization)."""
        mu, sigma = self._batched(_encode, images, objective.stream(jnp.uint32(seed), EVALUATION))
        return mu, sigma

    def observe(self, images: type_of_rows | Rows, seed: int = 0) -> Float32[np.ndarray, "N H W C"]:
        """The images as `encode` sees them with this seed: x, perhaps binarized."""
        (seen,) = self._batched(_observe, images, objective.stream(jnp.uint32(seed), EVALUATION))
        return seen

    def decode(self, z: Float[np.ndarray, "N K"]) -> Float32[np.ndarray, "N H W C"]:
        """E[x|z] of each code."""
        (images,) = self._batched(_decode, np.asarray(z, np.float32), objective.stream(jnp.uint32(0), PRIOR))
        return images

    def samples(self, count: int, seed: int, temperature: float = 1.0) -> Float32[np.ndarray, "N H W C"]:
        """E[x|z] at z = temperature · ε, ε drawn from the prior."""
        return self.decode(self.prior(count, seed, temperature))

    def prior(self, count: int, seed: int, temperature: float = 1.0) -> Float32[np.ndarray, "N K"]:
        """z = temperature · ε, ε ~ N(0, I)."""
        key = objective.stream(jnp.uint32(seed), PRIOR)
        return np.float32(temperature) * np.asarray(objective.noise(key, count, self.config.model.latent_dim))

    def bounds(
        self, images: type_of_rows | Rows, samples: int, seed: int, tell: Tell = lambda done, of: None
    ) -> Bounds:
        """The bounds of each image by so many draws, summed up in float32 and given as float64."""
        key = objective.stream(jnp.uint32(seed), EVALUATION)
        marks = bound.marks(samples)
        found = self._batched(_bounds, images, key, marks, tell)
        reconstruction, kl, curve, effective = (array.astype(np.float64) for array in found)
        return Bounds(reconstruction, kl, curve.T, effective, marks)

    def _batched(
        self,
        function: type_of_function,
        rows: Shaped[np.ndarray, "N ..."] | type_of_rows | Rows,
        key: Key[Array, ""],
        marks: tuple[int, ...] = (),
        tell: Tell = lambda done, of: None,
    ) -> tuple[np.ndarray, ...]:
        """What a function gives for each row."""
        key = jax.device_put(key, self._device)

        def work(number: int) -> tuple[np.ndarray, ...]:
            batch = rows[number * BATCH : (number + 1) * BATCH]
            filled = np.pad(batch, ((0, BATCH - len(batch)), *((0, 0) for _ in batch.shape[1:])), mode="edge")
            on_device = jax.device_put((filled, np.int32(number)), self._device)
            arguments = (self.hyper, self.parameters, *on_device, key)
            made = compiled.ahead(function, (self.program, marks), arguments, self._device)
            return tuple(np.asarray(array)[: len(batch)] for array in made(*arguments))

        count, done = -(-len(rows) // BATCH), []
        for part in _pool().map(work, range(count)):
            done.append(part)
            tell(len(done), count)
        return tuple(np.concatenate(parts) for parts in zip(*done, strict=True))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """The threads of all models together: runs that are judged side by side share the cores."""
    return ThreadPoolExecutor(threads.cores(), thread_name_prefix="model")


# Functions of a batch: (program, marks), which are compiled in, then hyper, parameters, rows, the batch's number, key.


def _observe(
    program: Program, marks: tuple[int, ...], hyper: Hyper, parameters: PyTree, rows: Array, number: Array, key: Array
) -> tuple[Array, ...]:
    likelihood = implementation(program.likelihood)
    observed = jax.random.fold_in(jax.random.fold_in(key, number), 1)  # the same draw as `bounds` makes
    return (likelihood.observe(program.likelihood, observed, objective.as_float(rows)),)


def _encode(
    program: Program, marks: tuple[int, ...], hyper: Hyper, parameters: PyTree, rows: Array, number: Array, key: Array
) -> tuple[Array, ...]:
    (x,) = _observe(program, marks, hyper, parameters, rows, number, key)
    with jax.default_matmul_precision(MATMUL[program.precision.matmul]):
        q = objective.encode(program, hyper, parameters, x)
    return q.mu.astype(jnp.float32), jnp.abs(q.sigma.astype(jnp.float32))


def _decode(
    program: Program, marks: tuple[int, ...], hyper: Hyper, parameters: PyTree, rows: Array, number: Array, key: Array
) -> tuple[Array, ...]:
    with jax.default_matmul_precision(MATMUL[program.precision.matmul]):
        return (objective.mean_images(program, parameters, rows),)


def _bounds(
    program: Program, marks: tuple[int, ...], hyper: Hyper, parameters: PyTree, rows: Array, number: Array, key: Array
) -> tuple[Array, ...]:
    found = bound.bounds(program, hyper, parameters, rows, jax.random.fold_in(key, number), marks)
    return found.reconstruction, found.kl, found.curve.T, found.effective


def read_model(directory: Path, config: Config) -> Model:
    """The model that a run left, its configuration read already; raises `InputError` when it cannot be had."""
    dataset = _data(directory, config)
    path = directory / "model.safetensors"
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    parameters = _parameters(content, path, objective.program(config, dataset.shape))
    _refuse_not_finite(parameters, path)
    digest, summary = files.sha256(content), directory / "summary.json"
    saved_as = files.read_json(summary).get("parameters_sha256") if summary.exists() else None
    if saved_as not in (None, digest):
        raise InputError(
            f"{path}: is not the model that the run saved (its SHA-256 is not the one in summary.json); "
            f"`vaex reproduce {shlex.quote(str(directory))} seed={config.seed}` makes it again"
        )
    return Model(config, parameters, dataset, digest)


def read_state(directory: Path, config: Config, epoch: int) -> Model:
    """The model as a run's checkpoint of an epoch has it; raises `InputError` when it cannot be had."""
    dataset = _data(directory, config)
    path = checkpoint.path_of(directory, epoch)
    arrays, _ = checkpoint.load(path)
    state = checkpoint.unflatten(step.shapes(objective.program(config, dataset.shape)), arrays, path)
    _refuse_not_finite(state.parameters, path)
    return Model(config, state.parameters, dataset, files.sha256_of_file(path))


def _data(directory: Path, config: Config) -> Dataset:
    """The data that a run was trained on."""
    with saved.telling_where_data_were_sought(config, directory):
        dataset = load(config.dataset)
    recorded = read_manifest(directory).get("dataset_sha256")
    if recorded is not None:
        saved.refuse_other_data(directory, config.dataset, dataset.digest, recorded)
    return dataset


def _refuse_not_finite(parameters: PyTree, path: Path) -> None:
    """Raise `InputError` for numbers that no run leaves: a diverged one has its last finite state."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)):
        raise InputError(f"{path}: holds parameters that are not finite")


def _parameters(content: bytes, path: Path, program: Program) -> PyTree:
    """The parameters in a model.safetensors; raises `InputError` when it cannot be read or is of another model."""
    try:
        arrays = checkpoint.arrays_in(content)
    except (SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error
    template = step.shapes(program).parameters
    own = {name: array for name, array in arrays.items() if name.startswith("likelihood.")}
    model = {name: array for name, array in arrays.items() if name not in own}
    return {
        "model": checkpoint.unflatten(template["model"], model, path),
        **checkpoint.unflatten({"likelihood": template["likelihood"]}, own, path),
    }


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: cannot be read as safetensors: {files.first_line(error)}; "
        f"`vaex reproduce {shlex.quote(str(path.parent))}` makes it again"
    )
