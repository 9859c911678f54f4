"""A function as data: plain operations on named float32 arrays, each on the results of those before it.

What an operation means is said once, by `interpreter.py` in NumPy; everything else that runs a graph must agree with
it. There are few of them, so that a new runtime is a short file:

    neg abs sign exp expm1 log log1p sqrt rsqrt tanh logistic erf floor is_finite not         of one array
    add sub mul div max min pow  greater greater_equal less less_equal equal not_equal  and or     of two
    select                       condition, where true, where false
    matmul                       ... x n times n x m
    reshape, expand              attribute `shape`
    transpose                    `permutation`
    slice                        `starts`, `limits`, `strides`: one a axis
    pad                          `low`, `high`: one a axis; the second input is the value
    concatenate                  `axis`
    sum, maximum                 `axes`, which are gone afterwards
    round                        `to`: float16 or bfloat16, the values those formats have, as float32

Operations of two and three arrays broadcast as NumPy does. A length that is not known before is -1: that of the first
axis of all inputs and outputs, the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = -1
"""The length of the first axis, in shapes."""

type_of_shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One step: the names of what it takes, in order, and of what it makes."""

    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """Inputs by name with their shapes, constants, operations in an order that runs, outputs: a name and what it is."""

    inputs: Mapping[str, type_of_shape]
    constants: Mapping[str, np.ndarray]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]
    """The array in the graph that each output is."""
    shapes: Mapping[str, type_of_shape]
    """The shape of each output."""

    def as_json(self) -> dict[str, Any]:
        """All but the constants' values, as plain data."""
        return {
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": dict(self.outputs),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "operations": [
                {"name": each.name, "inputs": list(each.inputs), "output": each.output, **each.attributes}
                for each in self.operations
            ],
        }
