"""How much of the labels can be read off the codes: a linear probe and nearest neighbours.

Fitted on the codes of one split, scored on those of another. Each column of labels is scored by its name:
`class/accuracy` where its values are classes (share of examples, binomial error), `x/r2` where they are numbers
(share of variance, R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², below 0 when worse than the mean; error by the delta method).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from vaex.errors import DataError
from vaex.judging.estimate import Estimate, Missing, check_finite, share

EXAMPLES_A_CLASS = 5
"""Whole numbers of which so many examples share a value, on average, are classes; rarer ones are a quantity."""
ITERATIONS = 1000
"""Most of the probe's optimizer; 20 000 codes of ten standardised latents need about 20."""
PENALTY = 1.0
"""scikit-learn's L2 penalty: a prior worth one example, which keeps separable classes from diverging."""


class Labelled(NamedTuple):
    """Codes (posterior means) of a split's examples, and their labels: one column a name."""

    codes: Float[np.ndarray, "N K"]
    labels: Shaped[np.ndarray, "N L"]


type_of_column = Shaped[np.ndarray, " N"]
Scores = dict[str, Estimate | Missing]
type_of_fit = Callable[[type_of_column, bool], Any]
"""From a column of labels and whether it holds classes to a fitted scikit-learn estimator."""


def linear_probe(fitted_on: Labelled, scored_on: Labelled, names: tuple[str, ...]) -> Scores:
    """Multinomial logistic regression, or ridge regression for numbers, on standardised codes (Alain & Bengio 2017).

    Standardised by the mean and deviation of the training codes, so that the penalty treats all latents alike.
    """
    from sklearn.linear_model import LogisticRegression, Ridge  # takes a second

    _check(fitted_on, scored_on)
    centre, scale = fitted_on.codes.mean(axis=0), fitted_on.codes.std(axis=0)
    scale = np.where(scale > 0, scale, 1)  # a latent that says nothing
    training, scored = ((part.codes - centre) / scale for part in (fitted_on, scored_on))

    def fit(column: type_of_column, classes: bool) -> Any:
        model = LogisticRegression(C=1 / PENALTY, max_iter=ITERATIONS) if classes else Ridge(alpha=PENALTY)
        return model.fit(training, column)

    return _scores(fit, scored, fitted_on.labels, scored_on.labels, names)


def nearest_neighbours(fitted_on: Labelled, scored_on: Labelled, names: tuple[str, ...], k: int) -> Scores:
    """The vote, or the mean of numbers, of the k training codes nearest to a code in Euclidean distance.

    Codes are used as they are: standardised, a collapsed latent's noise would weigh as much as any other latent.
    """
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor  # takes a second

    _check(fitted_on, scored_on)
    if not 1 <= k <= len(fitted_on.codes):
        raise DataError(f"k={k}: expected 1 to {len(fitted_on.codes)}, the number of training codes")

    def fit(column: type_of_column, classes: bool) -> Any:
        model = KNeighborsClassifier if classes else KNeighborsRegressor
        return model(n_neighbors=k, algorithm="brute").fit(fitted_on.codes, column)

    return _scores(fit, scored_on.codes, fitted_on.labels, scored_on.labels, names)


def holds_classes(column: type_of_column) -> bool:
    """Whether labels are classes: text, booleans, or whole numbers that repeat; other numbers are a quantity."""
    if column.dtype.kind not in "fiu":
        return True
    if column.dtype.kind == "f" and not (np.isfinite(column).all() and (column == np.rint(column)).all()):
        return False
    return len(np.unique(column)) * EXAMPLES_A_CLASS <= max(len(column), 2 * EXAMPLES_A_CLASS)


def _scores(
    fit: type_of_fit,
    codes: Float[np.ndarray, "M K"],
    fitted_on: Shaped[np.ndarray, "N L"],
    scored_on: Shaped[np.ndarray, "M L"],
    names: tuple[str, ...],
) -> Scores:
    scores: Scores = {}
    for name, column, truth in zip(names, fitted_on.T, scored_on.T, strict=True):
        classes = holds_classes(column)
        key = f"{name}/accuracy" if classes else f"{name}/r2"
        reason = _unscorable(name, column, truth, classes)
        if reason:
            scores[key] = Missing(reason)
        else:
            predicted = fit(column, classes).predict(codes)
            scores[key] = share(predicted == truth) if classes else r_squared(truth, predicted)
    return scores


def r_squared(truth: type_of_column, predicted: type_of_column) -> Estimate:
    """R² = 1 − Σe / Σt with e = (y − ŷ)² and t = (y − ȳ)² of each example.

    Error of a ratio of means: √(mean (e − (1 − R²)t)² / N) / mean t (Cochran 1977, ch. 6).
    """
    e, t = np.square(truth - predicted, dtype=np.float64), np.square(truth - truth.mean(), dtype=np.float64)
    ratio = float(e.mean() / t.mean())
    return Estimate(1 - ratio, math.sqrt(float(np.mean((e - ratio * t) ** 2)) / len(t)) / float(t.mean()))


def _unscorable(name: str, column: type_of_column, truth: Shaped[np.ndarray, " M"], classes: bool) -> str | None:
    """Why a column cannot be scored; a class that only the scored split has is no reason, but a miss."""
    if not classes and not (np.isfinite(column).all() and np.isfinite(truth).all()):
        return f"{name}: some labels are not finite"
    if len(np.unique(column)) < 2:
        return f"{name}: every training example has the same label"
    if not classes and len(np.unique(truth)) < 2:
        return f"{name}: every scored example has the same label, so there is no variance to explain"
    return None


def _check(fitted_on: Labelled, scored_on: Labelled) -> None:
    for name, part in (("training", fitted_on), ("scored", scored_on)):
        if not len(part.codes):
            raise DataError(f"{name} codes: none, but a probe needs at least one")
        check_finite(part.codes, f"{name} codes")
