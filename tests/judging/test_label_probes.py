"""Probes of labels on codes that hold them, that do not, and that hold a known share; labels of every kind."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vaex.errors import DataError
from vaex.judging import label_probes
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.label_probes import Labelled, Scores, linear_probe, nearest_neighbours

RNG = np.random.default_rng(0)
N = 400


def both(fitted_on: Labelled, scored_on: Labelled, names: tuple[str, ...]) -> list[Scores]:
    return [linear_probe(fitted_on, scored_on, names), nearest_neighbours(fitted_on, scored_on, names, 5)]


def halves(codes: np.ndarray, *columns: np.ndarray) -> tuple[Labelled, Labelled]:
    labels = np.column_stack(columns)
    half = len(codes) // 2
    return Labelled(codes[:half], labels[:half]), Labelled(codes[half:], labels[half:])


def test_separate_classes_are_read_off_and_noise_is_not():
    classes = RNG.integers(4, size=N)
    codes = 10 * np.eye(4)[classes] + RNG.normal(size=(N, 4))
    for scores in both(*halves(codes, classes), ("class",)):
        assert scores == {"class/accuracy": (1, None)}
    for scores in both(*halves(RNG.normal(size=(N, 4)), classes), ("class",)):
        estimate = scores["class/accuracy"]
        assert isinstance(estimate, Estimate)
        assert abs(estimate.value - 0.25) < 4 * estimate.error
        assert estimate.error == pytest.approx(np.sqrt(estimate.value * (1 - estimate.value) / (N / 2)))


def test_accuracy_of_two_gaussians_is_the_known_one():
    """N(±1, 1): the best accuracy is Φ(1) = 0.8413."""
    classes = RNG.integers(2, size=8000)
    codes = (2.0 * classes - 1 + RNG.normal(size=8000))[:, None]
    for scores in both(*halves(codes, classes), ("side",)):
        assert scores["side/accuracy"].value == pytest.approx(0.8413, abs=0.05)
    estimate = linear_probe(*halves(codes, classes), ("side",))["side/accuracy"]
    assert abs(estimate.value - 0.8413) < 4 * estimate.error


def test_only_neighbours_read_off_what_is_not_linear():
    codes = RNG.normal(size=(2000, 2))
    linear, neighbours = both(*halves(codes, (codes**2).sum(axis=1) > 1.4), ("far",))
    assert linear["far/accuracy"].value < 0.7
    assert neighbours["far/accuracy"].value > 0.9


def test_numbers_are_scored_by_r2():
    """y = z₁ + ε explains half of its variance; R² has its own name."""
    codes = RNG.normal(size=(6000, 3))
    y = (codes[:, 0] + RNG.normal(size=6000)).astype(np.float32)
    scores = linear_probe(*halves(codes, y), ("x",))
    assert list(scores) == ["x/r2"]
    assert abs(scores["x/r2"].value - 0.5) < 4 * scores["x/r2"].error
    near = nearest_neighbours(*halves(codes, y), ("x",), 50)["x/r2"]
    assert 0.4 < near.value < 0.52


def test_error_of_r2_is_the_spread_of_repeats():
    found = []
    for _ in range(300):
        predicted = RNG.normal(size=200)
        found.append(label_probes.r_squared(predicted + RNG.normal(size=200), predicted))
    spread = np.std([estimate.value for estimate in found])
    assert np.sqrt(np.mean([estimate.error**2 for estimate in found])) == pytest.approx(spread, rel=0.2)


def test_each_column_is_scored_by_its_name():
    codes = RNG.normal(size=(N, 3))
    side = (codes[:, 0] > 0).astype(np.float32)
    fitted_on, scored_on = halves(codes, side, codes[:, 1].astype(np.float32), np.zeros(N, np.float32))
    for scores in both(fitted_on, scored_on, ("side", "x", "one")):
        assert list(scores) == ["side/accuracy", "x/r2", "one/accuracy"]
        assert scores["one/accuracy"] == Missing("one: every training example has the same label")
        assert scores["side/accuracy"].value > 0.8
        assert scores["x/r2"].value > 0.5


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (np.array(["shirt", "shoe"]), True),
        (np.array([True, False]), True),
        (np.arange(50) % 10, True),
        ((np.arange(50) % 10).astype(np.float32), True),
        (np.arange(50), False),  # row numbers
        (np.arange(50) % 10 + 0.5, False),
        (np.array([0.0, 1.0, np.nan] * 20), False),
        (np.zeros(50), True),
    ],
)
def test_classes_are_told_from_numbers(column: np.ndarray, classes: bool):
    assert label_probes.holds_classes(column) == classes


def test_text_and_unseen_classes():
    """A class that only the scored split has is a miss."""
    names = np.array(["shirt", "shoe", "bag"])[np.repeat([0, 1], N // 2)]
    codes = np.where(names == "shoe", 5.0, -5.0)[:, None] + RNG.normal(size=(N, 1))
    order = RNG.permutation(N)
    fitted_on, scored_on = halves(codes[order], names[order])
    scored_on.labels[:10] = "bag"
    for scores in both(fitted_on, scored_on, ("kind",)):
        assert scores["kind/accuracy"].value == pytest.approx(1 - 10 / (N / 2))


def test_labels_without_a_number_and_without_variance():
    codes = RNG.normal(size=(N, 2))
    lost, y = codes[:, 0].copy(), codes[:, 0].copy()
    lost[3], y[N // 2 :] = np.nan, 0.5
    for scores in both(*halves(codes, lost, y), ("lost", "y")):
        assert scores["lost/r2"] == Missing("lost: some labels are not finite")
        assert scores["y/r2"] == Missing(
            "y: every scored example has the same label, so there is no variance to explain"
        )


def test_the_probe_does_not_see_scale_or_collapsed_latents():
    classes = RNG.integers(3, size=N)
    codes = 2 * np.eye(3)[classes] + RNG.normal(size=(N, 3))
    plain = linear_probe(*halves(codes, classes), ("class",))
    moved = np.column_stack([codes * [1e-4, 1.0, 1e4] + [0, 100, 0], np.full(N, 7.0)])
    assert linear_probe(*halves(moved, classes), ("class",)) == plain


def test_the_probe_is_scikit_learns():
    classes = RNG.integers(3, size=N)
    fitted_on, scored_on = halves(np.eye(3)[classes] + RNG.normal(size=(N, 3)), classes)
    centre, scale = fitted_on.codes.mean(0), fitted_on.codes.std(0)
    model = LogisticRegression().fit((fitted_on.codes - centre) / scale, fitted_on.labels[:, 0])
    expected = model.score((scored_on.codes - centre) / scale, scored_on.labels[:, 0])
    assert linear_probe(fitted_on, scored_on, ("class",))["class/accuracy"].value == expected


def test_neighbours_by_a_loop():
    classes = RNG.integers(3, size=60)
    fitted_on, scored_on = halves(np.eye(3)[classes] + RNG.normal(size=(60, 3)), classes)
    hits = []
    for code, truth in zip(scored_on.codes, scored_on.labels[:, 0], strict=True):
        nearest = np.argsort(((fitted_on.codes - code) ** 2).sum(axis=1))[:5]
        hits.append(np.bincount(fitted_on.labels[nearest, 0]).argmax() == truth)
    found = nearest_neighbours(fitted_on, scored_on, ("class",), 5)
    assert found["class/accuracy"].value == np.mean(hits)


def test_what_cannot_be_measured_is_refused():
    part = Labelled(RNG.normal(size=(20, 2)), np.zeros((20, 1)))
    broken = part._replace(codes=np.full((20, 2), np.nan))
    for scores in (lambda *parts: linear_probe(*parts, ("a",)), lambda *parts: nearest_neighbours(*parts, ("a",), 1)):
        with pytest.raises(DataError, match="scored codes: 40 of 40 values are not finite"):
            scores(part, broken)
        with pytest.raises(DataError, match="training codes: none"):
            scores(Labelled(part.codes[:0], part.labels[:0]), part)
    with pytest.raises(DataError, match="k=21: expected 1 to 20"):
        nearest_neighbours(part, part, ("a",), 21)
