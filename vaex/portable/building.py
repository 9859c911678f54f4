"""A graph while it is made: names for what is known and for what will be computed."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vaex.portable.graph import Operation, type_of_shape


class Builder:
    """Operations so far, constants by name, and the shapes that arrays have once broadcasting, put off, is done."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self.constants: dict[str, Any] = {}
        self.to_broadcast: dict[str, type_of_shape] = {}

    def constant(self, array: Any, name: str | None = None) -> str:
        """The name of an array that is known."""
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def emit(self, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The name of what an operation makes."""
        output = f"array_{len(self._operations)}"
        for key, value in attributes.items():
            attributes[key] = (
                tuple(map(int, value)) if isinstance(value, (tuple, list)) else value
            )  # NumPy's are no JSON
        self._operations.append(Operation(name, tuple(inputs), output, attributes))
        return output

    def value(self, name: str) -> np.ndarray | None:
        """An array that is known here, or None."""
        return np.asarray(self.constants[name]) if name in self.constants and name not in self.to_broadcast else None

    def whole(self, name: str) -> str:
        """An array in the shape that it should have: broadcast, where that was put off."""
        return self.emit("expand", [name], shape=self.to_broadcast[name]) if name in self.to_broadcast else name

    def put_off(self, name: str, shape: type_of_shape) -> str:
        """Remember that an array is to have this shape by broadcasting, which most operations do by themselves."""
        self.to_broadcast[name] = shape
        return name

    def graph(self, inputs: Iterable[str]) -> tuple[tuple[Operation, ...], dict[str, np.ndarray]]:
        """The operations and constants on which arrays depend."""
        wanted, operations = set(inputs), []
        for operation in reversed(self._operations):
            if operation.output in wanted:
                wanted |= set(operation.inputs)
                operations.append(operation)
        constants = {name: _plain(array) for name, array in self.constants.items() if name in wanted}
        return tuple(reversed(operations)), constants


def _plain(array: Any) -> np.ndarray:
    """As float32, or bool. In C order, since that is how files have it."""
    array = np.asarray(array)
    return np.asarray(array, None if array.dtype == bool else np.float32, order="C")
