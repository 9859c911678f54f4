"""JAX's own trace of a function as a list of equations: whatever model, loss or likelihood it is of.

Functions inside (jit) are taken apart; one with a derivative of its own stays a single equation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, DebugInfo, Jaxpr, Literal, Var, jaxpr_as_fun
from jaxtyping import PyTree

INLINED = ("jit", "pjit", "closed_call", "remat2", "checkpoint")
"""What has a function inside, which takes its place."""

PACKAGE = str(Path(__file__).parents[1])

LIBRARIES = ("site-packages", "dist-packages")
OF_US = ("/inspection/", "/vae/step.py")
"""Parts of the names of files that no reader of a diagnosis looks for a mistake in; ours may lie in site-packages."""


class Equation(NamedTuple):
    """One operation: the numbers of the values it takes (None: a literal) and of those it makes.

    `around` are the calls it was inside, innermost first.
    """

    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    of: Any
    around: tuple[Any, ...]

    @property
    def primitive(self) -> str:
        """What JAX calls it; a function with a derivative of its own by its name."""
        inner = self.of.params.get("call_jaxpr")
        name = getattr(getattr(getattr(inner, "jaxpr", None), "debug_info", None), "func_name", "") if inner else ""
        return name or self.of.primitive.name

    @property
    def where(self) -> tuple[str, int, str] | None:
        """File, line and function of the source that asked for it: the innermost that is not a library's."""
        for equation in (self.of, *self.around):
            for frame in getattr(equation.source_info.traceback, "frames", None) or ():
                ours = frame.file_name.startswith(PACKAGE)
                if not any(part in frame.file_name.removeprefix(PACKAGE) for part in (OF_US if ours else LIBRARIES)):
                    return frame.file_name, getattr(frame, "line_num", 0), frame.function_name
        return None


class Trace(NamedTuple):
    """Equations over numbered values: first the function's arguments, then constants, then what the equations make."""

    equations: list[Equation]
    shapes: list[tuple[int, ...]]
    dtypes: list[Any]
    arguments: int
    constants: dict[int, Any]
    results: list[int]
    names: PyTree

    def run(
        self, arguments: Sequence[Any], seen: Callable[[Equation, list[Any]], list[Any]] = lambda _, made: made
    ) -> dict[int, Any]:
        """All values for these arguments (flat); `seen` may change what an equation makes."""
        values: dict[int, Any] = dict(enumerate(arguments)) | self.constants
        for equation in self.equations:
            given = [values[number] for number in equation.inputs if number is not None]
            values |= zip(equation.outputs, seen(equation, _apply(equation.of, given)), strict=True)
        return values


def trace(function: Callable[..., Any], *arguments: Any) -> Trace:
    """The equations of a function for arguments of these shapes; `names` is its result with each value's number."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    tracing = _Tracing()
    inputs = [tracing.number(each.aval) for each in closed.jaxpr.invars]
    results = tracing.inline(closed, inputs)
    names = jax.tree.unflatten(jax.tree.structure(shape), results)
    return Trace(tracing.equations, tracing.shapes, tracing.dtypes, len(inputs), tracing.constants, results, names)


class _Tracing:
    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[Any] = []
        self.constants: dict[int, Any] = {}

    def number(self, aval: Any) -> int:
        self.shapes.append(tuple(getattr(aval, "shape", ())))
        self.dtypes.append(getattr(aval, "dtype", None))
        return len(self.shapes) - 1

    def constant(self, value: Any) -> int:
        number = self.number(jax.typeof(value))
        self.constants[number] = value
        return number

    def inline(self, closed: ClosedJaxpr, inputs: Sequence[int], around: tuple[Any, ...] = ()) -> list[int]:
        known: dict[Any, int] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        known |= {of: self.constant(each) for of, each in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
        for equation in closed.jaxpr.eqns:
            inner = next((each for each in equation.params.values() if isinstance(each, (ClosedJaxpr, Jaxpr))), None)
            given = [None if isinstance(atom, Literal) else known[atom] for atom in equation.invars]
            if inner is not None and equation.primitive.name in INLINED:
                whole = ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) else inner
                numbers = [
                    self.constant(jax.numpy.asarray(atom.val, atom.aval.dtype)) if number is None else number
                    for number, atom in zip(given, equation.invars, strict=True)
                ]
                made = self.inline(whole, numbers, (equation, *around))
            else:
                made = [self.number(each.aval) for each in equation.outvars]
                self.equations.append(Equation(tuple(given), tuple(made), equation, around))
            known |= zip(equation.outvars, made, strict=True)
        return [self.constant(atom.val) if isinstance(atom, Literal) else known[atom] for atom in closed.jaxpr.outvars]


def _apply(equation: Any, given: Sequence[Any]) -> list[Any]:
    """What an equation makes of values for its variables; its place in the source stays known."""
    variables = [atom for atom in equation.invars if isinstance(atom, Var)]
    fresh = list(dict.fromkeys(variables))
    values = dict(zip(variables, given, strict=True))
    names = DebugInfo("one equation", "diagnosis", ("given",) * len(fresh), ("made",) * len(equation.outvars))
    alone = Jaxpr((), fresh, equation.outvars, [equation], equation.effects, debug_info=names)
    return list(jaxpr_as_fun(ClosedJaxpr(alone, ()))(*(values[variable] for variable in fresh)))


def upstream(found: Trace) -> dict[int, Equation]:
    """The equation that makes each value."""
    return {number: equation for equation in found.equations for number in equation.outputs}


def layers(found: Trace, modules: Mapping[int, str]) -> dict[str, int]:
    """The value that each module's layer gives: the last one in which its parameters meet what depends on data.

    `modules` names the module of each argument that is a parameter; constants are of none.
    """
    of: dict[int, set[str]] = {number: {name} for number, name in modules.items()}
    data = set(range(found.arguments)) - set(modules)
    given: dict[str, int] = {}
    for equation in found.equations:
        inputs = [number for number in equation.inputs if number is not None]
        owners = set().union(*(of.get(number, set()) for number in inputs))
        if data & set(inputs):
            data |= set(equation.outputs)
            given |= dict.fromkeys(owners, equation.outputs[0])
        elif owners:
            of |= dict.fromkeys(equation.outputs, owners)
    return given


def axes(ours: Trace, larger: Trace) -> Iterator[int | None]:
    """For each value the axis that grows when an argument does, by a trace of the larger one; None for none."""
    alike = len(ours.shapes) == len(larger.shapes)
    for shape, other in zip(ours.shapes, larger.shapes if alike else ours.shapes, strict=True):
        grown = [axis for axis, (a, b) in enumerate(zip(shape, other, strict=False)) if a != b]
        yield grown[0] if len(grown) == 1 and len(shape) == len(other) else None
