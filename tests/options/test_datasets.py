import contextlib
import gzip
import io
import json
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter
from sklearn.datasets import load_digits

from vaex import config, files
from vaex.data.dataset import Dataset
from vaex.datasets import arrays, digits, images, shapes
from vaex.errors import DataError

CONF = Path(__file__).parents[2] / "conf" / "dataset"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


def load(name: str, **changes: Any) -> Dataset:
    """What a run does: the YAML's values, changed, typed, loaded."""
    module = config.find("dataset", name)
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changes
    return module.load(TypeAdapter(module.Config).validate_json(json.dumps(values)))


def sizes(dataset: Dataset) -> list[int]:
    return [len(split.images) for split in (dataset.train, dataset.valid, dataset.test)]


def rows(dataset: Dataset) -> np.ndarray:
    return np.concatenate([dataset.train.images, dataset.valid.images, dataset.test.images])


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_is_complete_and_has_its_file(name: str):
    module = config.find("dataset", name)
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert values["name"] == name
    TypeAdapter(module.Config).validate_json(json.dumps(values))


def test_every_file_has_its_yaml():
    assert sorted(path.stem for path in Path(arrays.__file__).parent.glob("[!_]*.py")) == NAMES


def test_no_dataset_imports_jax():
    names = ", ".join(f"vaex.datasets.{name}" for name in NAMES)
    code = f"import sys, {names}; sys.exit('jax' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fashion_mnist_is_split_as_in_the_book():
    dataset = load("fashion_mnist")
    assert sizes(dataset) == [55000, 5000, 10000]
    assert dataset.train.images.shape == (55000, 28, 28, 1)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.labels_named == ("class",)
    # From the published files: mean of the 60 000 training pixels / 255, 6000 of each class, the first labels.
    training = np.concatenate([dataset.train.images, dataset.valid.images])
    assert training.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert training.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    labels = np.concatenate([dataset.train.labels, dataset.valid.labels])[:, 0]
    assert np.bincount(labels).tolist() == [6000] * 10
    assert labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert dataset.test.labels[:10, 0].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    limited = load("fashion_mnist", limit=550)
    assert sizes(limited) == [550, 50, 100]
    np.testing.assert_array_equal(limited.valid.images, dataset.valid.images[:50])


def test_digits_are_scikit_learns():
    dataset = load("digits")
    assert sizes(dataset) == [1437, 180, 180]
    assert dataset.train.images.dtype == np.float32
    assert (rows(dataset).min(), rows(dataset).max()) == (0, 1)
    reference = {image.tobytes(): label for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    for image, label in zip(dataset.test.images, dataset.test.labels[:, 0], strict=True):
        assert reference[(image.reshape(64) * 16).astype(np.float64).tobytes()] == label


OTHER = gzip.compress(b"0," * 64 + b"7\n", mtime=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"nothing", "cannot be read"),
        (OTHER[:-10], "cannot be read"),
        (OTHER[:10] + b"\xff" + OTHER[11:], "cannot be read"),
        (OTHER, "not the digits"),
    ],
    ids=["missing", "text", "cut off", "flipped", "other"],
)
def test_damaged_digits_cost_one_line(tmp_path, monkeypatch, content: bytes | None, words: str):
    file = tmp_path / "digits.csv.gz"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(digits, "FILE", file)
    with pytest.raises(DataError, match=words):
        load("digits")


def test_shapes_are_their_seeds():
    first = load("shapes", count=300)
    assert load("shapes", count=300).digest == first.digest
    assert load("shapes", count=300, seed=1).digest != first.digest
    assert sizes(first) == [240, 30, 30]
    assert first.train.images.shape[1:] == (28, 28, 1)
    assert first.train.images.dtype == np.uint8
    assert first.labels_named == ("shape", "x", "y", "size", "rotation")


