"""One name for one dataset: the digest that a run recorded says which it is, not the path of its file."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaex.config import PLACE

type_of_flat = dict[str, Any]
"""Values of a configuration by full key."""


def named_by_digest(runs: Sequence[tuple[type_of_flat, Mapping[str, Any]]]) -> list[type_of_flat]:
    """The flat configurations of runs, each beside its manifest, with the same `dataset.path` for the same bytes.

    Other bytes under a name and settings that are taken have their digest behind it.
    """
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    named = []
    for flat, manifest in runs:
        digest, path = manifest.get("dataset_sha256"), flat.get(PLACE)
        if isinstance(digest, str) and isinstance(path, str):
            section = repr([(key, value) for key, value in flat.items() if key.startswith("dataset.")])
            free = taken.setdefault(section, digest) == digest
            name = names.setdefault(digest, path if free else f"{path} (SHA-256 {digest[:8]}…)")
            flat = flat | {PLACE: name}
        named.append(flat)
    return named
