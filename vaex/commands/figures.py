"""`vaex figures RUN...`: draw the figures of runs again from what is on disk (large sweeps draw none by themselves)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from vaex.device import backend
from vaex.disk import metrics, saved
from vaex.disk.directory import named_path
from vaex.disk.saved import read_manifest, read_saved
from vaex.errors import InputError, printable
from vaex.terminal.screen import say


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    overrides = [item for item in arguments if item.startswith(("plugins=", f"{saved.PLACE}="))]
    named = [Path(item) for item in arguments if item not in overrides]
    directories = [path for path in named if not path.is_file()]  # SWEEP/* also gives sweep.csv and the like
    if not directories:
        named_path("figures", [])
    for directory in directories:
        if "=" in directory.parts[0] and not directory.exists():
            raise InputError(f"{directory}: vaex figures takes plugins=[...] and {saved.PLACE}=..., no other override")
        named_path("figures", [str(directory)])
    backend.start(read_manifest(directories[0]))
    code = 0
    for directory in directories:
        try:
            for path in _draw(directory, overrides).values():
                say(printable(path))
        except InputError as error:  # one damaged run of many
            print(f"vaex: {error}", file=sys.stderr)
            code = error.exit_code
    return code


def _draw(directory: Path, overrides: Sequence[str]) -> dict[str, Path]:
    from vaex.trained import pictures  # late: with them comes jax, after the thread count is set
    from vaex.trained.model import read_model

    config = read_saved(directory, overrides)
    rows = metrics.read_rows(directory / "metrics.jsonl")
    if not rows:
        raise InputError(f"{directory}: has no epoch to draw")
    model = read_model(directory, config)
    return pictures.draw(directory, model.program, model.hyper, model.parameters, model.dataset, rows, f"{directory}")
