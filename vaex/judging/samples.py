"""How far generated samples are from data, in features of both: distances of distributions, overlap of supports.

Rows are examples, columns features. Everything is float64, and no more than `CHUNK` pairs of examples are held at once.
Distances are in the (squared) unit of the features: they mean nothing but beside the same figure of real against real.
Never call them FID, which is of the features of one particular network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from vaex.errors import DataError
from vaex.judging.estimate import Estimate, check_finite, jackknife, mean, share

CHUNK = 1 << 22
"""Pairs of examples held at once: 32 MB an array, of which there are at most four."""
BLOCKS = 10
"""Blocks of the jackknife: the error is known to about 1/√18 of itself."""
LEAST = 2 * BLOCKS
"""Examples that a set must have: each block two."""
ROUNDING = 1e-12
"""Squared distance below which two examples are the same one, as a share of their squared norms."""

type_of_features = Float[np.ndarray, "N D"]


class Support(NamedTuple):
    """Overlap of two supports: shares in [0, 1], but density, which may exceed 1."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def frechet(real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"]) -> Estimate:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to two sets, ≥ 0.

    d² = ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) (Dowson & Landau 1982; Heusel et al. 2017, Eq. 6), covariances
    with N − 1. Error by jackknife. Too large by O(D²/N) on average, which is why it needs real against real beside
    it. Singular covariances (constant features, N ≤ D) are as good as others: no matrix is inverted.
    """
    real, generated = _checked(real, generated)
    parts = [(np.delete(real, a, axis=0), np.delete(generated, b, axis=0)) for a, b in _blocks(real, generated)]
    return jackknife(_frechet(real, generated), [_frechet(*part) for part in parts])


def _frechet(real: Float64[np.ndarray, "N D"], generated: Float64[np.ndarray, "M D"]) -> float:
    """The covariances' part as min over orthogonal U of ‖R₁ᵀ − R₂ᵀU‖² (Bhatia, Jain & Lim 2019), Σ = RᵀR.

    U = W Vᵀ with the singular vectors of R₂R₁ᵀ = W S Vᵀ. A sum of squares: the trace formula would cancel where the
    sets are alike, and take roots of eigenvalues that rounding made negative.
    """
    first, second = _root(real), _root(generated)
    left, _, right = np.linalg.svd(second @ first.T)
    covariances = np.sum((first.T - second.T @ (left @ right)) ** 2)
    return float(np.sum((real.mean(0) - generated.mean(0)) ** 2) + covariances)


def _root(features: type_of_features) -> Float64[np.ndarray, "D D"]:
    """R with RᵀR = Σ, rows of zeros below where there are fewer examples than features."""
    n, size = features.shape
    root = np.linalg.qr(features - features.mean(0), mode="r") / np.sqrt(n - 1)
    return np.pad(root, ((0, size - len(root)), (0, 0)))


def kid(real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"]) -> Estimate:
    """Kernel distance: the unbiased estimate of MMD² under k(x, y) = (xᵀy/D + 1)³; around 0, perhaps below, when equal.

    Σ_{i≠j} k(xᵢ, xⱼ)/(N(N − 1)) + Σ_{i≠j} k(yᵢ, yⱼ)/(M(M − 1)) − 2 Σ_{ij} k(xᵢ, yⱼ)/(NM)  (Gretton et al. 2012, Eq. 3;
    the kernel: Bińkowski et al. 2018, § 4). Over all pairs, where Bińkowski et al. average over subsets: the same
    expectation, less spread. Error by jackknife over blocks.
    """
    real, generated = _checked(real, generated)
    sums = {
        "xx": _kernel_sums(real, real),
        "yy": _kernel_sums(generated, generated),
        "xy": _kernel_sums(real, generated),
    }
    own = [np.add.reduceat(_cubed(np.sum(x * x, 1) / x.shape[1]), _starts(x)) for x in (real, generated)]
    sizes = [np.array([len(block) for block in _split(x)]) for x in (real, generated)]

    def value(kept: np.ndarray) -> float:
        within = np.ix_(kept, kept)
        n, m = (size[kept].sum() for size in sizes)
        real_pairs = (sums["xx"][within].sum() - own[0][kept].sum()) / (n * (n - 1))
        generated_pairs = (sums["yy"][within].sum() - own[1][kept].sum()) / (m * (m - 1))
        return float(real_pairs + generated_pairs - 2 * sums["xy"][within].sum() / (n * m))

    every = np.arange(BLOCKS)
    return jackknife(value(every), [value(np.delete(every, block)) for block in every])


def _kernel_sums(x: type_of_features, y: Float[np.ndarray, "M D"]) -> Float64[np.ndarray, "blocks blocks"]:
    """Σ k(xᵢ, yⱼ) over each block of x and each of y."""
    sums = np.zeros((BLOCKS, BLOCKS))
    for block, rows in enumerate(_split(x)):
        for chunk in _chunks(len(rows), len(y)):
            kernel = _cubed(x[rows[chunk]] @ y.T / x.shape[1])
            sums[block] += np.add.reduceat(kernel.sum(0), _starts(y))
    return sums


def _cubed(product: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    base = product + 1
    return base * base * base  # NumPy's power takes many times as long


def support(real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"], k: int) -> Support:
    """How much of each set lies within the other's support, the union of balls that reach to the k-th neighbour.

    B(x) is the closed ball around x of radius ‖x − its k-th nearest neighbour in its own set‖.
    precision = share of y in some B(x), recall = share of x in some B(y)   (Kynkäänniemi et al. 2019, Eq. 1–2, k = 3)
    density = mean over y of #{x: y ∈ B(x)} / k, coverage = share of x whose B(x) holds some y
                                                                            (Naeem et al. 2020, § 3, k = 5)
    Errors are over the examples averaged, the other set held fixed.
    """
    real, generated = _checked(real, generated)
    if not 1 <= k < min(len(real), len(generated)):
        raise DataError(f"k={k}: expected at least 1 and fewer than the {min(len(real), len(generated))} examples")
    centre = real.mean(0)  # small numbers cancel less in the squared distances
    real, generated = real - centre, generated - centre
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    balls = np.zeros(len(generated))
    for rows in _chunks(len(real), len(generated)):
        distances = _squared_distances(real[rows], generated)
        recalled[rows] = (distances <= generated_radii).any(axis=1)
        within = distances <= real_radii[rows, None]
        covered[rows] = within.any(axis=1)
        balls += within.sum(axis=0)
    return Support(share(balls > 0), share(recalled), mean(balls / k), share(covered))


def _radii(features: type_of_features, k: int) -> Float64[np.ndarray, " N"]:
    """Squared radius of each ball, a little wider: an example exactly on the edge is inside however it is rounded."""
    radii = np.empty(len(features))
    for rows in _chunks(len(features), len(features)):
        distances = _squared_distances(features[rows], features)
        radii[rows] = np.partition(distances, k, axis=1)[:, k]  # at 0 the example itself
    return radii * (1 + 1e-9)


def _squared_distances(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "M D"]) -> Float64[np.ndarray, "n M"]:
    """‖x − y‖² = ‖x‖² + ‖y‖² − 2xᵀy, exactly 0 where it is rounding: equal examples are common after a collapse."""
    norms = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1)
    distances = norms - 2 * (x @ y.T)
    distances[distances < ROUNDING * norms] = 0
    return distances


def _checked(
    real: Float[np.ndarray, "N D"], generated: Float[np.ndarray, "M D"]
) -> tuple[Float64[np.ndarray, "N D"], Float64[np.ndarray, "M D"]]:
    for name, features in (("real", real), ("generated", generated)):
        if len(features) < LEAST:
            raise DataError(f"{name} examples: {len(features)}, but their quality needs at least {LEAST}")
        check_finite(features, f"features of {name} examples")
    return real.astype(np.float64), generated.astype(np.float64)


def _split(features: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each block of consecutive rows."""
    return np.array_split(np.arange(len(features)), BLOCKS)


def _starts(features: np.ndarray) -> list[int]:
    return [int(block[0]) for block in _split(features)]


def _blocks(real: np.ndarray, generated: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return zip(_split(real), _split(generated), strict=True)


def _chunks(n: int, m: int) -> Iterator[slice]:
    """Slices of n rows, each with m partners, `CHUNK` pairs at a time."""
    rows = max(1, CHUNK // m)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
