"""How much each key of a search mattered: permutation importance of a random forest, on trials that it has not seen.

The forest predicts a trial's rank among the values (so that a few very bad ones do not decide) from its keys. Trials
are split in five; of each fifth R² is taken as predicted by a forest of the others, and again with one key's values
shuffled. What is lost is the key's importance: 0 of a key that says nothing, and about 2 of one that says all.

Only complete trials enter: a stopped one has a value of another epoch, a failed one has none. Trials at one point are
one, with their mean: of two alike, one would tell what the other is.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vaex.searched import points
from vaex.searched.trials import Search

FEWEST = 10
"""Trials below which nothing is said."""

FOLDS, TREES, SHUFFLES = 5, 100, 20

LEAST = 0.3
"""R² on unseen trials below which importance would be of nothing: of noise one of 20 forests or fewer comes to it."""

METHOD = (
    "Permutation importance of a random forest (100 trees) that predicts the rank of a trial's value from its keys: "
    "the R² that is lost on unseen trials (five folds) when a key's values are shuffled; bars: mean and standard "
    "deviation over folds and shuffles. Keys that only matter together share it."
)


@dataclass(frozen=True)
class Importance:
    """Of one objective: mean and standard deviation of the R² lost, by key; `why` there are no numbers."""

    trials: int
    r2: float | None
    lost: dict[str, tuple[float, float]]
    why: str = ""
    left_out: str = ""
    """Which trials are not in it, and what that does; empty where all are."""


def of(search: Search, objective: int) -> Importance:
    """The importance of each key in which the complete trials differ."""
    return dataclasses.replace(_of_complete(search, objective), left_out=_left_out(search))


def _left_out(search: Search) -> str:
    counts = {state: search.counts[state] for state in ("stopped", "failed") if search.counts[state]}
    if not counts:
        return ""
    told = " and ".join(f"{count} {state}" for state, count in counts.items())
    return f"{told} trials are left out: keys that lead to such an end count too little"


def _of_complete(search: Search, objective: int) -> Importance:
    complete = [trial for trial in search.trials if trial.complete]
    values = [float(trial.values[objective] or 0.0) for trial in complete]
    keys = points.keys(search, complete)
    if len(complete) < FEWEST:
        return Importance(
            len(complete), None, {}, f"no importance of keys: {len(complete)} complete trials, {FEWEST} are needed"
        )
    if not keys or len(set(values)) < 2:
        return Importance(len(complete), None, {}, "no importance of keys: the trials or their values do not differ")
    table, means = _distinct(np.array([_filled(key.scaled) for key in keys]).T, np.array(values))
    if len(means) < FEWEST or np.ptp(means) == 0:
        why = f"no importance of keys: {len(complete)} complete trials of {len(means)} points, {FEWEST} are needed"
        return Importance(len(complete), None, {}, why)
    r2, lost = _lost(table, _ranks(means))
    if r2 < LEAST:
        why = f"no importance of keys: a random forest of {len(complete)} trials does not predict unseen ones"
        return Importance(len(complete), r2, {}, f"{why} (R² {r2:.2f})")
    return Importance(
        len(complete),
        r2,
        {key.name: (float(some.mean()), float(some.std())) for key, some in zip(keys, lost.T, strict=True)},
    )


def _filled(entries: Sequence[float | None]) -> list[float]:
    """Entries with a number of their own for trials that did not have the key: below all others."""
    known = [entry for entry in entries if entry is not None]
    return [min(known) - 1.0 if entry is None else entry for entry in entries]


def _distinct(
    table: Float[np.ndarray, "trials keys"], values: Float[np.ndarray, " trials"]
) -> tuple[Float[np.ndarray, "points keys"], Float[np.ndarray, " points"]]:
    """Each point once, in the order of the trials, with the mean of its values."""
    _, first, place, counts = np.unique(table, axis=0, return_index=True, return_inverse=True, return_counts=True)
    means = np.bincount(place.ravel(), values) / counts
    order = np.argsort(first)
    return table[first[order]], means[order]


def _ranks(values: Float[np.ndarray, " trials"]) -> Float[np.ndarray, " trials"]:
    """Ranks from 0 to 1, ties alike."""
    from scipy.stats import rankdata  # late: with sklearn, the slowest imports of a report

    return (np.asarray(rankdata(values)) - 1) / (len(values) - 1)


def _lost(
    table: Float[np.ndarray, "trials keys"], values: Float[np.ndarray, " trials"]
) -> tuple[float, Float[np.ndarray, "shuffles keys"]]:
    """R² over all unseen trials, and what each shuffle of each key loses of it in a fold."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(0)
    predicted, lost = np.empty_like(values), []
    for seen, unseen in KFold(FOLDS, shuffle=True, random_state=0).split(table):
        forest = RandomForestRegressor(TREES, random_state=0, min_samples_leaf=2).fit(table[seen], values[seen])
        predicted[unseen] = forest.predict(table[unseen])
        whole = _error(predicted[unseen], values[unseen])
        shuffled = _shuffled(table[unseen], table, rng)
        errors = (forest.predict(shuffled).reshape(SHUFFLES, -1, len(unseen)) - values[unseen]) ** 2
        lost.append((errors.mean(axis=2) - whole) / values.var())
    return 1 - _error(predicted, values) / float(values.var()), np.concatenate(lost)


def _shuffled(
    unseen: Float[np.ndarray, "unseen keys"], table: Float[np.ndarray, "trials keys"], rng: np.random.Generator
) -> Float[np.ndarray, "copies keys"]:
    """Copies of some trials, SHUFFLES times a key, with values of that key that any trials had.

    Of all trials: of the two of a small fold a shuffle would often be none.
    """
    copies = np.tile(unseen, (SHUFFLES, table.shape[1], 1, 1))
    for key in range(table.shape[1]):
        copies[:, key, :, key] = rng.choice(table[:, key], (SHUFFLES, len(unseen)))
    return copies.reshape(-1, table.shape[1])


def _error(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    return float(np.mean((one - other) ** 2))
