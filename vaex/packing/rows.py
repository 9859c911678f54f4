"""What is packed: three splits of images that are read a part at a time, wherever they come from."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from vaex.data.dataset import Fractions, type_of_images, type_of_labels
from vaex.errors import DataError


class Part(NamedTuple):
    """`rows` images; `read` gives those of some places, ascending, N x H x W x C, uint8 or float32.

    `places` are theirs in the source, where they are only some of it.
    """

    rows: int
    read: Callable[[np.ndarray], type_of_images]
    labels: type_of_labels | None
    places: np.ndarray | None = None

    def place(self, row: int) -> int:
        """Of a row its place in the source."""
        return row if self.places is None else int(self.places[row])


class Frames:
    """Pictures that have several frames, of which the first is taken: known when they have been read."""

    def __init__(self) -> None:
        self._several: set[Hashable] = set()

    def first(self, which: Hashable, picture: tuple[np.ndarray, bool]) -> np.ndarray:
        """The picture, with which comes whether more frames follow."""
        if picture[1]:
            self._several.add(which)
        return picture[0]

    def remarks(self, pictures: int) -> list[str]:
        """Of so many pictures how many have several, if any has."""
        count = len(self._several)
        return [f"{count} of {pictures} pictures have several frames; only the first of each is used"] * bool(count)


@dataclasses.dataclass(frozen=True)
class Source:
    """Splits by their names; `declared` is the range that all values must lie in, as the user has it.

    `remarks` come along with the data; `choices`, what was taken where there was more, are said when it is packed.
    """

    splits: dict[str, Part]
    labels_named: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    frames: Frames = dataclasses.field(default_factory=Frames)
    named: str = "the source"
    declared: tuple[float, float] | None = None


def divided(config: Fractions, rows: Part) -> dict[str, Part]:
    """The splits of `split_by_fractions`, each in the order in which its rows lie in the source.

    So a file larger than memory is read from its beginning to its end, once for each split.
    """
    order = np.random.RandomState(config.split_seed).permutation(rows.rows)
    if config.fractions is None:
        raise DataError("dataset.fractions: null makes each split all rows, which would be packed three times")
    n_valid, n_test = (round(rows.rows * fraction) for fraction in config.fractions[1:])
    n_train = rows.rows - n_valid - n_test
    if min(n_train, n_valid, n_test) < 1:
        raise DataError(f"dataset.fractions: {list(config.fractions)} of {rows.rows} rows leave a split none")
    parts = dict(zip(("train", "valid", "test"), np.split(order, [n_train, n_train + n_valid]), strict=True))
    return {name: chosen(rows, np.sort(part[: _kept(config, len(part), n_train)])) for name, part in parts.items()}


def limited(config: Fractions, splits: dict[str, Part]) -> dict[str, Part]:
    """Of splits that a source has already those rows that `dataset.limit` keeps, as `Dataset.limited`."""
    n_train = splits["train"].rows
    return {name: chosen(part, np.arange(_kept(config, part.rows, n_train))) for name, part in splits.items()}


def _kept(config: Fractions, rows: int, of_train: int) -> int:
    """Rows of a split that stay: of training `dataset.limit`, of the others the same share, at least one."""
    share = 1.0 if config.limit is None else min(1.0, config.limit / of_train)
    return max(1, round(rows * share))


def chosen(rows: Part, which: np.ndarray) -> Part:
    """Some rows, by their places, ascending."""
    labels = None if rows.labels is None else rows.labels[which]
    places = which if rows.places is None else rows.places[which]
    return Part(len(which), lambda some: rows.read(which[some]), labels, places)


def of_arrays(images: Any, labels: Any) -> Part:
    """A split that is in memory, mapped, or stored."""
    return Part(len(images), lambda places: images[places[0] : places[-1] + 1], labels)
