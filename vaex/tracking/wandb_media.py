"""What W&B gets besides numbers: pictures, a table of them, the model as an artifact."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files

OF_A_MODEL = ("model.safetensors", "config.yaml", "manifest.json")
"""The files of the artifact: enough for `vaex figures`, `evaluate` and `reproduce`."""


def pictures(paths: Mapping[str, Path]) -> dict[str, Any]:
    """PNG files as W&B's images."""
    import wandb

    return {name: wandb.Image(str(path)) for name, path in paths.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of one kind as W&B's table; a value that is an array of bytes (H x W, or H x W x 3) is an image."""
    import wandb

    made = wandb.Table(columns=list(rows[0]))
    for row in rows:
        made.add_data(*(wandb.Image(value) if isinstance(value, np.ndarray) else value for value in row.values()))
    return made


def model(directory: Path, own: Path, run_id: str, metadata: Mapping[str, Any]) -> Any:
    """The model that a run has left, as an artifact.

    Its files are kept below `own`, W&B's folder for the run: links, so that they cost nothing and stay as they are
    when the run goes on, where W&B would make copies in the user's home.
    """
    import wandb

    kept = own / f"model-{files.sha256_of_file(directory / OF_A_MODEL[0])[:8]}"
    kept.mkdir(parents=True, exist_ok=True)
    artifact = wandb.Artifact(f"model-{run_id}", type="model", metadata=dict(metadata))
    for name in OF_A_MODEL:
        _keep(directory / name, kept / name)
        artifact.add_file(str((kept / name).absolute()), name, skip_cache=True, policy="immutable")
    return artifact


@contextlib.contextmanager
def staged_in(own: Path) -> Iterator[None]:
    """Let W&B keep the files of a table in its folder for the run; in the user's home they would stay for ever."""
    with _staging, contextlib.ExitStack() as changed:
        if "WANDB_DATA_DIR" not in os.environ:
            os.environ["WANDB_DATA_DIR"] = str(own.absolute())
            changed.callback(os.environ.pop, "WANDB_DATA_DIR")
        yield


_staging = threading.Lock()
"""The variable is the whole process's."""


def _keep(path: Path, kept: Path) -> None:
    """Keep a file as it is: nothing of ours writes into one, but puts another in its place."""
    kept.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another file system, or one without links
        os.link(path, kept)
        return
    shutil.copyfile(path, kept)
