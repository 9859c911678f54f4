"""vaex: variational autoencoder experiments. `import vaex` imports no JAX: the names below come when first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaex.api.run import Run, load
    from vaex.api.training import Sweep, compose, load_sweep, sweep, train
    from vaex.errors import ConfigError, DataError, InputError, VaexError

__version__ = "0.1.0"

PLACES = {
    "vaex.api.run": ("Run", "load"),
    "vaex.api.training": ("Sweep", "compose", "load_sweep", "sweep", "train"),
    "vaex.errors": ("ConfigError", "DataError", "InputError", "VaexError"),
}
"""The public names by the module that has them."""

__all__ = [
    "ConfigError", "DataError", "InputError", "Run", "Sweep", "VaexError",
    "compose", "load", "load_sweep", "sweep", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public names, from the module that has them (PEP 562)."""
    for module, names in PLACES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(module), name)
    moved = "; vaex.load is what it was" if name in ("load_run", "LoadedRun") else ""
    raise AttributeError(f"module 'vaex' has no attribute {name!r}{moved}")


def __dir__() -> list[str]:
    """What tab completion offers."""
    return sorted([*globals(), *__all__])
