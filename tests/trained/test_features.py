"""Features of a classifier or of PCA: the same twice, kept, damaged, for every kind of images, and that they tell."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn import decomposition

from tests.support.configurations import make
from vaex.data.dataset import Dataset, Split
from vaex.datasets import digits
from vaex.judging import samples
from vaex.trained.features import Features, features

pytestmark = pytest.mark.slow  # a minute: make judging

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def _short_training() -> Iterator[None]:
    """A seventh of the steps is enough for images that are so small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaex.trained.classifier.STEPS", 200)
        yield


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's cache of this test."""
    monkeypatch.setenv("VAEX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return digits.load(make("dataset=digits").dataset)


@pytest.fixture(scope="module")
def made(_short_training: None, dataset: Dataset) -> Features:
    """With no cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEX_CACHE", "")
        return features(dataset)


def tiny(shape: tuple[int, int, int], dtype: str, labelled: bool = True) -> Dataset:
    """Two classes, told apart by the brightness of the first row of pixels."""

    def split(n: int) -> Split:
        classes = np.arange(n) % 2
        images = RNG.uniform(0, 0.4, (n, *shape))
        images[:, 0, : max(1, shape[1] // 2)] += 0.6 * classes[:, None, None]
        images = np.rint(255 * images).astype(np.uint8) if dtype == "uint8" else images.astype(np.float32)
        return Split(images, classes[:, None] if labelled else None)

    return Dataset(split(60), split(30), split(30), ("bright",) if labelled else ())


def test_the_classifier_has_learned_and_its_features_are_standardised(dataset: Dataset, made: Features):
    assert made.made_by == "classifier of class"
    assert made.accuracy is not None
    assert made.accuracy.value > 0.93  # by chance: 0.1
    assert 0 < made.accuracy.error < 0.03
    found = made.of(dataset.train.images)
    assert (found.dtype, found.shape) == (np.float32, (len(dataset.train.images), 64))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    assert found.var(axis=0).mean() == pytest.approx(1, rel=1e-3)
    assert found.std(axis=0).min() > 0.01  # no unit is dead


def test_made_again_it_is_the_same(dataset: Dataset, made: Features, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAEX_CACHE", "")
    again = features(dataset)
    assert again.digest == made.digest
    np.testing.assert_array_equal(again.of(dataset.test.images), made.of(dataset.test.images))


def test_an_image_has_the_same_features_in_any_company(dataset: Dataset, made: Features):
    whole = made.of(dataset.train.images)
    np.testing.assert_array_equal(made.of(dataset.train.images[700:703]), whole[700:703])


def test_the_features_tell_noise_from_digits(dataset: Dataset, made: Features):
    """Half of the data against the other half is the scale on which noise is far away."""
    images = dataset.train.images
    halves = made.of(images[::2]), made.of(images[1::2])
    noise = made.of(RNG.permuted(images, axis=1))
    for distance in (samples.frechet, samples.kid):
        assert distance(halves[0], noise).value > 10 * abs(distance(*halves).value)
    real, shuffled = (samples.support(halves[0], other, 5) for other in (halves[1], noise))
    assert real.precision.value > 0.9 > 0.7 > shuffled.precision.value
    assert real.coverage.value > 0.9 > 0.5 > shuffled.coverage.value


def test_kept_features_are_the_same(dataset: Dataset, made: Features, cache: Path, monkeypatch: pytest.MonkeyPatch):
    first = features(dataset)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr("vaex.trained.classifier.train", None)
    kept = features(dataset)
    assert first[1:] == kept[1:] == made[1:]
    np.testing.assert_array_equal(kept.of(dataset.test.images), made.of(dataset.test.images))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another(path: Path) -> None:
    """Whole, but of something else."""
    features(tiny((1, 3, 1), "float32", labelled=False))
    (other,) = set(path.parent.iterdir()) - {path}
    other.replace(path)


@pytest.mark.parametrize(
    "damage", [flip, another, lambda path: path.write_bytes(b""), lambda path: (path.unlink(), path.mkdir())]
)
def test_a_damaged_entry_is_made_again(cache: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]):
    dataset = tiny((1, 6, 1), "float32", labelled=False)
    first = features(dataset)
    (entry,) = cache.iterdir()
    damage(entry)
    with caplog.at_level(logging.INFO):
        again = features(dataset)
    assert again.digest == first.digest
    assert str(entry) in caplog.messages[0]
    assert "made again" in caplog.messages[0]
    assert all(len(message.splitlines()) == 1 for message in caplog.messages)
    if entry.is_file():
        caplog.clear()
        assert features(dataset).digest == first.digest
        assert not caplog.messages


def test_a_cache_that_cannot_be_written_costs_a_line(cache: Path, caplog: pytest.LogCaptureFixture):
    cache.parent.write_text("a file where the cache should be")
    dataset = tiny((1, 6, 1), "float32", labelled=False)
    with caplog.at_level(logging.INFO):
        assert features(dataset).made_by == "PCA"
    (message,) = caplog.messages
    assert message.startswith(f"{cache}")
    assert "the features are not kept" in message


def test_another_dataset_or_recipe_is_another_entry(cache: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = tiny((1, 6, 1), "float32", labelled=False)
    features(dataset)
    features(tiny((1, 6, 1), "float32", labelled=False))
    monkeypatch.setattr("vaex.trained.features.RECIPE", 0)
    features(dataset)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((6, 5, 1), "uint8"), ((5, 6, 3), "float32"), ((1, 7, 1), "float32")],
)
def test_every_kind_of_images(shape: tuple[int, int, int], dtype: str):
    dataset = tiny(shape, dtype)
    found = features(dataset)
    assert found.accuracy is not None
    assert found.accuracy.value > 0.8
    assert found.of(dataset.test.images).shape == (30, 64)
    if dtype == "uint8":  # which mean value / 255: what a decoder generates for them is float
        floats = dataset.test.images.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(found.of(floats), found.of(dataset.test.images))


@pytest.mark.parametrize(("shape", "size"), [((8, 8, 1), 59), ((1, 7, 1), 7)])
def test_pca_where_there_are_no_labels(shape: tuple[int, int, int], size: int):
    dataset = tiny(shape, "float32", labelled=False)
    dataset = Dataset(dataset.train.take(slice(59)), dataset.valid, dataset.test, ())
    found = features(dataset)
    assert (found.made_by, found.accuracy) == ("PCA", None)
    rows = dataset.train.images.reshape(59, -1)
    expected = decomposition.PCA().fit_transform(rows)[:, :size]
    got = found.of(dataset.train.images)
    ratio = np.sqrt(expected.var(axis=0).mean())
    np.testing.assert_allclose(np.abs(got), np.abs(expected / ratio), atol=2e-3)


def test_labels_that_are_no_classes_give_pca_and_the_first_that_are_give_a_classifier():
    dataset = tiny((1, 6, 1), "float32")

    def relabelled(split: Split) -> Split:
        n = len(split.images)
        bright = split.images[:, 0, 0, 0] > 0.5
        return split._replace(labels=np.column_stack([RNG.normal(size=n), np.zeros(n), bright]).astype(np.float32))

    parts = [relabelled(split) for split in (dataset.train, dataset.valid, dataset.test)]
    assert features(Dataset(*parts, ("x", "one", "bright"))).made_by == "classifier of bright"
    without = [split._replace(labels=split.labels[:, :2]) for split in parts]
    assert features(Dataset(*without, ("x", "one"))).made_by == "PCA"


def test_images_that_are_all_the_same():
    split = Split(np.full((40, 4, 4, 1), 7, np.uint8), None)
    found = features(Dataset(split, split, split, ()))
    np.testing.assert_allclose(found.of(split.images), 0, atol=1e-6)


def test_of_many_rows_some_are_used(monkeypatch: pytest.MonkeyPatch):
    """Spread over all of them: the classes of a sorted file are all there."""
    monkeypatch.setattr("vaex.trained.features.ROWS", 40)
    dataset = tiny((1, 6, 1), "float32")
    order = np.argsort(dataset.train.labels[:, 0], kind="stable")
    found = features(Dataset(dataset.train.take(order), dataset.valid, dataset.test, dataset.labels_named))
    assert found.made_by == "classifier of bright"
    assert found.accuracy is not None
    assert found.accuracy.value > 0.8
