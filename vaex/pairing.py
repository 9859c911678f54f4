"""From runs to independent differences: pairs, and what one seed says.

A pair is two runs that differ only in what is compared: same seed, same everything else (their *setting*). The pairs
of one seed at several settings share initial weights, data order and noise, so they are not independent: the unit of
every mean is the seed, and `evidence` sees one difference a seed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from vaex.study import Study, StudyRun, text

FEWEST = 5
"""Seeds that must be in common before anything is concluded; also those that a setting needs to count in a mean."""

Setting = tuple[str, ...]
"""The values of what varies beside the seed and what is compared, in the order of `settings_keys`."""


@dataclass(frozen=True)
class Pair:
    """A run of the variant and its partner: same setting, same seed."""

    setting: Setting
    seed: str
    variant: StudyRun
    against: StudyRun


@dataclass(frozen=True)
class Differences:
    """One difference a seed, and where they are from: the pairs they rest on, the settings too thin to count."""

    values: Float[np.ndarray, " seeds"]
    pairs: int
    thin: tuple[Setting, ...]


def setting_keys(study: Study) -> list[str]:
    """The keys that make a setting."""
    return [key for key in study.varied if key != "seed"]


def setting(study: Study, run: StudyRun) -> Setting:
    """What a run shares with its partners, the seed apart."""
    return tuple(text(run.flat.get(key)) for key in setting_keys(study))


def cells(study: Study) -> tuple[dict[tuple[str, Setting, str], StudyRun], list[str]]:
    """The runs by variant, setting and seed; of two runs with the same place the second is left out and named."""
    found: dict[tuple[str, Setting, str], StudyRun] = {}
    again = []
    for run in study.runs:
        first = found.setdefault((run.variant, setting(study, run), text(run.flat.get("seed"))), run)
        if first is not run:
            again.append(f"{run.name}: the same configuration as {first.name}; only that one is compared")
    return found, again


def pairs(study: Study, variant: str) -> list[Pair]:
    """The pairs of a variant with the one that it is compared with."""
    found, _ = cells(study)
    return [
        Pair(place, seed, run, partner)
        for (name, place, seed), run in found.items()
        if name == variant and (partner := found.get((study.against, place, seed))) is not None
    ]


def differences(some: list[Pair], difference: Callable[[Pair], float | None]) -> Differences:
    """One difference a seed: its pairs' differences less the mean of their setting, plus the mean of the settings.

    Where no pair is missing that is the seed's mean over the settings. Where one is (a run diverged), its seed is not
    judged by easier settings than the others. A setting in which fewer than five seeds have a difference is left out.
    """
    found = [(pair, difference(pair)) for pair in some]
    known = [("\n".join(pair.setting), pair.seed, value) for pair, value in found if value is not None]
    table = pd.DataFrame(known, columns=["setting", "seed", "difference"])
    groups = table.groupby("setting")
    table = table[groups["seed"].transform("count") >= FEWEST]
    kept = set(table["setting"])
    thin = tuple(dict.fromkeys(pair.setting for pair in some if "\n".join(pair.setting) not in kept))
    if table.empty:
        return Differences(np.zeros(0), 0, thin)
    of_setting = table.groupby("setting")["difference"]
    around = table["difference"] - of_setting.transform("mean")
    values = around.groupby(table["seed"]).mean() + of_setting.mean().mean()
    return Differences(values.to_numpy(np.float64), len(table), thin)
