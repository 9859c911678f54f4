"""Datasets, each loaded once a process; their images in a device's memory, once for all runs."""

import functools
import threading
from typing import Any

import jax
import numpy as np

from vaex.config import implementation
from vaex.data.dataset import Dataset
from vaex.device import mesh
from vaex.disk.directory import type_of_device

_loading = threading.Lock()


def load(dataset: Any) -> Dataset:
    """The dataset of a configuration's section, kept for the next job that wants the same one."""
    with _loading:
        return _load(dataset)


@functools.lru_cache(maxsize=16)
def _load(dataset: Any) -> Dataset:
    return implementation(dataset).load(dataset)


def on_device(dataset: Dataset, device: type_of_device) -> tuple[jax.Array, jax.Array]:
    """Training images, and validation and test images one after the other, in a device's memory once for all runs."""
    with _loading:
        return _on_device(dataset, device)


@functools.lru_cache(maxsize=16)
def _on_device(dataset: Dataset, device: type_of_device) -> tuple[jax.Array, jax.Array]:
    held_out = np.concatenate([np.asarray(split.images) for split in (dataset.valid, dataset.test)])
    return mesh.put((np.asarray(dataset.train.images), held_out), device)
