"""The first value of a step that was not finite, and the operation that made it of finite ones."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vaex.inspection import equations
from vaex.inspection.equations import Equation
from vaex.inspection.look import Look, Looks

Place = tuple[int, ...]
"""Indices into a value."""


class Origin(NamedTuple):
    """Where a step went wrong.

    `name` is the first named value that was not finite, `equation` what made the first number that was not (None: it
    came in, with a parameter or an image), `number` the value it made, `at` where in it, `operands` what it took there
    and `made` what came out. `bad` says how many of the value were not finite. `underflow` has what became a 0 that
    should not be one, if there was one: the operation and its operands.
    """

    name: str
    equation: Equation | None
    number: int
    at: Place
    operands: tuple[float, ...]
    made: float
    bad: int
    underflow: tuple[Equation, tuple[float, ...]] | None


def first(looks: Looks, place: int, look: Look, before: Sequence[Look]) -> Origin | None:
    """What was first not finite at `place`; None where everything was finite that was so in the step before."""
    usual = [name for name, size in before[-1].sizes.items() if not math.isfinite(size.largest)] if before else []
    wrong = [name for name, size in look.sizes.items() if not math.isfinite(size.largest) and name not in usual]
    name = next((each for each in wrong if each != "pixels"), None)
    if name is None:
        return None
    finite = {looks.named[each] for each, size in look.sizes.items() if math.isfinite(size.largest)}
    makers = equations.upstream(looks.trace)
    values = looks.values(place, _between(looks, makers, looks.named[name], finite))
    return _walk(name, looks.named[name], makers, values)


def _between(looks: Looks, makers: Mapping[int, Equation], target: int, finite: set[int]) -> list[int]:
    """The numbers of all real values between a value and those known to be finite, both included."""
    found, waiting = set(), [target]
    while waiting:
        number = waiting.pop()
        dtype = looks.trace.dtypes[number]
        if number in found or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            continue
        found.add(number)
        if number not in finite and number in makers:
            waiting += [each for each in makers[number].inputs if each is not None]
    return sorted(found)


def _walk(name: str, target: int, makers: Mapping[int, Equation], values: Mapping[int, np.ndarray]) -> Origin:
    """Against the stream, as long as something that came in was not finite either."""
    number, at = target, _first_bad(values[target])
    while number in makers:
        following = [
            (each, place)
            for each in _real(makers[number], values)
            if (place := _bad_at(values[each], values[number].shape, at)) is not None
        ]
        if not following:
            break
        number, at = min(following)
    equation, value = makers.get(number), values[number]
    at = _worst(equation, values, value, at) if equation else at
    operands = _operands(equation, values, value.shape, at) if equation else ()
    bad = int(np.sum(~np.isfinite(value)))
    lost = _underflow(equation, makers, values, value.shape, at) if equation and 0.0 in operands else None
    return Origin(name, equation, number, at, operands, float(value[at]), bad, lost)


def _worst(equation: Equation, values: Mapping[int, np.ndarray], value: np.ndarray, at: Place) -> Place:
    """Of all places that are not finite the one where what came in was largest; `at` where one cannot say."""
    alike = [np.abs(values[each]) for each in _real(equation, values) if values[each].shape == value.shape]
    if not alike or not value.ndim:
        return at
    size = np.where(np.isfinite(value), -1.0, np.max(alike, axis=0))
    return tuple(int(each) for each in np.unravel_index(int(np.argmax(size)), value.shape))


def _underflow(
    equation: Equation,
    makers: Mapping[int, Equation],
    values: Mapping[int, np.ndarray],
    shape: tuple[int, ...],
    at: Place,
) -> tuple[Equation, tuple[float, ...]] | None:
    """The product or power upstream whose operands are not 0, but which is."""
    while True:
        zero = [each for each in _real(equation, values) if _at(values[each], shape, at) == 0.0]
        if not zero or zero[0] not in makers:
            return None
        equation = makers[zero[0]]
        operands = _operands(equation, values, shape, at)
        if operands and all(operands) and equation.primitive in ("mul", "div", "exp", "integer_pow", "square"):
            return equation, operands


def _real(equation: Equation, values: Mapping[int, np.ndarray]) -> Iterable[int]:
    return (each for each in equation.inputs if each is not None and each in values)


def _operands(
    equation: Equation, values: Mapping[int, np.ndarray], shape: tuple[int, ...], at: Place
) -> tuple[float, ...]:
    """What an element-wise operation took at a place; nothing of another kind of operation."""
    taken = [_at(values[each], shape, at) for each in _real(equation, values)]
    return tuple(each for each in taken if each is not None) if all(each is not None for each in taken) else ()


def _at(value: np.ndarray, shape: tuple[int, ...], at: Place) -> float | None:
    """The number that stands at a place of a value of this shape, or is the same everywhere; None if neither."""
    if value.shape == shape:
        return float(value[at])
    return float(value) if value.ndim == 0 else None


def _bad_at(value: np.ndarray, shape: tuple[int, ...], at: Place) -> Place | None:
    """Where what came in was not finite: at the same place, where there is one."""
    alone = _at(value, shape, at)
    if alone is not None:
        return None if math.isfinite(alone) else at if value.ndim else ()
    return None if np.isfinite(value).all() else _first_bad(value)


def _first_bad(value: np.ndarray) -> Place:
    return tuple(int(each) for each in np.argwhere(~np.isfinite(value))[0])
