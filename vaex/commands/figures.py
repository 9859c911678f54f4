"""`vaex figures RUN...`: draw the figures of runs again from what is on disk (large sweeps draw none by themselves)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.numpy
from jaxtyping import PyTree
from safetensors import SafetensorError

from vaex import files
from vaex.disk import checkpoint, metrics, saved
from vaex.disk.directory import named_path
from vaex.disk.saved import read_manifest, read_saved
from vaex.errors import InputError, printable
from vaex.terminal.screen import say
from vaex.training import device


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    overrides = [item for item in arguments if item.startswith(("plugins=", f"{saved.PLACE}="))]
    named = [Path(item) for item in arguments if item not in overrides]
    directories = [path for path in named if not path.is_file()]  # SWEEP/* also gives sweep.csv and the like
    if not directories:
        named_path("figures", [])
    for directory in directories:
        named_path("figures", [str(directory)])
    device.start(read_manifest(directories[0]))
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
    from vaex.training import pictures  # late: with them comes jax, after the thread count is set
    from vaex.training.loop import load
    from vaex.vae import objective

    config = read_saved(directory, overrides)
    rows = metrics.read_rows(directory / "metrics.jsonl")
    if not rows:
        raise InputError(f"{directory}: has no epoch to draw")
    with saved.telling_where_data_were_sought(config, directory):
        dataset = load(config.dataset)
    recorded = read_manifest(directory).get("dataset_sha256")
    if recorded is not None:
        saved.refuse_other_data(directory, config.dataset, dataset.digest, recorded)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    parameters = _parameters(directory / "model.safetensors", program)
    return pictures.draw(directory, program, hyper, parameters, dataset, rows, f"{directory}")


def _parameters(path: Path, program: Any) -> PyTree:
    """The parameters in a model.safetensors; raises `InputError` when it cannot be read or is of another model."""
    from vaex.vae.step import shapes

    try:
        arrays = safetensors.numpy.load(files.read_bytes(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {files.first_line(error)}") from error
    template = shapes(program).parameters
    own = {name: array for name, array in arrays.items() if name.startswith("likelihood.")}
    model = {name: array for name, array in arrays.items() if name not in own}
    return {
        "model": checkpoint.unflatten(template["model"], model, path),
        **checkpoint.unflatten({"likelihood": template["likelihood"]}, own, path),
    }
