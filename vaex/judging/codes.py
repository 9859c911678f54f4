"""Measures of disentanglement as formulas on small matrices: a row for a latent (K), a column for a factor (F).

All are shares, 1 the best. None stands for "has no meaning here": measures that compare one factor with the others need
two factors, those that compare one latent with the others need two latents.

    mig                     how much more the best latent of a factor knows of it than the second best
    sap                     the same by the accuracy of thresholds
    dci_disentanglement     a latent is important for one factor only       (by a forest's importances)
    dci_completeness        a factor is predicted from one latent only      (by a forest's importances)
    modularity              a latent has information on one factor only     (squared)
    info_modularity         the same                                        (as a share of its information)
    info_compactness        a factor's information lies in one latent only
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

INACTIVE = 1 / 20
"""A latent whose range is at most this share of the widest one's is not active (Hsu et al. 2023)."""

type_of_matrix = Float[np.ndarray, "K F"]


def mig(information: type_of_matrix, entropy: Float[np.ndarray, " F"]) -> float:
    """Mutual information gap (Chen et al. 2018): mean over v of [I(z₁; v) − I(z₂; v)] / H(v), in [0, 1].

    z₁ and z₂ are the latents that know the most of v; where there is no second, it knows 0.
    """
    return float(np.mean(_gap(information, np.zeros(len(entropy))) / entropy))


def sap(accuracy: type_of_matrix, chance: Float[np.ndarray, " F"]) -> float:
    """Separated attribute predictability (Kumar et al. 2018, Sec. 3): mean over v of the best less the second accuracy.

    From 0 to about 1 − mean(chance): the accuracy is balanced over levels, so that knowing nothing gives 1 / levels,
    which is also what a second latent has where there is none.
    """
    return float(np.mean(_gap(accuracy, chance)))


def _gap(scores: type_of_matrix, without: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
    ordered = np.sort(np.vstack([scores, without]) if len(scores) == 1 else scores, axis=0)
    return ordered[-1] - ordered[-2]


def dci_disentanglement(importance: type_of_matrix) -> float | None:
    """Eastwood & Williams 2018, Sec. 2: Σ_i ρ_i (1 − H_F(P_i)), in [0, 1]; two factors at least.

    P_i = R_i / Σ_v R_iv is latent i's importance for each factor, H_F its entropy to base F, ρ_i = Σ_v R_iv / Σ R its
    share of all the importance, so that a latent that nothing needs does not count.
    """
    if importance.shape[1] < 2 or not importance.any():
        return None
    total = importance.sum(axis=1)
    shares = importance / np.where(total > 0, total, 1.0)[:, None]
    certainty = 1 - special.entr(shares).sum(axis=1) / np.log(importance.shape[1])
    return float(np.sum(total / total.sum() * certainty))


def dci_completeness(importance: type_of_matrix) -> float | None:
    """Eastwood & Williams 2018, Sec. 2: the same over columns, Σ_v ρ_v (1 − H_K(P_v)), in [0, 1]; two latents.

    With importances that sum to 1 for every factor ρ_v = 1 / F: the paper's mean.
    """
    return dci_disentanglement(importance.T)


def modularity(information: type_of_matrix) -> float | None:
    """Ridgeway & Mozer 2018: mean over latents of 1 − δ_i, in [0, 1]; two factors at least.

    δ_i = Σ_{v ≠ v*} I_iv² / (I_iv*² · (F − 1)), v* the factor of which latent i knows the most. Squares and the mean
    over all latents make it lenient: noise scores well above 0, since the bias of I differs between factors.
    A latent with no information at all counts as 0 (Locatello et al. 2019).
    """
    if information.shape[1] < 2:
        return None
    squared = information**2
    most = squared.max(axis=1)
    others = (squared.sum(axis=1) - most) / np.where(most > 0, most, 1.0) / (information.shape[1] - 1)
    return float(np.mean(np.where(most > 0, 1 - others, 0.0)))


def active(codes: Float[np.ndarray, "N K"]) -> Bool[np.ndarray, " K"]:
    """The latents whose range is more than 1/20 of the widest one's (the pruning of Hsu et al. 2023)."""
    width = np.ptp(codes, axis=0)
    return width > INACTIVE * width.max()


def info_modularity(normalised: type_of_matrix) -> float | None:
    """InfoM (Hsu et al. 2023): (mean over i of max_v NMI_iv / Σ_v NMI_iv − 1/F) / (1 − 1/F); two factors.

    NMI = I(z_i; v) / H(v) of the active latents. In [0, 1]; a latent without information counts as 0. Noise
    scores about 0.5: estimates around 0, cut off below, leave one or two factors that seem known. Read it beside InfoE.
    """
    return _concentration(normalised)


def info_compactness(normalised: type_of_matrix) -> float | None:
    """InfoC (Hsu et al. 2023): (mean over v of max_i NMI_iv / Σ_i NMI_iv − 1/K) / (1 − 1/K); two latents.

    Here K counts the active latents. In [0, 1]; a factor of which nothing is known counts as 0.
    """
    return _concentration(normalised.T)


def _concentration(normalised: type_of_matrix) -> float | None:
    """The largest value of a row as a share of its sum, mean over rows, from 0 (all alike) to 1 (the only one)."""
    even = 1 / normalised.shape[1]
    if even == 1:
        return None
    total = normalised.sum(axis=1)
    share = np.where(total > 0, normalised.max(axis=1) / np.where(total > 0, total, 1.0), even)
    return float((share.mean() - even) / (1 - even))