def test_shapes_have_the_area_place_and_direction_that_their_labels_say():
    factors = shapes.draw_factors(3000, seed=5)
    coverage = shapes.render(factors) / 255
    shape, x, y, size, rotation = factors.T.astype(np.float64)
    half = shapes.WIDTH * size
    area = coverage.sum((1, 2))
    exact = np.choose(shape.astype(int), [np.pi * size * half, 4 * size * half, 2 * size * half])
    np.testing.assert_allclose(area, exact, rtol=0.05)
    assert abs((area / exact).mean() - 1) < 0.01

    pixel = np.arange(28) + 0.5
    cx = (coverage.sum(1) * pixel).sum(1) / area
    cy = (coverage.sum(2) * pixel).sum(1) / area
    shift = np.where(shape == shapes.TRIANGLE, -size / 3, 0)  # a triangle's centroid is a third up from its base
    np.testing.assert_allclose(cx, x + shift * np.cos(rotation), atol=0.2)
    np.testing.assert_allclose(cy, y + shift * np.sin(rotation), atol=0.2)

    dx, dy = pixel - cx[:, None, None], pixel[:, None] - cy[:, None, None]
    xx, yy, xy = ((coverage * product).sum((1, 2)) for product in (dx * dx, dy * dy, dx * dy))
    axis = 0.5 * np.arctan2(2 * xy, xx - yy)
    assert np.abs(np.sin(axis - rotation)).max() < 0.1


def test_shapes_are_anti_aliased_and_inside_the_image():
    factors = shapes.draw_factors(3000, seed=6)
    drawn = shapes.render(factors)
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert drawn[:, ~border].max() == 255
    assert drawn[:, border].max() < 255
    grey = (drawn > 0) & (drawn < 255)
    assert grey.any((1, 2)).all()
    assert (factors.min(0) >= [0, 9, 9, 4, 0]).all()
    assert (factors.max(0) <= [2, 19, 19, 7, np.pi + 1e-6]).all()
    assert set(factors[:, 0]) == {0, 1, 2}


def test_shapes_are_those_of_earlier_versions():
    """From their YAML values as they were saved; the digests are of commit 0998492."""
    values = {"limit": None, "fractions": [0.8, 0.1, 0.1], "split_seed": 0, "count": 300, "seed": 0}
    saved_config = TypeAdapter(shapes.Config).validate_json(json.dumps({"name": "shapes"} | values))
    assert shapes.load(saved_config).digest == "97a06eb7cbb07fa66550572a87cc490a7f8015c08469a73ea6b6b90422d43a57"


def test_the_grid_has_every_combination_once_and_no_image_twice():
    dataset = load("shapes_grid")
    assert dataset.labels_named == ("shape", "scale", "rotation", "x", "y")
    assert sizes(dataset) == [6144, 768, 768]
    levels = np.concatenate([split.labels for split in (dataset.train, dataset.valid, dataset.test)])
    assert levels.dtype == np.uint8
    counts = (3, 5, 8, 8, 8)
    assert len(np.unique(levels, axis=0)) == len(levels) == np.prod(counts)
    for first in range(5):
        for second in range(first):
            pairs = np.zeros((counts[first], counts[second]), int)
            np.add.at(pairs, (levels[:, first], levels[:, second]), 1)
            assert (pairs == len(levels) / pairs.size).all(), (first, second)
    assert len({image.tobytes() for image in rows(dataset)}) == len(levels)


def test_the_images_of_the_grid_are_those_of_its_labels():
    dataset = load("shapes_grid", scale=3, rotation=4, x=2, y=1)
    shape, scale, rotation, x, y = dataset.train.labels.T.astype(int)
    assert not y.any()
    drawn = np.column_stack([shape, np.take([9, 19], x), 0 * y + 14, np.take([4, 5.5, 7], scale), np.pi / 4 * rotation])
    np.testing.assert_array_equal(dataset.train.images[..., 0], shapes.render(drawn.astype(np.float32)))


@pytest.mark.parametrize("factor", ["scale", "rotation", "x", "y"])
def test_neighbouring_levels_differ_in_the_finest_grid(factor: str):
    others = dict.fromkeys(("scale", "rotation", "x", "y"), 1)
    found = rows(load("shapes_grid", **others | {factor: 64}))
    assert len({image.tobytes() for image in found}) == 3 * 64


