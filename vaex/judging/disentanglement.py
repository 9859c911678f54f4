"""How far a code keeps known factors of variation apart: eleven measures of six papers.

`vaex/judging/codes.py` has the formulas, `mutual_information.py` the estimators, `predictors.py` what is fitted.
Reference implementations differ in such choices, and so in the numbers; these are the ones made here:

    mig                   20 bins (Chen et al. 2018, as estimated by Locatello et al. 2019 on the posterior means)
    mig_neighbours        the same by nearest neighbours (Ross 2014): no ceiling at log 20, no bias from bins
    sap                   thresholds on one latent, balanced accuracy (Kumar et al. 2018), not a linear SVM
    dci_*                 random forests (Eastwood & Williams 2018); informativeness is the accuracy
    modularity            20 bins (Ridgeway & Mozer 2018)
    explicitness          area under the ROC curve of one level against the others, by logistic regression (the same);
                          chance is 0.5
    info_*                InfoMEC (Hsu et al. 2023): nearest neighbours, logistic regression

**Standard errors** are over examples, by 100 bootstrap resamples: of the tables of counts for `mig` and `modularity`,
of the predictions (the predictors stay as fitted) for `sap`, `dci_informativeness` and `info_explicitness`. The others
would need a new fit for each resample, or cannot bear the repeated examples of one (neighbours): None.

**Where something is missing**: a constant latent counts as absent and a constant factor is left out (only a code that
is constant throughout, or no factor that varies, is an error). With one latent left `mig` and `sap` compare it with
knowing nothing, and completeness and compactness are None; with one factor left disentanglement and both modularities
are None. Two equal latents have a gap of 0, share importance and compactness, and leave modularity as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from vaex.errors import DataError
from vaex.judging import codes as formulas
from vaex.judging import mutual_information as information
from vaex.judging import predictors

RESAMPLES = 100

type_of_weights = Float[np.ndarray, " N"]
type_of_values = dict[str, float | None]


class Score(NamedTuple):
    """A measure and its standard error over examples; None where it has no meaning, or none that is cheap."""

    value: float | None
    standard_error: float | None


class Predictions(NamedTuple):
    """Of every factor, by predictors that have not seen the example."""

    thresholds: Bool[np.ndarray, "N K F"]
    forest: Bool[np.ndarray, "N F"]
    log_probability: Float[np.ndarray, "N F"]


def scores(codes: Float[np.ndarray, "N K"], factors: Integer[np.ndarray, "N F"], seed: int) -> dict[str, Score]:
    """Every measure of the codes (posterior means) against the factors, whose values are names of levels, not numbers.

    The same arrays and seed give the same numbers. Raises `DataError` where nothing can be said: a value that is not
    finite, a code that is constant throughout, no factor that varies, a level of which there is one example only.
    """
    random = np.random.RandomState(seed)
    codes, levels = _varying(codes.astype(np.float64), factors)
    one_hot = information.one_hot(levels, int(levels.max()) + 1)
    resamples = random.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), RESAMPLES).astype(np.float64)
    found = _with_errors(_of_tables(codes, one_hot), resamples)
    found |= _of_neighbours(codes, levels, information.entropy(one_hot.sum(0)), random)
    predicted, fitted = _predict(codes, levels, random)
    return found | fitted | _with_errors(_of_predictions(predicted, one_hot), resamples)


def _varying(
    codes: Float[np.ndarray, "N K"], factors: Integer[np.ndarray, "N F"]
) -> tuple[Float[np.ndarray, "N k"], Int[np.ndarray, "N f"]]:
    """The latents and factors that are not constant, factors as levels 0, 1, …; raises `DataError`."""
    unfit = np.flatnonzero(~np.isfinite(codes).all(axis=1))
    if len(unfit):
        raise DataError(
            f"disentanglement: the codes of {len(unfit)} of {len(codes)} examples are not finite, first example "
            f"{unfit[0]}; evaluate a run whose parameters are finite"
        )
    varying = codes[:, np.ptp(codes, axis=0) > 0]
    if not varying.shape[1]:
        raise DataError("disentanglement: every latent is constant over the examples, so there is no code to judge")
    kept = np.flatnonzero(np.ptp(factors, axis=0) > 0)
    if not len(kept):
        raise DataError("disentanglement: no factor varies over the examples; it needs one with two levels at least")
    for column in kept:
        rarest = np.unique(factors[:, column], return_counts=True)[1].min()
        if rarest < 2:
            raise DataError(
                f"disentanglement: factor {column} has a level with one example only; each needs two, one to learn "
                "from and one to predict: use more examples, or fewer levels"
            )
    columns = [np.unique(factors[:, column], return_inverse=True)[1] for column in kept]
    return varying, np.stack(columns, axis=1)


def _with_errors(
    measure: Callable[[type_of_weights], type_of_values], resamples: Float[np.ndarray, "R N"]
) -> dict[str, Score]:
    """The measures of all examples, with the spread of the same measures over resamples of them."""
    values = measure(np.ones(resamples.shape[1]))
    drawn = [measure(weights) for weights in resamples]

    def score(name: str, value: float | None) -> Score:
        if value is None:
            return Score(None, None)
        return Score(value, float(np.std(np.array([each[name] for each in drawn], np.float64), ddof=1)))

    return {name: score(name, value) for name, value in values.items()}


def _of_tables(
    codes: Float[np.ndarray, "N K"], one_hot: Float[np.ndarray, "N F L"]
) -> Callable[[type_of_weights], type_of_values]:
    bins = information.one_hot(information.binned(codes), information.BINS)

    def measure(weights: type_of_weights) -> type_of_values:
        counts = information.joint_counts(bins, one_hot, weights)
        known = information.mutual_information(counts)
        entropy = information.entropy(counts[0].sum(axis=1))
        return {"mig": formulas.mig(known, entropy), "modularity": formulas.modularity(known)}

    return measure


def _of_neighbours(
    codes: Float[np.ndarray, "N K"],
    levels: Int[np.ndarray, "N F"],
    entropy: Float[np.ndarray, " F"],
    random: np.random.RandomState,
) -> dict[str, Score]:
    known = information.neighbour_information(codes, levels, random)
    normalised = known[formulas.active(codes)] / entropy
    return {
        "mig_neighbours": Score(formulas.mig(known, entropy), None),
        "info_modularity": Score(formulas.info_modularity(normalised), None),
        "info_compactness": Score(formulas.info_compactness(normalised), None),
    }


def _predict(
    codes: Float[np.ndarray, "N K"], levels: Int[np.ndarray, "N F"], random: np.random.RandomState
) -> tuple[Predictions, dict[str, Score]]:
    """What was predicted, and the measures of the predictors themselves."""
    forests = [predictors.forest(codes, level, random) for level in levels.T]
    thresholds = [predictors.thresholds(codes, level, random) for level in levels.T]
    probabilities = [predictors.logistic(codes, level, random) for level in levels.T]
    pairs = list(zip(probabilities, levels.T, strict=True))
    told = [probability[np.arange(len(level)), level] for probability, level in pairs]
    explicitness = np.mean([predictors.area_under_curve(*pair).mean() for pair in pairs])
    importance = np.stack([forest.importance for forest in forests], axis=1)
    predictions = Predictions(
        np.stack(thresholds, axis=2), np.stack([forest.right for forest in forests], axis=1), np.log(told).T
    )
    return predictions, {
        "dci_disentanglement": Score(formulas.dci_disentanglement(importance), None),
        "dci_completeness": Score(formulas.dci_completeness(importance), None),
        "explicitness": Score(float(explicitness), None),
    }


def _of_predictions(
    predicted: Predictions, one_hot: Float[np.ndarray, "N F L"]
) -> Callable[[type_of_weights], type_of_values]:
    """SAP, the forest's accuracy, and InfoE (Hsu et al. 2023): mean over v of 1 − E[−log p(v | z)] / H(v).

    InfoE is at most 1, and below 0 where the predictor knows less than the frequency of the levels does.
    """
    right = predicted.thresholds.astype(np.float64)

    def measure(weights: type_of_weights) -> type_of_values:
        counts = np.einsum("n,nfl->fl", weights, one_hot)
        met = counts > 0  # a resample may lack a rare level
        hits = np.stack([(one_hot[:, f] * weights[:, None]).T @ right[:, :, f] for f in range(len(counts))])
        accuracy = (hits / np.where(met, counts, 1.0)[..., None]).sum(axis=1) / met.sum(axis=1)[:, None]
        loss = -weights @ predicted.log_probability / weights.sum()
        return {
            "sap": formulas.sap(accuracy.T, 1 / met.sum(axis=1)),
            "dci_informativeness": float((weights @ predicted.forest).mean() / weights.sum()),
            "info_explicitness": float(np.mean(1 - loss / information.entropy(counts))),
        }

    return measure
