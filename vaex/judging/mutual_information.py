"""Entropy and mutual information of codes (N x K, real) and factors (N x F, levels 0, 1, …), in nats.

Two estimators of I(z; v), since neither is right everywhere:

- **20 bins**, as Locatello et al. 2019: each latent is cut into 20 bins of equal width between its minimum and
  maximum, and I is that of the joint table of counts. Too high by about (bins − 1)(levels − 1) / 2N where z and v are
  independent (Miller 1955), at most log 20 whatever z holds, and blunted by a single outlier that widens the bins.
- **neighbours** (Ross 2014), the 10 nearest, as Hsu et al. 2023 use it: no bins, next to no bias, but noisier, and cut
  off at 0 from below.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

BINS = 20
NEIGHBOURS = 10


def binned(codes: Float[np.ndarray, "N K"]) -> Int[np.ndarray, "N K"]:
    """Each latent's bin, from 0 to 19: `BINS` of equal width from its minimum to its maximum, which must differ."""
    edges = [np.linspace(latent.min(), latent.max(), BINS + 1)[1:-1] for latent in codes.T]
    return np.stack([np.digitize(*pair) for pair in zip(codes.T, edges, strict=True)], axis=1)


def one_hot(categories: Int[np.ndarray, "N C"], size: int) -> Float[np.ndarray, "N C size"]:
    """1 at each row's category, 0 elsewhere."""
    return (categories[..., None] == np.arange(size)).astype(np.float64)


def joint_counts(
    bins: Float[np.ndarray, "N K B"], levels: Float[np.ndarray, "N F L"], weights: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "K F B L"]:
    """How often each latent's bin meets each factor's level, every example counted `weights` times."""
    n, latents, size = bins.shape
    _, factors, most = levels.shape
    weighted = (levels * weights[:, None, None]).reshape(n, -1)  # one matrix product for all the tables
    counts = bins.reshape(n, -1).T @ weighted
    return counts.reshape(latents, size, factors, most).swapaxes(1, 2)


def entropy(counts: Float[np.ndarray, "*rest C"]) -> Float[np.ndarray, "*rest"]:
    """H = −Σ p log p of the shares p = counts / their sum, with 0 log 0 = 0."""
    return special.entr(counts / counts.sum(-1, keepdims=True)).sum(-1)


def mutual_information(counts: Float[np.ndarray, "*rest B L"]) -> Float[np.ndarray, "*rest"]:
    """I = H(row) + H(column) − H(row, column) of a joint table; what rounding takes below 0 is 0."""
    both = entropy(counts.reshape(*counts.shape[:-2], -1))
    return np.maximum(entropy(counts.sum(-1)) + entropy(counts.sum(-2)) - both, 0.0)


def neighbour_information(
    codes: Float[np.ndarray, "N K"], levels: Int[np.ndarray, "N F"], random: np.random.RandomState
) -> Float[np.ndarray, "K F"]:
    """I(z; v) from distances to the 10 nearest examples of the same level (Ross 2014), not below 0.

    `random` breaks ties between equal codes, by noise of 1e-10 of their scale.
    """
    from sklearn.feature_selection import mutual_info_classif  # takes half a second to import

    scaled = (codes - codes.mean(0)) / codes.std(0)
    columns = [mutual_info_classif(scaled, level, n_neighbors=NEIGHBOURS, random_state=random) for level in levels.T]
    return np.stack(columns, axis=1)