def test_a_grid_of_too_many_images_costs_one_line():
    with pytest.raises(
        DataError, match=r"^dataset: .* make 1536000 images, and 1000000 is the most; lower dataset\.scale"
    ):
        load("shapes_grid", scale=8, rotation=64, x=40, y=25)


# arrays


def saved(tmp_path: Path, array: np.ndarray, name: str = "a.npy") -> str:
    np.save(tmp_path / name, array)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "expected"), [((20, 4, 5), (4, 5, 1)), ((20, 4, 5, 3), (4, 5, 3)), ((20, 7), (1, 7, 1))]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("fortran", [False, True])
def test_arrays_keep_their_values(tmp_path: Path, shape, expected, dtype, fortran: bool):
    array = (np.random.RandomState(0).uniform(0, 1, shape) * (255 if dtype is np.uint8 else 1)).astype(dtype)
    stored = np.asfortranarray(array) if fortran else array
    dataset = load("arrays", path=saved(tmp_path, stored), range=[0.0, 1.0])
    assert sizes(dataset) == [16, 2, 2]
    assert dataset.train.images.shape[1:] == expected
    assert dataset.train.images.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    assert dataset.train.labels is None
    want = array.astype(dataset.train.images.dtype).reshape(20, -1)
    np.testing.assert_array_equal(np.unique(rows(dataset).reshape(20, -1), axis=0), np.unique(want, axis=0))


def test_the_declared_range_of_bytes_is_that_of_value_over_255(tmp_path: Path):
    array = np.full((10, 2, 2), 51, np.uint8)
    array[0] = 102
    path = saved(tmp_path, array)
    assert rows(load("arrays", path=path, range=[0.2, 0.4])).max() == 102
    for declared in ([0.25, 0.4], [0.2, 0.35]):
        with pytest.raises(DataError, match=r"values from 0\.2 to 0\.4, outside dataset\.range"):
            load("arrays", path=path, range=declared)


def test_the_declared_range_says_what_0_and_1_mean_in_a_mask(tmp_path: Path):
    mask = np.arange(40, dtype=np.uint8).reshape(10, 2, 2) % 2
    path = saved(tmp_path, mask)
    for declared, white in (([0.0, 1.0], 255), ([0.0, 255.0], 1), (None, 1)):
        images = rows(load("arrays", path=path, range=declared))
        assert (images.dtype, images.max(), images.min()) == (np.uint8, white, 0)
    assert rows(load("arrays", path=saved(tmp_path, mask + np.uint8(1)), range=[0.0, 1.0])).max() == 2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_array_of_an_npz_is_the_only_one_or_images_or_the_key(tmp_path: Path, save):
    first, second = np.zeros((10, 2, 2), np.uint8), np.ones((10, 2, 2), np.uint8)
    path = str(tmp_path / "a.npz")
    save(path, anything=first)
    assert rows(load("arrays", path=path)).max() == 0
    save(path, images=first, other=second)
    assert rows(load("arrays", path=path)).max() == 0
    assert rows(load("arrays", path=path, key="other")).min() == 1
    with pytest.raises(DataError, match=r"^dataset\.key: .*a\.npz has no array 'othr'; did you mean 'other'"):
        load("arrays", path=path, key="othr")
    save(path, a=first, b=second)
    with pytest.raises(DataError, match=r"has no array 'images' \(it has a, b\)"):
        load("arrays", path=path)


