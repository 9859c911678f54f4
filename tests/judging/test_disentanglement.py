"""Measures of disentanglement on codes whose answer is known, and their parts against closed forms and scikit-learn."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score, roc_auc_score

from vaex.errors import DataError
from vaex.judging import codes as formulas
from vaex.judging import disentanglement, predictors
from vaex.judging import mutual_information as information
from vaex.judging.disentanglement import Score, scores

pytestmark = pytest.mark.slow  # a minute: make judging

LEVELS = (3, 4, 5, 5, 5)
GRID = np.stack(np.meshgrid(*map(np.arange, LEVELS), indexing="ij"), axis=-1).reshape(-1, len(LEVELS))
"""Every combination of levels once: the factors are exactly independent."""
NAMES = ("true factors", "rotated", "noisy", "pure noise")


def known_code(name: str) -> np.ndarray:
    """A code of `GRID`: its factors in units of their spread; these turned; with noise of half that spread; noise."""
    random = np.random.RandomState(0)
    true = (GRID - GRID.mean(0)) / GRID.std(0)
    rotation = stats.ortho_group.rvs(len(LEVELS), random_state=random)
    noise = random.normal(size=true.shape)
    return {"true factors": true, "rotated": true @ rotation, "noisy": true + noise / 2, "pure noise": noise}[name]


def markdown() -> str:
    """The table of every measure of every known code, as README has it: `python -m tests.test_disentanglement`."""
    found = [scores(known_code(name), GRID, seed=0) for name in NAMES]
    rows = [["measure", *NAMES], ["---"] * (len(NAMES) + 1)]
    rows += [[f"`{measure}`", *(cell(score[measure]) for score in found)] for measure in found[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(score: Score) -> str:
    return f"{score.value:.3f}" + (f" ± {score.standard_error:.3f}" if score.standard_error is not None else "")


BANDS = {
    "mig": [(1, 1), (0.05, 0.25), (0.35, 0.55), (0, 0.01)],
    "modularity": [(1, 1), (0.7, 0.95), (0.99, 1), (0.3, 0.8)],
    "mig_neighbours": [(0.98, 1), (0.02, 0.25), (0.35, 0.55), (0, 0.02)],
    "info_modularity": [(0.97, 1), (0.1, 0.65), (0.85, 1), (0.2, 0.9)],
    "info_compactness": [(0.97, 1), (0.1, 0.65), (0.85, 1), (0.2, 0.9)],
    "dci_disentanglement": [(0.999, 1), (0, 0.25), (0.5, 0.9), (0, 0.05)],
    "dci_completeness": [(0.999, 1), (0, 0.25), (0.5, 0.9), (0, 0.05)],
    "explicitness": [(1, 1), (0.99, 1), (0.8, 0.95), (0.45, 0.55)],
    "sap": [(0.76, 0.79), (0.02, 0.2), (0.3, 0.5), (0, 0.04)],  # 1 − mean(1 / levels) is the most
    "dci_informativeness": [(1, 1), (0.7, 0.98), (0.5, 0.75), (0.19, 0.28)],  # chance: mean(1 / levels) = 0.237
    "info_explicitness": [(0.99, 1), (0.98, 1), (0.4, 0.6), (-0.05, 0)],
}


@pytest.mark.parametrize("name", NAMES)
def test_known_codes(name: str):
    found = scores(known_code(name), GRID, seed=0)
    assert set(found) == set(BANDS)
    for measure, bands in BANDS.items():
        low, high = bands[NAMES.index(name)]
        assert low - 1e-9 <= found[measure].value <= high + 1e-9, (measure, found[measure])
    erring = {measure for measure, score in found.items() if score.standard_error is not None}
    assert erring == {"mig", "modularity", "sap", "dci_informativeness", "info_explicitness"}
    assert max(found[measure].standard_error for measure in erring - {"modularity"}) < 0.03


# estimators


def test_information_of_a_known_joint_table():
    counts = np.array([[4.0, 0, 0], [0, 2, 2]])
    assert information.entropy(counts[None].sum(1)) == pytest.approx(1.5 * math.log(2))
    assert information.mutual_information(counts[None]) == pytest.approx(math.log(2))
    independent = np.outer([1.0, 2, 3], [4.0, 5])
    assert information.mutual_information(independent[None]) == pytest.approx(0, abs=1e-12)


def test_counts_are_those_of_a_loop_and_information_is_scikit_learns():
    random = np.random.RandomState(1)
    codes, weights = random.normal(size=(300, 3)), random.randint(3, size=300).astype(float)
    levels = np.stack([random.randint(4, size=300), (codes[:, 0] > 0).astype(int)], axis=1)
    bins, size = information.binned(codes), information.BINS
    edges = np.histogram_bin_edges(codes[:, 1], 20)
    np.testing.assert_array_equal(np.bincount(bins[:, 1], minlength=20), np.histogram(codes[:, 1], edges)[0])
    one_hot = information.one_hot(bins, size), information.one_hot(levels, 4)
    slow = np.zeros((3, 2, size, 4))
    for row, weight in enumerate(weights):
        for latent in range(3):
            for factor in range(2):
                slow[latent, factor, bins[row, latent], levels[row, factor]] += weight
    np.testing.assert_array_equal(information.joint_counts(*one_hot, weights), slow)
    found = information.mutual_information(information.joint_counts(*one_hot, np.ones(300)))
    expected = [[mutual_info_score(z, v) for v in levels.T] for z in bins.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_neighbours_find_the_information_of_a_gaussian_mixture():
    """z = ±1 + noise: I = h(z) − h(z | v), the first by numerical integration."""
    random = np.random.RandomState(2)
    v = random.randint(2, size=(20_000, 1))
    z = 2.0 * v - 1 + random.normal(size=v.shape)
    grid = np.linspace(-8, 8, 4001)
    density = (stats.norm.pdf(grid - 1) + stats.norm.pdf(grid + 1)) / 2
    exact = np.trapezoid(-density * np.log(density), grid) - stats.norm.entropy()
    assert information.neighbour_information(z, v, random)[0, 0] == pytest.approx(exact, abs=0.02)


def test_area_under_curve_is_scikit_learns():
    random = np.random.RandomState(3)
    levels = random.randint(3, size=200)
    score = np.round(random.normal(size=(200, 3)) + np.eye(3)[levels], 1)  # with ties
    expected = [roc_auc_score(levels == level, score[:, level]) for level in range(3)]
    np.testing.assert_allclose(predictors.area_under_curve(score, levels), expected)


def test_halves_share_every_level_and_no_example():
    levels = np.repeat(np.arange(5), [2, 3, 40, 7, 2])
    (fit, told), swapped = predictors.halves(levels, np.random.RandomState(0))
    assert sorted([*fit, *told]) == list(range(len(levels)))
    assert set(levels[fit]) == set(levels[told]) == set(range(5))
    np.testing.assert_array_equal(swapped[0], told)
    assert sorted(fit) != list(range(0, len(levels), 2))


# formulas


PERMUTATION = np.array([[0, 3.0, 0], [2, 0, 0], [0, 0, 1]])


def test_one_latent_a_factor_is_perfect_by_every_formula():
    entropy = PERMUTATION.max(0)
    assert formulas.mig(PERMUTATION, entropy) == 1
    assert formulas.dci_disentanglement(PERMUTATION) == pytest.approx(1)
    assert formulas.dci_completeness(PERMUTATION) == pytest.approx(1)
    assert formulas.modularity(PERMUTATION) == 1
    assert formulas.info_modularity(PERMUTATION) == formulas.info_compactness(PERMUTATION) == 1


def test_all_alike_is_the_worst_by_every_formula():
    even = np.ones((4, 3))
    assert formulas.mig(even, np.ones(3)) == formulas.modularity(even) == 0
    for formula in (formulas.dci_disentanglement, formulas.dci_completeness, formulas.info_modularity):
        assert formula(even) == pytest.approx(0, abs=1e-12)
    assert formulas.info_compactness(even) == pytest.approx(0, abs=1e-12)


def test_formulas_by_hand():
    known = np.array([[0.8, 0.2], [0.4, 0.4], [0.0, 0.0]])
    assert formulas.mig(known, np.array([1.0, 0.5])) == pytest.approx((0.4 + 0.2 / 0.5) / 2)
    assert formulas.sap(known, np.array([0.0, 0.0])) == pytest.approx((0.4 + 0.2) / 2)
    assert formulas.modularity(known) == pytest.approx((1 - (0.2 / 0.8) ** 2 + 0 + 0) / 3)
    assert formulas.info_modularity(known) == pytest.approx(((0.8 + 0.5 + 0.5) / 3 - 0.5) / 0.5)
    assert formulas.info_compactness(known) == pytest.approx(((2 / 3 + 2 / 3) / 2 - 1 / 3) / (2 / 3))
    certainty = [1 - stats.entropy(row, base=2) for row in known[:2]]
    assert formulas.dci_disentanglement(known) == pytest.approx(np.average(certainty, weights=[1.0, 0.8]))
    certainty = [1 - stats.entropy(column, base=3) for column in known.T]
    assert formulas.dci_completeness(known) == pytest.approx(np.average(certainty, weights=[1.2, 0.6]))


def test_narrow_latents_are_not_active():
    codes = np.array([[0, 0, 0], [1, 0.04, 0.06]])
    assert formulas.active(codes).tolist() == [True, False, True]


# what is missing


SMALL = GRID[GRID[:, 4] == 0][:, :3]
"""300 examples of three factors."""


def values(codes: np.ndarray, factors: np.ndarray) -> dict[str, float | None]:
    return {measure: score.value for measure, score in scores(codes, factors, seed=0).items()}


def test_constant_latents_and_factors_and_names_of_levels_change_nothing():
    codes = SMALL + np.random.RandomState(0).normal(size=SMALL.shape) / 4
    padded = np.column_stack([np.full(len(codes), 2.5), codes, np.zeros(len(codes))])
    renamed = np.column_stack([SMALL * 7 + 3, np.full(len(codes), 9)]).astype(np.uint8)
    found = scores(codes, SMALL, seed=0)
    assert scores(padded, renamed, seed=0) == found
    assert scores(codes, SMALL, seed=1) != found


def test_a_single_latent_is_compared_with_nothing():
    found = values(SMALL[:, :1].astype(float), SMALL)
    assert found["dci_completeness"] is found["info_compactness"] is None
    assert found["mig"] == pytest.approx(1 / 3)
    assert found["sap"] == pytest.approx((1 - 1 / 3) / 3, abs=0.05)
    assert found["modularity"] == 1


def test_a_single_factor_is_compared_with_nothing():
    found = values(SMALL.astype(float), SMALL[:, :1])
    assert found["dci_disentanglement"] is found["info_modularity"] is found["modularity"] is None
    assert found["mig"] == pytest.approx(1)
    assert found["dci_completeness"] == pytest.approx(1, abs=1e-6)


def test_a_latent_twice_has_no_gap_and_stays_modular():
    found = values(np.tile(SMALL, (1, 2)).astype(float), SMALL)
    assert found["mig"] == pytest.approx(0, abs=1e-12)
    assert found["modularity"] == pytest.approx(1)
    assert found["sap"] == pytest.approx(0, abs=1e-12)
    assert found["info_compactness"] < 0.5
    assert found["dci_completeness"] < 0.75


@pytest.mark.parametrize(
    ("codes", "factors", "words"),
    [
        (np.where(np.arange(300)[:, None] == 7, np.nan, SMALL), SMALL, r"codes of 1 of 300 .* first example 7"),
        (np.full((300, 2), np.inf), SMALL, "codes of 300 of 300 examples are not finite"),
        (np.ones((300, 2)), SMALL, "every latent is constant"),
        (SMALL.astype(float), np.zeros((300, 1), int), "no factor varies"),
        (SMALL.astype(float), np.arange(300)[:, None], "factor 0 has a level with one example only"),
    ],
    ids=["nan", "infinite", "constant code", "constant factors", "every example its own level"],
)
def test_what_cannot_be_judged_costs_one_line(codes: np.ndarray, factors: np.ndarray, words: str):
    with pytest.raises(DataError, match=f"^disentanglement: .*{words}") as caught:
        scores(codes, factors, seed=0)
    assert "\n" not in str(caught.value)


def test_the_standard_error_of_a_share_is_that_of_the_binomial_distribution():
    codes = SMALL[:, :1] + np.random.RandomState(4).normal(size=(300, 1))
    share, error = scores(codes, SMALL[:, :1], seed=0)["dci_informativeness"]
    assert error == pytest.approx(math.sqrt(share * (1 - share) / 300), rel=0.25)  # of 100 resamples: 7 %


def test_the_standard_error_of_mig_is_its_spread_over_samples():
    random, drawn = np.random.RandomState(5), []
    for _ in range(40):
        factors = random.randint(3, size=(400, 2))
        codes = factors + random.normal(size=factors.shape)
        weights = random.multinomial(400, np.full(400, 1 / 400), 100).astype(float)
        measure = disentanglement._of_tables(codes, information.one_hot(factors, 3))
        drawn.append(disentanglement._with_errors(measure, weights)["mig"])
    spread = np.std([score.value for score in drawn], ddof=1)
    assert 0.6 < np.mean([score.standard_error for score in drawn]) / spread < 1.6  # its own error: 11 %


if __name__ == "__main__":
    print(markdown())
