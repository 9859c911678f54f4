"""Factors predicted from codes, each example by a predictor that has not seen it: two halves, each told by the other.

The halves are drawn for each factor, every level half and half, so a level needs two examples.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

TREES = 20
DEPTHS = (4, 8, 16)
"""Of the forest's trees: the shallowest of those that predict best. Deeper ones learn noise, and give it importance."""
MOST_STEPS = 10_000
SMALLEST_PROBABILITY = 1e-12
"""Bounds the loss of an example of which a predictor was wrongly certain."""

type_of_rows = Int[np.ndarray, " M"]


class Forest(NamedTuple):
    """Importance of each latent (sums to 1), and for which examples the level was predicted right."""

    importance: Float[np.ndarray, " K"]
    right: Bool[np.ndarray, " N"]


def halves(levels: Int[np.ndarray, " N"], random: np.random.RandomState) -> list[tuple[type_of_rows, type_of_rows]]:
    """(rows to fit, rows to predict), twice; each half has every other example of every level, in random order."""
    order = random.permutation(len(levels))
    order = order[np.argsort(levels[order], kind="stable")]
    first, second = random.permutation(order[::2]), random.permutation(order[1::2])
    return [(first, second), (second, first)]


def thresholds(
    codes: Float[np.ndarray, "N K"], levels: Int[np.ndarray, " N"], random: np.random.RandomState
) -> Bool[np.ndarray, "N K"]:
    """Whether thresholds on one latent alone tell the level, for each latent (Kumar et al. 2018, Sec. 3).

    As many intervals as levels, by greedy splits of least balanced impurity: a decision tree on one number.
    """
    from sklearn.tree import DecisionTreeClassifier

    right = np.empty(codes.shape, bool)
    size = len(np.unique(levels))
    for fit, told in halves(levels, random):
        for latent, column in enumerate(codes.T):
            tree = DecisionTreeClassifier(max_leaf_nodes=size, class_weight="balanced", random_state=random)
            tree.fit(column[fit, None], levels[fit])
            right[told, latent] = tree.predict(column[told, None]) == levels[told]
    return right


def forest(codes: Float[np.ndarray, "N K"], levels: Int[np.ndarray, " N"], random: np.random.RandomState) -> Forest:
    """A random forest (as in Eastwood & Williams 2018): importance is the mean decrease of Gini impurity.

    20 trees; every split may use every latent, so that one that is of no use gets no importance by being the only
    choice; depth by the accuracy on a quarter of the half it learns from.
    """
    importance, right = np.zeros(codes.shape[1]), np.empty(len(codes), bool)
    for fit, told in halves(levels, random):
        model = _best_forest(codes[fit], levels[fit], random)
        importance += model.feature_importances_
        right[told] = model.predict(codes[told]) == levels[told]
    total = importance.sum()  # 0 where no split was worth making
    return Forest(importance / (total if total else 1.0), right)


def _best_forest(codes: Float[np.ndarray, "M K"], levels: type_of_rows, random: np.random.RandomState):
    from sklearn.ensemble import RandomForestClassifier

    cut = max(1, len(codes) // 4)
    forests = [
        RandomForestClassifier(TREES, max_depth=depth, max_features=None, random_state=random)  # pyright: ignore[reportArgumentType]
        for depth in DEPTHS
    ]
    fitted = [model.fit(codes[cut:], levels[cut:]) for model in forests]
    return max(fitted, key=lambda model: model.score(codes[:cut], levels[:cut]))  # the first of equals


def logistic(
    codes: Float[np.ndarray, "N K"], levels: Int[np.ndarray, " N"], random: np.random.RandomState
) -> Float[np.ndarray, "N L"]:
    """Probability of each level by multinomial logistic regression, without penalty, on standardised codes."""
    from sklearn.linear_model import LogisticRegression

    scaled = (codes - codes.mean(0)) / codes.std(0)
    probability = np.empty((len(codes), len(np.unique(levels))))
    for fit, told in halves(levels, random):
        model = LogisticRegression(C=np.inf, max_iter=MOST_STEPS).fit(scaled[fit], levels[fit])
        probability[told] = model.predict_proba(scaled[told])
    return np.clip(probability, SMALLEST_PROBABILITY, 1.0)


def area_under_curve(score: Float[np.ndarray, "N L"], levels: Int[np.ndarray, " N"]) -> Float[np.ndarray, " L"]:
    """For each level, the probability that one of its examples has the higher score than one of another level."""
    ranks = stats.rankdata(score, axis=0)
    of_level = levels[:, None] == np.arange(score.shape[1])
    positive = of_level.sum(0)
    return (np.sum(ranks * of_level, 0) - positive * (positive + 1) / 2) / (positive * (len(levels) - positive))
