"""Names that a person can read: what a run is called where nobody has named it, as `gamma-k10-s0`.

A name follows from the job's overrides alone, those left out that all jobs of its sweep have: it is the same whenever
the sweep goes on, and overrides that differ give names that differ.
"""

import hashlib
import re
from collections.abc import Collection, Sequence

from vaex.config.options import GROUPS
from vaex.config.overrides import key_of
from vaex.config.schema import Config

LONGEST = 128
"""Characters of a name that W&B takes."""

SHORT = {"model.latent_dim": "k", "optimizer.learning_rate": "lr", "seed": "s"}
"""What stands before the value of a key; of a group nothing does, and else the last part of the key."""

DIGITS = 8
"""Of the digest behind a name that could not be written in full."""


def of_lone(config: Config) -> str:
    """The name of a run that belongs to no sweep: its loss, number of latents and seed."""
    return f"{config.loss.name}-k{config.model.latent_dim}-s{config.seed}"


def of_job(overrides: Sequence[str], common: Collection[str]) -> str:
    """The name of a sweep's job: options of groups first, the seed last."""
    own = sorted((item for item in overrides if item not in common), key=_place)
    written = [_part(key_of(item), item.partition("=")[2]) for item in own]
    name = "-".join(part for part, _ in written)
    if all(whole for _, whole in written) and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256("\n".join(own).encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
    return f"{name[: LONGEST - DIGITS - 1]}-{digest}"


def common(jobs: Sequence[Sequence[str]]) -> set[str]:
    """The overrides that all jobs have: nothing in a name where there is one job only."""
    return set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()


def _place(item: str) -> int:
    key = key_of(item)
    return 0 if key in GROUPS or key == "experiment" else 2 if key == "seed" else 1


def _part(key: str, value: str) -> tuple[str, bool]:
    """An override in a name, and whether it is whole: no character of the value had to be left out."""
    text = value[1:-1] if re.fullmatch(r"'[^']*'|\"[^\"]*\"", value) else value
    before = "" if _place(key) == 0 else SHORT.get(key, key.rpartition(".")[2])
    if re.fullmatch(r"\[[\d., ]*\]", text):
        return before + re.sub(r", *", "x", text[1:-1]), True
    if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text):
        return before + text, True
    plain = re.sub(r"[^\w.+]+", "_", text)
    return before + plain, plain == text
