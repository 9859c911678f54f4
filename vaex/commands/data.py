"""`vaex data list|fetch|verify [NAME...]`: the datasets and their files.

`vaex data pack SRC DST [dataset.KEY=VALUE...]` makes a folder for dataset=shards; `vaex data verify DIR` checks one.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

from rich.console import Console
from rich.table import Table

from vaex import datasets, files
from vaex.commands import flags
from vaex.config.validation import nearest
from vaex.data import fetch, packed
from vaex.data.sources import Source
from vaex.errors import InputError

VERBS = ("list", "fetch", "verify", "pack")


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 when `verify` finds a file missing or damaged. Raises `InputError` and `FetchError`.

    Without names: `list` shows every dataset, `fetch` and `verify` take those that have files.
    """
    flags.refuse("data", arguments)
    verb, names = (arguments or ["(nothing)"])[0], arguments[1:]
    if verb not in VERBS:
        raise InputError(f"vaex data: expected {', '.join(VERBS)}, got {verb}{nearest(verb, VERBS)}")
    if verb == "pack":
        from vaex.commands import pack, train  # late: Hydra, to read the options

        return pack.pack(names, lambda overrides: train.composed(overrides, checked=False).jobs[0])
    if verb == "verify":
        folders = [name for name in names if packed.is_packed(files.expanded(name))]
        if folders:
            return _verify([name for name in names if name not in folders], folders)
    modules = _chosen(names)
    if verb == "list":
        _print(
            ["dataset", "files", "what"], [(name, _files(module), _about(module)) for name, module in modules.items()]
        )
        return 0
    for name in names:
        if not hasattr(modules[name], "SOURCE"):
            print(f"{name}: files {_files(modules[name])}")
    sources = [module.SOURCE for module in modules.values() if hasattr(module, "SOURCE")]
    if verb == "fetch":
        for source in sources:
            fetch.payloads(source)
            print(f"{source.name}: {len(source.files)} files in {fetch.cache(source)}")
        return 0
    return _tell_states(_states(sources))


def _states(sources: Iterable[Source]) -> list[tuple[str, str, str]]:
    return [(source.name, file.name, fetch.state(source, file)) for source in sources for file in source.files]


def _verify(names: list[str], folders: list[str]) -> int:
    """Of datasets by their names, and folders that were packed."""
    modules = _chosen(names).values() if names else ()
    rows = _states(module.SOURCE for module in modules if hasattr(module, "SOURCE"))
    for folder in folders:
        rows += [(folder, *state) for state in packed.states(files.expanded(folder))]
    return _tell_states(rows)


def _tell_states(rows: list[tuple[str, str, str]]) -> int:
    _print(["dataset", "file", "state"], rows)
    return int(any(row[-1] != "here" for row in rows))


def _chosen(names: list[str]) -> dict[str, ModuleType]:
    known = sorted(module.name for module in pkgutil.iter_modules(datasets.__path__))
    for name in names:
        if name not in known:
            raise InputError(f"vaex data: no dataset {name!r}{nearest(name, known)} (datasets: {', '.join(known)})")
    return {name: importlib.import_module(f"{datasets.__name__}.{name}") for name in names or known}


def _files(module: ModuleType) -> str:
    if hasattr(module, "SOURCE"):
        here = all((fetch.cache(module.SOURCE) / file.name).exists() for file in module.SOURCE.files)
        return "here" if here else "missing"
    return "your own" if "path" in module.Config.__dataclass_fields__ else "none needed"


def _about(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def _print(titles: list[str], rows: Iterable[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        for row in rows:
            print(*row, sep="\t")
        return
    table = Table(*titles)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
