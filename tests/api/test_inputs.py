"""Images for a trained model: they mean what the run's own data meant, or are one line."""

import io
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from tests.support.configurations import make
from vaex.api import inputs, sources
from vaex.device.datasets import load
from vaex.errors import InputError
from vaex.trained.model import Model
from vaex.vae import objective, step

OF_THE_DATA = r"^images: .* the run's data "


def model_of(tmp_path: Path, images: np.ndarray, *overrides: str) -> Model:
    """A model, its parameters zero, of the user's own images."""
    path = tmp_path / "data.npy"
    np.save(path, images)
    config = make("dataset=arrays", f"dataset.path={path}", *overrides)
    dataset = load(config.dataset)
    shapes = step.shapes(objective.program(config, dataset.shape)).parameters
    return Model(config, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes), dataset, "")


def folder_of(tmp_path: Path, images: np.ndarray) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_bytes_and_pictures_are_refused_where_the_data_were_other_floats(tmp_path: Path, likelihood: str):
    drawn = np.random.default_rng(0).uniform(-1, 1, (20, 4, 4)).astype(np.float32)
    drawn[0, 0, :2] = -1, 1
    model = model_of(tmp_path, drawn, f"likelihood={likelihood}")
    bright = np.full((3, 4, 4), 200, np.uint8)
    expected = r"^images: bytes .*, and the run's data are floats from -1 to 1; give floats, as the data are$"
    with pytest.raises(InputError, match=expected):
        inputs.images(bright, model)
    pictures = sources.images(folder_of(tmp_path, bright), model.dataset.shape).images
    with pytest.raises(InputError, match=expected):
        inputs.images(pictures, model)[0][:3]
    for far in (bright.astype(np.float32), drawn * 3.5):
        with pytest.raises(InputError, match=OF_THE_DATA + "go from -1 to 1; scale the images as the data were$"):
            inputs.images(far, model)
    np.testing.assert_array_equal(inputs.images(drawn * 2, model)[0][..., 0], drawn * 2)


@pytest.mark.parametrize("stored", [np.uint8, np.float32])
def test_floats_of_0_to_255_are_refused_where_the_data_were_0_to_1(tmp_path: Path, stored: type):
    """Whatever the likelihood takes; bytes are the shares of 255 that they were."""
    as_bytes = np.random.default_rng(0).integers(0, 256, (20, 4, 4)).astype(np.uint8)
    data = as_bytes if stored is np.uint8 else as_bytes / np.float32(255)
    model = model_of(tmp_path, data, "likelihood=gaussian")
    with pytest.raises(InputError, match=OF_THE_DATA + "go from 0 to 1; "):
        inputs.images(as_bytes.astype(np.float32), model)
    np.testing.assert_array_equal(inputs.images(as_bytes, model)[0][..., 0], as_bytes)
    assert inputs.images(as_bytes / 255 + 0.5, model)[0].max() > 1


def test_masks_are_white_at_1_in_a_file_in_memory_and_as_pictures(tmp_path: Path):
    masks = np.random.default_rng(0).integers(0, 2, (20, 4, 4)).astype(np.uint8)
    masks[3] = 0  # by itself it says nothing
    model = model_of(tmp_path, masks, "dataset.range=[0,1]")
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")
    pictures = sources.images(folder_of(tmp_path, masks), model.dataset.shape).images
    for given in (masks, mapped, pictures):
        rows, _ = inputs.images(given, model)
        # A folder is in the order of its files' names: "0", "1", "10", …
        order = sorted(range(20), key=str) if given is pictures else range(20)
        np.testing.assert_array_equal(rows[0:20][..., 0], masks[list(order)] * 255)
    masks[7, 0, 0] = 2  # no mask then
    assert inputs.images(masks, model)[0].max() == 2


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive(content: bytes, name: str = "z.npy", flags: int = 0) -> bytes:
    """A .npz with one member; `flags` are those of its zip entry (1: encrypted)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content)
    data = bytearray(stream.getvalue())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= flags
    return bytes(data)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".NPY"])
def test_a_files_content_says_whether_it_is_one_array_or_several(tmp_path: Path, suffix: str):
    codes, path = np.arange(6, dtype=np.float32).reshape(2, 3), tmp_path / f"codes{suffix}"
    for content in (header((2, 3)) + codes.tobytes(), archive(header((2, 3)) + codes.tobytes())):
        path.write_bytes(content)
        np.testing.assert_array_equal(sources.codes(path, 3), codes)


def test_z_is_taken_before_mu(tmp_path: Path):
    np.savez(tmp_path / "codes.npz", mu=np.zeros((2, 3)), z=np.ones((2, 3)))
    np.testing.assert_array_equal(sources.codes(tmp_path / "codes.npz", 3), np.ones((2, 3)))
    np.savez(tmp_path / "codes.npz", a=np.zeros((2, 3)), b=np.ones((2, 3)))
    with pytest.raises(InputError, match=r"codes\.npz: expected an array 'z' or 'mu', it has a, b"):
        sources.codes(tmp_path / "codes.npz", 3)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (header(()) + bytes(4), r": shape \(\); expected N x …, each at least 1"),
        (header((2, 3)).replace(b"}", b"}("), ": not a NumPy array"),
        (header((-2, -3)) + bytes(24), r": shape \(-2, -3\); expected"),
        (header((300_000_000, 1024, 3)), ": its header declares .* 3686400000128 bytes in all, not 128"),
        (b"", ": not a NumPy array"),
        (archive(b"text", "notes.txt"), r"\[notes\.txt\]: not a NumPy array"),
        (archive(header((2, 3)) + bytes(24), flags=1), ": cannot be read: .* encrypted"),
        (archive(header((2, 3)) + bytes(24))[:-9], ": cannot be read: "),
    ],
    ids=["0-d", "header", "negative", "huge", "empty", "text", "encrypted", "cut"],
)
def test_a_file_that_is_no_array_is_one_line(tmp_path: Path, content: bytes, what: str):
    path = tmp_path / "codes.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}{what}") as caught:
        sources.codes(path, 3)
    assert "\n" not in str(caught.value)
