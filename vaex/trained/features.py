"""Features in which samples are compared with data: of a classifier trained on the dataset's labels, else PCA.

They are kept in the user's cache directory under the dataset's digest (`VAEX_CACHE` moves it, and switches it off
when empty), with a SHA-256, as data that are never executed. A cache that is damaged or cannot be used costs a line in
the log and the seconds of making them again: for 20 000 rows of Fashion-MNIST 18 to 22 s of a core's time, to an
accuracy of 87.8 % on its test split, and PCA 3 to 12 s.
"""

import functools
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import lax
from jaxtyping import Array, Float, Float32, PyTree, Shaped

from vaex import files
from vaex.data.dataset import Dataset, Split, type_of_rows
from vaex.disk import checkpoint
from vaex.errors import InputError
from vaex.judging.estimate import Estimate, share
from vaex.judging.label_probes import holds_classes
from vaex.judging.subject import Features
from vaex.trained import classifier

log = logging.getLogger("vaex")

ROWS = 20_000
"""Training rows used, at most, …"""
VALUES = 1 << 26
"""… and values in them, which bounds memory to a few times 256 MB."""
BATCH = 500
"""Images at once. The last batch is filled up, so that an image's features do not depend on its company."""
RECIPE = 1
"""Counts the versions of what is computed here and in classifier.py: what another one has kept is not used."""

Network = Callable[[PyTree, Float[Array, "batch H W C"]], Float[Array, "batch F"]]


def features(dataset: Dataset) -> Features:
    """Features for a dataset: of a classifier of its first column of labels that are classes, else of PCA."""
    training = _training_rows(dataset.train)
    column = _column_of_classes(training)
    made_by = "PCA" if column is None else f"classifier of {dataset.labels_named[column]}"
    path = _path(dataset.digest, made_by)
    fitted = _kept(path, training, column)
    if fitted is None:
        fitted = _fit(training, column)
        _keep(path, fitted)
    digest = files.sha256(safetensors.numpy.save(checkpoint.flatten(fitted)))
    of = functools.partial(_batched, functools.partial(_standardised, _network(column), fitted))
    return Features(of, digest, made_by, _accuracy(fitted, training, dataset.test, column))


