"""`vaex data pack SRC DST [dataset.KEY=VALUE...]`: any source of images -> shards, for `dataset=shards`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from vaex import files
from vaex.data.packed import SPLITS
from vaex.errors import InputError
from vaex.packing import sources, writer

OURS = "dataset."


def pack(words: Sequence[str], compose: Any) -> int:
    """`compose` makes a `Config` of overrides. Exit code 0; raises `InputError` and `VaexError`."""
    overrides = [word for word in words if word.startswith(OURS)]
    paths = [word for word in words if word not in overrides]
    if len(paths) != 2:
        got = " ".join(paths) or "nothing"
        raise InputError(f"vaex data pack: expected SRC DST and perhaps {OURS}KEY=VALUE, got {got}")
    folder = files.expanded(paths[1])
    if files.expanded(paths[0]).resolve() in folder.resolve().parents:
        raise InputError(f"vaex data pack: {paths[1]} lies in {paths[0]}; name a place outside")

    def section(name: str, path: Path | None = None) -> Any:
        """The Config of a dataset; a path has no place in Hydra's grammar, so it is put in afterwards."""
        known = [f"{OURS}path=PATH"] if path else []
        config = compose([f"dataset={name}", *known, *overrides]).dataset
        return dataclasses.replace(config, path=str(path)) if path else config

    with _progress() as progress:
        tasks: dict[str, Any] = {}

        def tell(split: str, done: int, of: int) -> None:
            task = tasks[split] if split in tasks else tasks.setdefault(split, progress.add_task(split, total=of))
            progress.update(task, completed=done)

        source = sources.open_source(paths[0], section)
        index = writer.write(source, folder, tell)
    print(*source.choices, _told(index, folder), sep="\n")
    return 0


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _told(index: dict[str, Any], folder: Path) -> str:
    shards = [shard for name in SPLITS for shard in index[name]["images"]]
    counts = ", ".join(f"{sum(shard['rows'] for shard in index[name]['images'])} {name}" for name in SPLITS)
    from vaex.config.overrides import typed  # late: Hydra

    size = sum(shard["bytes"] for shard in shards)
    shape = " x ".join(map(str, index["shape"]))
    use = f"vaex dataset=shards {typed('dataset.path', str(folder))}"
    return f"{folder}: {counts} images, {shape} {index['dtype']}, {size / 1e6:.1f} MB in {len(shards)} shards; {use}"