@pytest.mark.parametrize("factors", [np.arange(20), np.arange(40).reshape(20, 2) % 3, np.array(["a", "b"] * 10)])
def test_the_factors_of_an_npz_stay_with_their_images_and_out_of_the_digest(tmp_path: Path, factors: np.ndarray):
    """A digest of images alone: runs that an earlier version trained on such a file are of the same data."""
    images = np.repeat(np.arange(20, dtype=np.uint8), 4).reshape(20, 2, 2)
    np.savez(tmp_path / "with.npz", imgs=images, factors=factors)
    np.savez(tmp_path / "without.npz", imgs=images)
    found, bare = (load("arrays", path=str(tmp_path / f"{name}.npz")) for name in ("with", "without"))
    columns = factors.reshape(20, -1)
    assert found.labels_named == ("factor_0", "factor_1")[: columns.shape[1]]
    for split in (found.train, found.valid, found.test):
        np.testing.assert_array_equal(split.labels, columns[split.images[:, 0, 0, 0]])
    assert found.digest == bare.digest
    assert bare.train.labels is None


def test_factors_that_fit_no_image_cost_one_line(tmp_path: Path):
    images, path = np.zeros((20, 2, 2), np.uint8), tmp_path / "a.npz"
    for factors, words in (
        (np.zeros(19), r"19 rows of 'factors' for 20 images"),
        (np.zeros((20, 2, 2)), r"\[factors\]: shape \(20, 2, 2\); expected N or N x L"),
        (np.zeros(20, "M8[s]"), r"\[factors\]: values of type datetime64\[s\]; expected numbers or text"),
    ):
        np.savez(path, images=images, factors=factors)
        with pytest.raises(DataError, match=words):
            load("arrays", path=str(path))
    np.savez(path, images=images, factors=np.array([{}] * 20, dtype=object))
    with pytest.raises(DataError, match=r"values of type object"):
        load("arrays", path=str(path))


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def floats(value: float, dtype: type = np.float32) -> np.ndarray:
    array = np.zeros((10, 2, 2), dtype)
    array[3, 0, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (floats(np.nan), "1 rows with values that are not finite in float32, first row 3"),
        (floats(np.inf), "not finite"),
        (floats(1e300, np.float64), "not finite in float32"),
        (floats(1.5), r"values from 0 to 1.5, outside dataset.range=\[0.0, 1.0\]"),
        (floats(-0.5), "values from -0.5 to 0, outside"),
        (floats(1.0000001), r"values from 0 to 1.0000001, outside"),
        (np.zeros((10, 2, 2), np.int64), "values of type int64; expected uint8 or float"),
        (np.zeros((10, 2, 2), complex), "values of type complex128"),
        (np.array([[b"a"]]), "values of type"),
        (np.array([np.zeros(2), np.zeros(3)], object), "values of type object"),
        (np.zeros(10), r"shape \(10,\); expected N x H x W"),
        (np.zeros((2, 2, 2, 2, 2)), "shape .* expected N x H x W"),
        (np.zeros((0, 2, 2)), "shape .* each at least 1"),
        (np.float32(3), r"shape \(\)"),
        (np.zeros((2, 2, 2)), "dataset.fractions: "),
    ],
)
def test_an_array_that_cannot_be_used_is_named(tmp_path: Path, array: np.ndarray, what: str):
    path = saved(tmp_path, array)
    with pytest.raises(DataError, match=what) as caught:
        load("arrays", path=path, range=[0.0, 1.0])
    assert path in str(caught.value) or "dataset.fractions" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a NumPy array"),
        (b"\x93NUMPY\x09\x00", "not a NumPy array"),
        (header((10**6, 10**6)) + b"x", "its header declares .* bytes in all, not 129"),
        (header((10, 2, 2)) + bytes(39), "not 167"),
        (header((10, 2, 2)) + bytes(41), "not 169"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "not a NumPy array"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000, "not a NumPy array"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 10000, "not a NumPy array"),
        (header((10, 2, 2)).replace(b"}", b"}("), "not a NumPy array"),
        (header((10, 2, 2), "nonsense"), "not a NumPy array"),
        (pickle.dumps(print), "not a NumPy array"),
        (b"PK\x03\x04 and no more", "cannot be read: File is not a zip file"),
    ],
)
def test_a_file_that_is_not_an_array_is_named(tmp_path: Path, content: bytes, what: str):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        load("arrays", path=str(path))
    assert str(path) in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path):
    for name, path in (("arrays", tmp_path / "no.npy"), ("arrays", tmp_path), ("images", tmp_path / "no")):
        with pytest.raises(DataError, match=rf"^dataset\.path: {path} is not a"):
            load(name, path=str(path))