def _training_rows(train: Split) -> Split:
    """At most `ROWS` rows and `VALUES` values, evenly spread, since files are often sorted."""
    n = len(train.images)
    rows = min(n, ROWS, max(1, VALUES // math.prod(train.images.shape[1:])))
    return train if rows == n else train.take(np.arange(rows) * n // rows)


def _column_of_classes(training: Split) -> int | None:
    """The first column of labels that are two classes or more."""
    columns = () if training.labels is None else training.labels.T
    usable = (i for i, column in enumerate(columns) if holds_classes(column) and len(np.unique(column)) > 1)
    return next(usable, None)


def _network(column: int | None) -> Network:
    return _project if column is None else classifier.features


def _project(components: Float[Array, "D F"], x: Float[Array, "batch H W C"]) -> Float[Array, "batch F"]:
    """PCA's coordinates; its mean is taken off afterwards, as any features' is."""
    return jnp.matmul(x.reshape(x.shape[0], -1), components, precision=lax.Precision.HIGHEST)


def _fit(training: Split, column: int | None) -> PyTree:
    """Everything fitted: scale of the input, network, mean and scale of the features, as NumPy arrays."""
    x = _float(training.images)
    scale = {"mean": x.mean(dtype=np.float64).astype(np.float32), "scale": _positive(x.std(dtype=np.float64))}
    x = (x - scale["mean"]) / scale["scale"]
    if column is None:
        network: PyTree = _principal_components(x)
    else:
        network = classifier.train(x, _numbered(training, column)[0])
    size = network.shape[1] if column is None else classifier.FEATURES
    identity = {"mean": np.zeros(size, np.float32), "scale": np.float32(1)}
    unscaled = {"input": scale, "network": jax.tree.map(np.asarray, network), "output": identity}
    found = _batched(functools.partial(_standardised, _network(column), unscaled), training.images).astype(np.float64)
    output = {"mean": found.mean(axis=0).astype(np.float32), "scale": _positive(np.sqrt(found.var(axis=0).mean()))}
    return unscaled | {"output": output}


def _principal_components(x: Float32[np.ndarray, "N H W C"]) -> Float32[np.ndarray, "D F"]:
    """The directions of most variance, scikit-learn's signs: the entry of largest size is positive."""
    from sklearn.decomposition import PCA  # takes a second

    rows = x.reshape(len(x), -1)
    size = min(classifier.FEATURES, *rows.shape)
    if not rows.any():  # images that are all the same: every direction is as good, and scikit-learn divides 0 by 0
        return np.eye(rows.shape[1], size, dtype=np.float32)
    model = PCA(size, random_state=classifier.SEED).fit(rows)
    return np.asarray(model.components_, dtype=np.float32).T.copy()


def _numbered(training: Split, column: int) -> tuple[np.ndarray, Shaped[np.ndarray, " classes"]]:
    """The class of each training row as a number from 0, and the label that each number stands for."""
    assert training.labels is not None
    labels, numbers = np.unique(training.labels[:, column], return_inverse=True)
    return numbers.astype(np.int32), labels


@functools.partial(jax.jit, static_argnames="network")
def _standardised(network: Network, fitted: PyTree, x: Float[Array, "batch H W C"]) -> Float[Array, "batch F"]:
    """(features − mean) / scale, both of the training rows, of images as they are."""
    found = network(fitted["network"], _scaled(fitted, x))
    return (found - fitted["output"]["mean"][None]) / fitted["output"]["scale"]


@jax.jit
def _logits(fitted: PyTree, x: Float[Array, "batch H W C"]) -> Float[Array, "batch classes"]:
    return classifier.logits(fitted["network"], _scaled(fitted, x))


def _scaled(fitted: PyTree, x: Float[Array, "batch H W C"]) -> Float[Array, "batch H W C"]:
    return (x - fitted["input"]["mean"]) / fitted["input"]["scale"]


def _batched(
    function: Callable[[Float32[np.ndarray, "batch H W C"]], Float[Array, "batch F"]], images: type_of_rows
) -> Float32[np.ndarray, "N F"]:
    """A function of a batch of float images for any number of images as a dataset has them."""
    found = []
    for start in range(0, len(images), BATCH):
        x = _float(images[start : start + BATCH])
        filled = np.pad(x, ((0, BATCH - len(x)), (0, 0), (0, 0), (0, 0)))
        found.append(np.asarray(function(filled))[: len(x)])
    return np.concatenate(found)


def _accuracy(fitted: PyTree, training: Split, test: Split, column: int | None) -> Estimate | None:
    if column is None or test.labels is None:
        return None
    labels = _numbered(training, column)[1]
    scores = _batched(functools.partial(_logits, fitted), test.images)
    return share(labels[scores.argmax(axis=1)] == test.labels[:, column])


def _float(rows: type_of_rows) -> Float32[np.ndarray, "N H W C"]:
    images = np.asarray(rows)
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def _positive(scale: Any) -> np.float32:
    return np.float32(scale if scale > 0 else 1)  # of a constant: nothing to scale


def _path(dataset_digest: str, made_by: str) -> Path | None:
    """Where the fitted numbers are kept; None when the user's cache is off."""
    chosen = os.environ.get("VAEX_CACHE")
    if chosen == "":
        return None
    try:
        root = files.user_directory("VAEX_CACHE", "") if not chosen else files.expanded(chosen)
    except InputError:  # no home: nothing is kept
        return None
    return root / "features" / f"{files.sha256(f'{RECIPE} {dataset_digest} {made_by}'.encode())}.ckpt"


def _kept(path: Path | None, training: Split, column: int | None) -> PyTree | None:
    """What an earlier command has fitted, if every byte is as it was written."""
    if path is None or not path.exists():
        return None
    try:
        return checkpoint.unflatten(_template(training, column), checkpoint.load(path)[0], path)
    except InputError as error:
        log.warning("%s; the features are made again", error)
        return None


def _template(training: Split, column: int | None) -> PyTree:
    """Names, types and shapes of what `_fit` returns."""
    shape = training.images.shape[1:]
    number = jax.ShapeDtypeStruct((), np.float32)
    if column is None:
        size = min(classifier.FEATURES, len(training.images), math.prod(shape))
        network: PyTree = jax.ShapeDtypeStruct((math.prod(shape), size), np.float32)
    else:
        size, classes = classifier.FEATURES, len(_numbered(training, column)[1])
        network = jax.eval_shape(lambda: classifier.init(shape, classes))
    mean = jax.ShapeDtypeStruct((size,), np.float32)
    return {
        "input": {"mean": number, "scale": number},
        "network": network,
        "output": {"mean": mean, "scale": number},
    }


def _keep(path: Path | None, fitted: PyTree) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        checkpoint.save(path, checkpoint.flatten(fitted), {})
    except OSError as error:
        log.warning("%s: the features are not kept: %s", path, files.first_line(error))
