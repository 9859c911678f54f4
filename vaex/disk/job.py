"""A run to be made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex.config import Config

type_of_device = Any
"""A `jax.Device`, whose own name is a variable to type checkers."""


@dataclass(frozen=True)
class Job:
    """One run to be made: its configuration, where it goes, what it is called, whether it is there in part.

    `group` is the sweep it belongs to. A `ghost` only rides along in a vmapped pack whose other runs are made again:
    it writes nothing.
    """

    config: Config
    directory: Path
    label: str
    group: str | None = None
    resumed: bool = False
    figures: bool = True
    ghost: bool = False