class Touch:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path):
    trap = np.array([[Touch(tmp_path / "trapped")]], object)
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=trap)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="values of type object"):
            load("arrays", path=str(tmp_path / name))
    assert not (tmp_path / "trapped").exists()


def test_declared_sizes_allocate_nothing(tmp_path: Path):
    liar = header((10, 2**20, 2**10), "<f8")
    (tmp_path / "a.npy").write_bytes(liar)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", liar)
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(header((300, 1024, 1024)))
        for _ in range(300):
            member.write(bytes(2**20))
    tracemalloc.start()
    try:
        for name, what in (("a.npy", "header declares"), ("a.npz", "header declares"), ("bomb.npz", "unpacks from")):
            with pytest.raises(DataError, match=what):
                load("arrays", path=str(tmp_path / name))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "jpg", "gif", "tif", "webp", "bmp"])
@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # NumPy, of a header from Python 2
@settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4), cut=st.floats(0, 1)
)
def test_any_damage_is_a_data_error_or_other_values(kind: str, damage, cut: float, tmp_path: Path):
    folder = tmp_path / "damaged"
    folder.mkdir(exist_ok=True)
    content = bytearray(_example(kind))
    for place, value in damage:
        content[int(place * len(content))] = value
    if cut > 0.5:
        content = content[: int(cut * len(content))]
    path = folder / f"a.{kind}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        if kind in ("npy", "npz"):
            arrays.read(path, None)
        else:
            images.read(path, 6, 3)


def _example(kind: str) -> bytes:
    stream, array = io.BytesIO(), np.random.RandomState(0).randint(0, 256, (10, 8, 3)).astype(np.uint8)
    if kind == "npy":
        np.save(stream, array)
    elif kind == "npz":
        np.savez_compressed(stream, images=array)
    else:
        Image.fromarray(array).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()))
    return stream.getvalue()


# images


def folder_of(tmp_path: Path, **pictures: Image.Image) -> str:
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    return str(tmp_path)


def test_images_are_read_in_the_order_of_their_names(tmp_path: Path):
    for i in (3, 1, 7, 0, 9, 2, 8, 4, 6, 5):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / f"{i}.png")
    (tmp_path / ".hidden").write_text("not read")
    (tmp_path / "folder").mkdir()
    dataset = load("images", path=str(tmp_path), size=8)
    assert sizes(dataset) == [8, 1, 1]
    assert dataset.train.images.shape[1:] == (8, 8, 1)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels is None
    # The shuffle of ten rows under split_seed 0 begins 2, 8, 4 (tests/data/test_dataset.py).
    assert dataset.train.images[:3, 0, 0, 0].tolist() == [40, 160, 80]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture_becomes_grey_or_colour(tmp_path: Path, mode: str, channels: int):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (9, 5), (255, 255, 255)).convert(mode).save(path)
    pixels, _ = images.read(path, 4, channels)
    assert pixels.shape == (4, 4, channels)
    assert pixels.min() >= 254


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path):
    Image.new("P", (4, 4), 255).save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert images.read(tmp_path / "a.png", 4, 3)[0].shape == (4, 4, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_nothing_is_guessed_to_be_behind_transparent_pixels(tmp_path: Path, mode: str):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.putpixel((3, 3), (0, 0, 0, 255))
    if mode == "L":
        Image.new("L", (8, 8)).save(tmp_path / "a.png", transparency=0)
    else:
        picture.convert(mode).save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels, .*mogrify"):
        load("images", path=str(tmp_path))


def test_resizing_averages_and_follows_the_cameras_orientation(tmp_path: Path):
    array = np.zeros((40, 40), np.uint8)
    array[:, 20:] = 200  # the right half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees: the right half becomes the lower one
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(images.read(tmp_path / "a.png", 2, 1)[0][..., 0], [[0, 0], [200, 200]], atol=20)
    Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 200).save(tmp_path / "b.png")
    np.testing.assert_allclose(images.read(tmp_path / "b.png", 4, 1)[0], 100, atol=5)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("b.png", b"not an image", "not an image; expected BMP"),
        ("b.png", b"", "not an image"),
        ("b.png", None, "cannot be read as an image"),
        ("notes.txt", b"hello", "not an image"),
        ("b.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
    ],
)
def test_a_file_that_is_not_an_image_is_named(tmp_path: Path, name: str, content: bytes | None, what: str):
    folder_of(tmp_path, a=Image.effect_noise((64, 64), 50))
    (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes()[:2000] if content is None else content)
    with pytest.raises(DataError, match=what) as caught:
        load("images", path=str(tmp_path))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=f"^dataset.path: {tmp_path} has no files"):
        load("images", path=str(tmp_path))


