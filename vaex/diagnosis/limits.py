"""In which number format's limit an operation ran, in words."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from vaex import files
from vaex.config import Config, compose
from vaex.errors import printable
from vaex.inspection.equations import Equation
from vaex.inspection.origin import Origin

SIGNS = {"mul": "·", "div": "/", "add": "+", "add_any": "+", "sub": "−", "max": "max", "min": "min", "pow": "^"}
"""Of operations of two numbers."""


def number(value: float) -> str:
    """A number as one reads it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    return f"{value:.3g}".replace("-", "−")


def operation(equation: Equation, operands: Sequence[float]) -> str:
    """`3e30 · 3e30`, `log(0)`; the operation's name alone where its operands are many."""
    primitive, shown = equation.primitive, [number(each) for each in operands]
    if len(shown) == 1 and primitive in ("integer_pow", "square"):
        power = equation.of.params.get("y", 2)
        return f"({shown[0]})²" if power == 2 else f"({shown[0]})^{number(float(power))}"
    if len(shown) == 2 and primitive in SIGNS:
        return f"{shown[0]} {SIGNS[primitive]} {shown[1]}"
    names = {"dot_general": "a matrix product", "reduce_sum": "a sum"}
    return f"{primitive}({', '.join(shown)})" if shown else names.get(primitive, primitive)


def of(origin: Origin, dtype: Any) -> str | None:
    """What of the format the operation's result ran into."""
    info = jnp.finfo(dtype)
    name = str(info.dtype)
    if origin.underflow:
        equation, operands = origin.underflow
        lost = operation(equation, operands)
        return f"the 0 is {lost}, below {name}'s smallest number, {number(float(info.smallest_subnormal))}"
    if origin.equation is None or (origin.operands and not math.isinf(origin.made)):
        return None  # 0/0 and ∞ − ∞ have no value in any format
    if any(each == 0.0 for each in origin.operands) and _has_pole(origin.equation):
        return f"a pole, in any format; here in {name}"
    return f"beyond {name}'s largest number, {number(float(info.max))}"


def _has_pole(equation: Equation) -> bool:
    """Whether the operation is infinite at 0."""
    return equation.primitive in ("log", "div", "rsqrt", "pow") or equation.of.params.get("y", 0) < 0


def of_loss(config: Config) -> str | None:
    """What breaks the run's loss, by the table in conf/README.md; None for a loss that it does not have."""
    try:
        lines = files.read_bytes(compose.conf_directory() / "README.md").decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    row = next((line for line in lines if line.startswith(f"| `{config.loss.name}` |")), None)
    cells = row.replace("\\|", "\0").split("|") if row else []
    return printable(cells[4].strip().replace("\0", "|")) if len(cells) > 4 else None
