"""The user's own options: `plugins=[my_lab.losses]`, a package of them, or `plugins=[./my_loss.py]`, one file.

Importing runs code, so only what a person named on this command line is imported, never what a saved file names.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from vaex.errors import ConfigError


def load(plugin: str) -> ModuleType:
    """The package or file; raises `ConfigError` when it cannot be imported."""
    try:
        return _from_file(Path(plugin)) if plugin.endswith(".py") else _from_package(plugin)
    except (Exception, SystemExit) as error:  # it is the user's code: whatever it raises belongs on the user's screen
        told = f"plugins: {plugin!r} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(told + _where_it_is_now(error)) from error


def _where_it_is_now(error: BaseException) -> str:
    """`; it is vaex.vae.posterior now`, for a plugin that was written when all modules lay flat in `vaex`."""
    package, _, name = str(getattr(error, "name", "")).partition(".")
    ours = isinstance(error, ModuleNotFoundError) and package == "vaex" and name.isidentifier()
    found = sorted(Path(__file__).parents[1].glob(f"*/{name}.py")) if ours else []
    return "".join(f"; it is vaex.{path.parent.name}.{name} now" for path in found[:1])


def option(plugin: str, name: str) -> ModuleType | None:
    """The module of option `name` in a plugin, if it has one: a package's module, or the file of that name."""
    module = load(plugin)
    if any((Path(folder) / f"{name}.py").exists() for folder in getattr(module, "__path__", ())):
        return load(f"{plugin}.{name}")
    stem = Path(plugin).stem if plugin.endswith(".py") else plugin.rpartition(".")[2]
    return module if stem == name else None


def _from_package(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a package beside the user is found, but hides nothing that is installed
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    module_name = f"vaex_plugin {path.resolve()}"  # a file's own: another folder may have one of the same name
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