def test_more_than_8_bits_are_refused_rather_than_cut_off(tmp_path: Path):
    folder = folder_of(tmp_path, a=Image.fromarray(np.full((4, 4), 40000, np.uint16)))
    with pytest.raises(DataError, match=r"a\.png: more than 8 bits a channel"):
        load("images", path=folder)


def png_of_16_bits(array: np.ndarray) -> bytes:
    """Pillow writes none in colour."""
    height, width, channels = array.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["2", "3", "4", "ppm"])
def test_colours_of_16_bits_are_refused_like_grey(tmp_path: Path, kind: str):
    content = b"P6 4 4 65535\n" + bytes(96)
    if kind != "ppm":
        content = png_of_16_bits(np.full((4, 4, int(kind)), 65535, np.uint16))
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match="a: more than 8 bits a channel"):
        images.read(tmp_path / "a", 4, 3)


def test_a_bitmap_of_16_bits_a_pixel_has_fewer_a_channel(tmp_path: Path):
    header = struct.pack("<2sIHHI", b"BM", 14 + 40 + 32, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 0, 32, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(header + b"\xff\x7f" * 16)
    assert images.read(tmp_path / "a.bmp", 4, 1)[0].min() == 255


def test_links_to_what_is_not_there_are_counted_and_named(tmp_path: Path):
    folder_of(tmp_path, a=Image.new("L", (8, 8)), b=Image.new("L", (8, 8)))
    (tmp_path / "c.png").symlink_to("a.png")
    assert len(images.files_of(tmp_path, "dataset.path")) == 3
    for name in ("x.png", "y.png"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"has 2 links to what is not there \(first: x\.png\)"):
        load("images", path=str(tmp_path))


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_that_only_first_frames_are_used_is_said(tmp_path: Path, suffix: str):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 100, 200)]
    for n in range(8):
        frames[n % 3].save(tmp_path / f"{n}.{suffix}")
    assert load("images", path=str(tmp_path), size=8).remarks == ()
    for n in (8, 9):
        frames[0].save(tmp_path / f"{n}.{suffix}", save_all=True, append_images=frames[1:])
    (line,) = load("images", path=str(tmp_path), size=8).remarks
    assert line == f"{tmp_path}: 2 of 10 files have several frames; only the first of each is used"


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_absurd_number_of_pixels_is_refused(tmp_path: Path, side: int):
    """A bitmap's header alone: between Pillow's warning and error, and above both."""
    Image.new("1", (8, 8)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = side.to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.bmp: more than \d+ pixels"):
        load("images", path=str(tmp_path))


def test_a_name_that_only_begins_like_somebodys_home_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert files.expanded("~nobody-of-this-name.npy") == Path("~nobody-of-this-name.npy")
    assert files.expanded("~/a.npy") == Path.home() / "a.npy"
    np.save(tmp_path / "~nobody-of-this-name.npy", np.zeros((40, 2, 2), np.float32))
    assert len(load("arrays", path="~nobody-of-this-name.npy").train.images) == 32
