"""vaex: variational autoencoder experiments. `import vaex` imports no JAX: the names below come when first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaex.disk.results import LoadedRun, load_run, load_sweep

__version__ = "0.1.0"

__all__ = ["LoadedRun", "load_run", "load_sweep"]


def __getattr__(name: str) -> Any:
    """The public names, from the module that has them (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'vaex' has no attribute {name!r}")
    from vaex.disk import results

    return getattr(results, name)


def __dir__() -> list[str]:
    """What tab completion offers."""
    return sorted([*globals(), *__all__])
