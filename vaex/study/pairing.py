"""From runs to independent differences: pairs, and what one seed says.

A pair is two runs that differ only in what is compared: same seed, same everything else (their *setting*). The pairs
of one seed at several settings share initial weights, data order and noise, so they are not independent: the unit of
every mean is the seed, and `evidence` sees one difference a seed.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vaex.study.questions import LEARNING_RATE
from vaex.study.runs import Study, StudyRun, text

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


class Measured(NamedTuple):
    """A pair and one number of each of its runs."""

    pair: Pair
    variant: float
    against: float


@dataclass(frozen=True)
class Differences:
    """One difference a seed (none when too few), the pairs they rest on with their means, and the settings that count.

    With too few seeds the means are over all pairs, for show.
    """

    values: Float[np.ndarray, " seeds"]
    seeds: int
    pairs: int
    mean_variant: float
    mean_against: float
    settings: frozenset[Setting]


def setting_keys(study: Study) -> list[str]:
    """The keys that make a setting."""
    return [key for key in study.varied if key != "seed"]


def setting(study: Study, run: StudyRun) -> Setting:
    """What a run shares with its partners, the seed apart."""
    return tuple(text(run.flat.get(key)) for key in setting_keys(study))


def pairs(study: Study) -> tuple[dict[str, list[Pair]], list[str]]:
    """The pairs of every variant with the one it is compared with; and which runs are the same as another.

    Of two runs of one configuration the second is left out, and a line names it.
    """
    found: dict[tuple[str, Setting, str], StudyRun] = {}
    again = []
    for run in study.runs:
        first = found.setdefault((run.variant, setting(study, run), text(run.flat.get("seed"))), run)
        if first is not run:
            again.append(f"{run.name}: the same configuration as {first.name}; only that one is compared")
    of_variant: dict[str, list[Pair]] = {variant: [] for variant in study.variants[1:]}
    for (variant, place, seed), run in found.items():
        partner = found.get((study.against, place, seed))
        if variant != study.against and partner is not None:
            of_variant[variant].append(Pair(place, seed, run, partner))
    return of_variant, again


def stopped(some: Sequence[Pair]) -> str | None:
    """Why nothing of these pairs is compared, where a rule has ended runs of them early; None where none has.

    The rule chose by how good a run was: those that came to their end are the better ones, the easier seeds and
    settings, or those that a bad partner made look good. No number of theirs is one of all runs.
    """
    ended = sum(pair.variant.stopped or pair.against.stopped for pair in some)
    return f"{ended} of {len(some)} pairs have a run that was stopped early" if ended else None


def curves(study: Study, some: Iterable[StudyRun]) -> dict[tuple[Setting, str], list[StudyRun]]:
    """Runs that differ in the learning rate only, by their setting (all rates in place of one) and seed.

    A curve that lacks one of its setting's rates is left out. Without a learning rate that varies there is none.
    """
    keys = setting_keys(study)
    if LEARNING_RATE not in keys:
        return {}
    place = keys.index(LEARNING_RATE)
    found: dict[Setting, dict[str, dict[str, StudyRun]]] = defaultdict(lambda: defaultdict(dict))
    for run in some:
        own = setting(study, run)
        found[*own[:place], *own[place + 1 :]][text(run.flat.get("seed"))].setdefault(own[place], run)
    whole = {}
    for rest, of_seed in found.items():
        here = {rate for runs in of_seed.values() for rate in runs}
        rates = [rate for rate in map(text, study.varied[LEARNING_RATE]) if rate in here]
        for seed, runs in of_seed.items():
            if len(runs) == len(rates):
                whole[(*rest[:place], ", ".join(rates), *rest[place:]), seed] = [runs[rate] for rate in rates]
    return whole


def differences(measured: Sequence[Measured]) -> Differences:
    """One difference a seed: its pairs' differences less the mean of their setting, plus the mean of the settings.

    Where no pair is missing that is the seed's mean over the settings. Where one is (a run diverged), its seed is not
    judged by easier settings than the others. A setting in which fewer than five seeds have a difference is left out.
    """
    count = Counter(item.pair.setting for item in measured)
    settings = frozenset(place for place, seeds in count.items() if seeds >= FEWEST)
    kept = [item for item in measured if item.pair.setting in settings] or measured
    if not kept:
        return Differences(np.zeros(0), 0, 0, math.nan, math.nan, settings)
    table = pd.DataFrame(
        {
            "setting": ["\n".join(item.pair.setting) for item in kept],
            "seed": [item.pair.seed for item in kept],
            "difference": [item.variant - item.against for item in kept],
        }
    )
    matrix = table.pivot(index="setting", columns="seed", values="difference").to_numpy(np.float64)
    of_setting = np.nanmean(matrix, axis=1, keepdims=True)
    values = np.nanmean(matrix - of_setting, axis=0) + of_setting.mean()
    means = np.mean([(item.variant, item.against) for item in kept], axis=0)
    values = values if settings else np.zeros(0)
    return Differences(values, len(set(table["seed"])), len(kept), float(means[0]), float(means[1]), settings)
