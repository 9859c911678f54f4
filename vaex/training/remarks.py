"""What is odd about data that can be trained on nevertheless: one line each, said before training."""

import functools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vaex.config import implementation
from vaex.data.dataset import Dataset

log = logging.getLogger("vaex")

DIM = 25
"""uint8 values that end here are a tenth of white at most: probably not meant as value / 255."""

CHANNELS = (1, 2, 3, 4)
"""As many channels as pictures have."""


def of(config: Any, dataset: Dataset, likelihood: Any) -> tuple[str, ...]:
    """The remarks on a dataset, which `config` describes, under a likelihood."""
    own = (f"dataset={config.name}: {line}" for line in (*_axes(dataset), *_values(config, dataset, likelihood)))
    return (*dataset.remarks, *own)


def warn(lines: Sequence[str]) -> None:
    """Warn of each on the screen, once a command, whatever number of its jobs it is about."""
    for line in lines:
        _warn(line)


@functools.cache
def _warn(line: str) -> None:
    log.warning("%s", line)


def _axes(dataset: Dataset) -> Iterator[str]:
    height, width, channels = dataset.shape
    if height in CHANNELS and channels not in CHANNELS:
        yield (
            f"its axes are taken as N x H x W x C = N x {height} x {width} x {channels}; if they are N x C x H x W, "
            "save np.transpose(array, (0, 2, 3, 1))"
        )


def _values(config: Any, dataset: Dataset, likelihood: Any) -> Iterator[str]:
    low, high, few = dataset.values
    is_bytes = dataset.train.images.dtype == np.uint8
    low_meant, high_meant = (value / 255 if is_bytes else value for value in (low, high))
    if low == high:
        yield f"every value is {low_meant:g}: there is nothing to learn"
    elif is_bytes and high <= DIM:
        if getattr(config, "range", None) is None:  # else it is meant
            fix = _fix(config, high)
            yield f"its uint8 values end at {high:g}, and uint8 counts as value / 255: nearly black; {fix}"
    elif few and _treats_as_grey(likelihood, low_meant, high_meant):
        two = "likelihood=bernoulli models two values, 0 and 1"
        if hasattr(likelihood, "binarize"):
            two = "likelihood.binarize=threshold models two values, cut at ½"
        yield (
            f"its only values are {low_meant:g} and {high_meant:g}, which likelihood={likelihood.name} treats as "
            f"shades of grey; {two}"
        )


def _fix(config: Any, high: float) -> str:
    if not hasattr(config, "range"):
        return "scale the values up to 255"
    as_it_is = "dataset.range=[0,1] takes 0 and 1 as they are" if high == 1 else "scale the values up to 255"
    return f"{as_it_is}, dataset.range=[0,255] says that it is meant"


def _treats_as_grey(likelihood: Any, low: float, high: float) -> bool:
    ask = getattr(implementation(likelihood), "treats_as_grey", None)  # a plugin need not say
    return ask is not None and ask(likelihood, low, high)
