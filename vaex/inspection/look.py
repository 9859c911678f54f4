"""A step looked into: how large each value on the way is, by example and by unit, at it and at the steps before."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from vaex.data.dataset import type_of_images
from vaex.device import compiled
from vaex.disk import checkpoint
from vaex.disk.directory import type_of_device
from vaex.inspection import equations
from vaex.inspection.equations import Trace
from vaex.inspection.inside import inside
from vaex.inspection.replay import Replay

WHOLE = ("mu", "raw", "sigma", "kl", "log_p")
"""Values of which every number is kept: there are few."""

BY_LATENT = ("mu", "raw", "sigma", "kl", "layer mu", "layer raw")
BY_PIXEL = ("x", "outputs", "pixels", "layer outputs")
"""What the last axis of a value stands for."""


class Size(NamedTuple):
    """|value|, its largest of all, of each example and of each unit (latent, pixel, neuron); not a number is infinite.

    `examples` and `units` are empty where a value has no such axis.
    """

    largest: Float[Any, ""]
    examples: Float[Any, " batch"]
    units: Float[Any, " unit"]


class Look(NamedTuple):
    """One step's values: sizes by name in the order in which they are computed, those of `WHOLE`, and the terms.

    `shape` is an image's.
    """

    sizes: dict[str, Size]
    whole: dict[str, Float32[np.ndarray, "batch ..."]]
    terms: dict[str, np.ndarray]
    shape: tuple[int, int, int]


class Looks:
    """What can be asked of the steps that a replay kept."""

    def __init__(self, found: Replay, images: type_of_images, an_epoch: int, device: type_of_device):
        self._replay, self._images, self._device = found, images, device
        self._an_epoch = np.int32(an_epoch)
        place = max(found.states)
        function = functools.partial(inside, found.program)
        self.trace: Trace = equations.trace(function, *self.arguments(place))
        larger = equations.trace(function, *self._arguments(place, grown=1))
        self.example_axes = list(equations.axes(self.trace, larger))
        self.named = _named(self.trace.names)

    def arguments(self, number: int) -> tuple[Any, ...]:
        """Of `inside`, for a step."""
        return self._arguments(number, 0)

    def _arguments(self, number: int, grown: int) -> tuple[Any, ...]:
        size = self._replay.program.batch_size
        rows = self.rows(number)
        weights = (np.arange(size + grown) < len(rows)).astype(np.float32)
        filled = np.concatenate([rows, np.repeat(rows[:1], size + grown - len(rows))])
        state = self._replay.states[number]
        return self._replay.hyper, state, self._images[filled], weights, self._an_epoch

    def rows(self, number: int) -> np.ndarray:
        """The training images of a step, by their numbers."""
        return self._replay.rows[number]

    def all(self) -> dict[int, Look]:
        """Every step whose state the replay kept, oldest first."""
        return {number: self.at(number) for number in sorted(self._replay.states)}

    def at(self, number: int) -> Look:
        """One step."""
        count = len(self.rows(number))
        sizes, whole, terms = self._compiled(self._summary, number)
        trimmed = {
            name: Size(float(sizes[name].largest), sizes[name].examples[:count], sizes[name].units)
            for name in self.named
        }
        numbers = {name: np.asarray(value, np.float32)[:count] for name, value in whole.items()}
        return Look(trimmed, numbers, terms, self._replay.program.shape)

    def values(self, number: int, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        """Values of the trace by their numbers, whole."""

        def chosen(*arguments: Any) -> list[Array]:
            found = self.trace.run(arguments)
            return [found[each].astype(jnp.float32) for each in wanted]

        return dict(zip(wanted, self._compiled(chosen, number), strict=True))

    def _compiled(self, function: Any, number: int) -> Any:
        arguments = jax.device_put(jax.tree.leaves(self.arguments(number)), self._device)
        made = compiled.ahead(function, (), arguments, self._device, compiled.RUNS_ONCE)
        return jax.device_get(made(*arguments))

    def _summary(self, *arguments: Any) -> Any:
        found = self.trace.run(arguments)
        sizes = {name: _size(found[n], self.example_axes[n] == 0, of_pixels(name)) for name, n in self.named.items()}
        whole = {name: found[self.trace.names["values"][name]].astype(jnp.float32) for name in WHOLE}
        return sizes, whole, jax.tree.map(found.get, self.trace.names["terms"])


def _named(names: dict[str, Any]) -> dict[str, int]:
    """Every value that has a name, in the order in which they are computed."""
    gathered = dict(names["values"]) | {"pixels": names["pixels"]}
    gathered |= {f"gradient of {name}": number for name, number in names["slopes"].items()}
    for what, title in (("gradients", "gradient of"), ("direction", "direction of"), ("updates", "update of")):
        leaves = zip(checkpoint.names(names[what]), jax.tree.leaves(names[what]), strict=True)
        gathered |= {f"{title} {name}": number for name, number in leaves}
    gathered |= {"gradient norm": names["grad_norm"], "update norm": names["update_norm"]}
    return dict(sorted(gathered.items(), key=lambda each: each[1]))


def of_pixels(name: str) -> bool:
    """Whether a value's unit is a pixel and channel, and not its place along the last axis."""
    return name.removeprefix("gradient of ") in BY_PIXEL


def _size(value: Array, by_example: bool, by_pixel: bool) -> Size:
    absolute = jnp.abs(value.astype(jnp.float32))
    absolute = jnp.where(jnp.isnan(absolute), jnp.inf, absolute)
    none = jnp.zeros(0)
    if not by_example:
        return Size(jnp.max(absolute, initial=0.0), none, none)
    rows = absolute.reshape(len(absolute), -1)
    if not by_pixel and absolute.ndim > 2:
        rows = absolute.max(axis=tuple(range(1, absolute.ndim - 1)))
    examples = rows.max(axis=1)
    return Size(examples.max(), examples, rows.max(axis=0) if value.ndim > 1 else none)
