import hashlib
import struct

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from vaex.data.dataset import Dataset, Fractions, Split, split_by_fractions
from vaex.errors import DataError


def rows(n: int) -> Split:
    """Image i has the value i, and so has label i: what belongs together can be seen."""
    values = np.arange(n, dtype=np.uint8)
    return Split(np.broadcast_to(values[:, None, None, None], (n, 2, 3, 1)).copy(), values[:, None])


def fractions(*parts: float, limit: int | None = None, seed: int = 0) -> Fractions:
    return Fractions(limit=limit, fractions=parts or (0.8, 0.1, 0.1), split_seed=seed)


def splits(dataset: Dataset) -> list[Split]:
    return [dataset.train, dataset.valid, dataset.test]


def test_the_splits_have_every_row_once_and_its_label():
    dataset = split_by_fractions(fractions(), rows(100), ("class",))
    assert [len(split.images) for split in splits(dataset)] == [80, 10, 10]
    assert sorted(np.concatenate([split.labels[:, 0] for split in splits(dataset)])) == list(range(100))
    for split in splits(dataset):
        np.testing.assert_array_equal(split.images, np.broadcast_to(split.labels[..., None, None], split.images.shape))
    assert dataset.labels_named == ("class",)


def test_the_shuffle_is_the_seeds_and_stays_the_same_for_good():
    assert split_by_fractions(fractions(), rows(10)).train.labels[:, 0].tolist() == [2, 8, 4, 9, 1, 6, 7, 3]
    other = split_by_fractions(fractions(seed=1), rows(10)).train.labels[:, 0]
    assert other.tolist() == [2, 9, 6, 4, 0, 3, 1, 7]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_an_empty_split_is_refused_by_its_key(n: int):
    with pytest.raises(DataError, match=r"^dataset\.fractions: .* of \d rows leave .* for test; each needs"):
        split_by_fractions(fractions(), rows(n))


@pytest.mark.parametrize(("limit", "expected"), [(None, 10), (4, 4), (1, 1), (99, 10)])
def test_without_fractions_each_split_is_all_rows_and_limit_is_of_each(limit: int | None, expected: int):
    dataset = split_by_fractions(Fractions(limit=limit, fractions=None, split_seed=0), rows(10), ("class",))
    for split in splits(dataset):
        assert split.labels[:, 0].tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5][:expected]
        np.testing.assert_array_equal(split.images, np.broadcast_to(split.labels[..., None, None], split.images.shape))


@pytest.mark.parametrize("parts", [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.9, 0.2, -0.1], [0.5, 0.5], [0.8, 0.1, 0.0999]])
def test_fractions_must_be_three_positive_numbers_that_sum_to_one(parts: list[float]):
    with pytest.raises(ValidationError):
        TypeAdapter(Fractions).validate_json(f'{{"limit": null, "fractions": {parts}, "split_seed": 0}}')


def test_thirds_sum_to_one():
    assert len(split_by_fractions(fractions(1 / 3, 1 / 3, 1 / 3), rows(9)).train.images) == 3


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(40, [40, 5, 5]), (8, [8, 1, 1]), (1, [1, 1, 1]), (80, [80, 10, 10]), (999, [80, 10, 10]), (None, [80, 10, 10])],
)
def test_limit_keeps_the_first_rows_in_proportion(limit: int | None, expected: list[int]):
    whole = split_by_fractions(fractions(), rows(100))
    limited = split_by_fractions(fractions(limit=limit), rows(100))
    for split, all_rows, n in zip(splits(limited), splits(whole), expected, strict=True):
        np.testing.assert_array_equal(split.images, all_rows.images[:n])
        np.testing.assert_array_equal(split.labels, all_rows.labels[:n])


def test_digest_is_the_sha256_of_dtype_shape_and_bytes():
    images, labels = np.float32([[[[1.5]]]]), np.uint8([[7]])
    dataset = Dataset(Split(images, labels), Split(images, None), Split(images, None), ("class",))
    image = b"<f4(1, 1, 1, 1)" + struct.pack("<f", 1.5)
    expected = image + b"|u1(1, 1)\x07" + (image + b"none") * 2
    assert dataset.digest == hashlib.sha256(expected).hexdigest()


def test_digest_sees_every_change_and_no_memory_layout():
    first = split_by_fractions(fractions(), rows(20))
    assert split_by_fractions(fractions(), rows(20)).digest == first.digest
    assert split_by_fractions(fractions(seed=1), rows(20)).digest != first.digest
    assert first.limited(15).digest != first.digest
    for part in ("train", "valid", "test"):
        for field in ("images", "labels"):
            changed = split_by_fractions(fractions(), rows(20))
            getattr(getattr(changed, part), field).flat[0] ^= 1
            assert changed.digest != first.digest, (part, field)
    fortran = first.train._replace(images=np.asfortranarray(first.train.images))
    assert Dataset(fortran, first.valid, first.test, ()).digest == first.digest
    flat = first.train._replace(images=first.train.images.reshape(-1, 3, 2, 1))
    assert Dataset(flat, first.valid, first.test, ()).digest != first.digest
