"""Whether a run's files are as the run left them, by the digests in its summary.json and manifest.json.

Nothing is run or loaded.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.config import Config
from vaex.disk import metrics, provenance
from vaex.errors import InputError

CONFIG_ALTERED = "config.yaml was altered after the run"


def find_altered(directory: Path, manifest: dict[str, Any], config: Config | None) -> tuple[str, ...]:
    """What does not have the digest that summary.json recorded for it, told without running or parsing anything.

    `config` is the run's own as it was written, its data where they were then; None: nothing is asked of it.
    """
    path = directory / "summary.json"
    summary = files.read_json(path) if path.exists() else {}
    if "identity" not in summary:
        return ()
    model = directory / "model.safetensors"
    altered = model.exists() and files.sha256_of_file(model) != summary.get("parameters_sha256")
    return (*_altered(directory, manifest, summary, config), *(("model.safetensors was altered",) if altered else ()))


def refuse_altered(directory: Path, manifest: dict[str, Any], summary: dict[str, Any], config: Config) -> None:
    """Raise `InputError` where what a run goes on from is not as it left it.

    A run that was killed has no summary; its manifest has the identities of the configurations that it trained by.
    """
    found = list(_altered(directory, manifest, summary, config)) if "identity" in summary else []
    known = provenance.identities(manifest)
    unknown = bool(known) and configuration.identity(config) not in known
    if unknown or manifest.get("seed", config.seed) != config.seed:
        found.insert(0, CONFIG_ALTERED)
    if found:
        raise InputError(
            f"{directory}: {found[0]}, so it cannot go on: put the file back as it was; to train longer is "
            "`vaex resume RUN training.epochs=...`, with other values `vaex reproduce RUN KEY=...`"
        )


def _altered(
    directory: Path, manifest: dict[str, Any], summary: dict[str, Any], config: Config | None
) -> Iterator[str]:
    if config is not None and configuration.identity(config) != summary["identity"]:
        yield CONFIG_ALTERED
    if manifest and manifest.get("dataset_sha256") != summary.get("dataset_sha256"):
        yield "the dataset's digest in manifest.json is not the one in summary.json"
    path = directory / "metrics.jsonl"
    if path.exists():
        found = summary.get("epoch_sha256")
        digests = found if isinstance(found, list) else []
        epoch = first_altered_epoch(metrics.each_row(path), digests)
        if epoch or _unfinished(path):
            yield f"metrics.jsonl was altered, first at epoch {epoch or len(digests) + 1}"
    path = directory / "steps.npz"
    if path.exists() and files.sha256_of_file(path) != summary.get("steps_sha256"):
        yield "steps.npz was altered"


def _unfinished(path: Path) -> bool:
    """Whether something follows the last whole line."""
    with files.open_regular(path) as file:
        return file.seek(0, os.SEEK_END) > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"


def first_altered_epoch(rows: Iterable[metrics.Row], digests: Sequence[Any]) -> int | None:
    """The first epoch whose row cannot be read or does not have its recorded digest, or that one of the two lacks."""
    good = 0
    with contextlib.suppress(InputError):
        for row in rows:
            if good == len(digests) or metrics.digest(row) != digests[good]:
                return good + 1
            good += 1
        return None if good == len(digests) else good + 1
    return good + 1
