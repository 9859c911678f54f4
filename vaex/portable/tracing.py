"""JAX's own trace of a function as a graph: whatever model, loss or likelihood it is of, a user's own one too.

What depends on constants only is computed here, once. Numbers in a low precision become float32 that is rounded after
each operation, as XLA computes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.errors import InconclusiveDimensionOperation
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jaxtyping import PyTree

from vaex.disk import checkpoint
from vaex.portable.building import Builder
from vaex.portable.graph import BATCH, Graph, type_of_shape
from vaex.portable.primitives import COMPOSED, OTHERWISE, SAME, STRUCTURAL, SYMBOL, broadcast, refused, shape_of

LOW = ("float16", "bfloat16")

CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint")
"""What has a function inside, which takes its place."""


def trace(
    function: Callable[..., dict[str, jax.Array]], parameters: PyTree, inputs: Mapping[str, type_of_shape]
) -> Graph:
    """The graph of `function(parameters, *inputs)`, which gives arrays by name.

    `inputs` are shapes without the batch, which is the first axis of each. Constants that are parameters have their
    flat names, `model.encoder.0.kernel`. Raises `InputError` where the function needs what no graph has.
    """
    arrays = checkpoint.flatten(parameters)
    structure = jax.tree.structure(parameters)

    def flat(leaves: Sequence[jax.Array], *rest: jax.Array) -> dict[str, jax.Array]:
        return function(jax.tree.unflatten(structure, leaves), *rest)

    with for_any_batch():
        closed, results = jax.make_jaxpr(flat, return_shape=True)(list(arrays.values()), *abstract(inputs))
    tracing = _Tracing()
    names = [tracing.constant(array, name) for name, array in arrays.items()]
    outputs = tracing.inline(closed, [*names, *inputs])
    found = dict(zip(results, map(tracing.whole, outputs), strict=True))
    operations, constants = tracing.graph(found.values())
    shapes = {name: shape_of(result.shape) for name, result in results.items()}
    return Graph({name: (BATCH, *shape) for name, shape in inputs.items()}, constants, operations, found, shapes)


def abstract(inputs: Mapping[str, type_of_shape]) -> list[jax.ShapeDtypeStruct]:
    """float32 arrays of these shapes behind a batch whose size is not known."""
    (batch,) = export.symbolic_shape(SYMBOL)
    return [jax.ShapeDtypeStruct((batch, *shape), np.float32) for shape in inputs.values()]


@contextmanager
def for_any_batch() -> Iterator[None]:
    """What JAX says of a function that must know how large a batch is, as an `InputError` with the way out."""
    try:
        yield
    except (TypeError, InconclusiveDimensionOperation) as error:
        if isinstance(error, TypeError) and "_DimExpr" not in str(error):
            raise
        raise refused("must know how many images a batch has (write x.shape[0], not len(x))") from error


class _Tracing(Builder):
    """Goes through the equations of a trace."""

    def inline(self, closed: ClosedJaxpr, arguments: Sequence[str]) -> list[str]:
        """The names of what a jaxpr gives for arguments of these names."""
        known: dict[Any, str] = dict(zip(closed.jaxpr.invars, arguments, strict=True))
        known |= {of: self.constant(value) for of, value in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

        def name(atom: Var | Literal) -> str:
            return self.constant(jnp.asarray(atom.val)) if isinstance(atom, Literal) else known[atom]

        for equation in closed.jaxpr.eqns:
            made = self._equation(equation, [name(atom) for atom in equation.invars])
            known |= zip(equation.outvars, made, strict=True)
        return [name(atom) for atom in closed.jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[str]) -> list[str]:
        inner = next((each for each in equation.params.values() if isinstance(each, (ClosedJaxpr, Jaxpr))), None)
        if inner is not None and equation.primitive.name in CALLS:
            return self.inline(ClosedJaxpr(inner, ()) if isinstance(inner, Jaxpr) else inner, inputs)
        values = [self.value(name) for name in inputs]
        sizes = [length for result in equation.outvars for length in result.aval.shape]
        sizes += [equation.params["dim"]] if equation.primitive.name == "dim_as_value" else []
        if all(value is not None for value in values) and all(isinstance(length, int) for length in sizes):
            return [self.constant(array) for array in _computed(equation, [self.constants[name] for name in inputs])]
        made = self._translated(equation, inputs)
        low = str(equation.outvars[0].aval.dtype)
        return [self._like(name, self.emit("round", [name], to=low)) for name in made] if low in LOW else made

    def _translated(self, equation: Any, inputs: list[str]) -> list[str]:
        primitive = equation.primitive.name
        if primitive in STRUCTURAL:
            return STRUCTURAL[primitive](self, equation, [self.whole(name) for name in inputs])
        if primitive == "broadcast_in_dim":
            return [broadcast(self, equation, self.whole(inputs[0]))]
        name = primitive if primitive in SAME else OTHERWISE.get(primitive)
        if name:
            made = self.emit(name, inputs)
        elif primitive in COMPOSED:
            made = COMPOSED[primitive](self, equation, inputs)
        else:
            raise refused(f"uses JAX's {primitive}")
        return [self._broadcast_like(made, equation, inputs)]

    def _broadcast_like(self, made: str, equation: Any, inputs: Sequence[str]) -> str:
        """What element-wise operations made of arrays none of which has the whole shape is still to be broadcast."""
        shape = shape_of(equation.outvars[0].aval.shape)
        arrays = zip(equation.invars, inputs, strict=True)
        has_whole = any(shape_of(atom.aval.shape) == shape and name not in self.to_broadcast for atom, name in arrays)
        return made if has_whole or made in inputs else self.put_off(made, shape)

    def _like(self, name: str, made: str) -> str:
        return self.put_off(made, self.to_broadcast[name]) if name in self.to_broadcast else made


def _computed(equation: Any, values: Sequence[Any]) -> list[Any]:
    """What an equation gives for arrays that are known."""
    made = equation.primitive.bind(*map(jnp.asarray, values), **equation.params)
    return list(made) if equation.primitive.multiple_results else [made]
