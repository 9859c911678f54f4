"""The figures of a run: whole files of a sensible size whose pixels are the images' own."""

import math
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.configurations import make
from vaex import cli, files
from vaex.device import compiled
from vaex.disk import metrics
from vaex.report import figures
from vaex.vae import objective

GREY = np.linspace(0, 1, 30 * 8 * 8, dtype=np.float32).reshape(30, 8, 8, 1)


def row(epoch, value):
    keys = [f"{split}/{term}" for split in ("train", "valid") for term in ("elbo", "reconstruction", "kl")]
    keys += ["sigma_min", "sigma_mean", "sigma_max", "grad_norm_mean", "grad_norm_max"]
    return dict.fromkeys(keys, value) | {"epoch": epoch, "valid/kl_per_latent": [value, 0.0], "active_latents": 1}


def test_draw_writes_three_pictures(tmp_path):
    paths = figures.draw(tmp_path, [row(1, 2.0), row(2, 1.5)], GREY[:24], GREY[:24], GREY[:24], "title")
    assert set(paths) == {"reconstructions", "samples", "curves"}
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(f"{name}.png" for name in paths)
    for path in paths.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert 800 < picture.width < 2000
            assert 200 < picture.height < 1500
            assert picture.width > picture.height


@pytest.mark.parametrize("value", [None, 0.0, 1e30], ids=["not finite", "zero", "huge"])
@pytest.mark.parametrize("epochs", [1, 60])
def test_curves_of_any_run(value, epochs):
    picture = figures.curves_png([row(epoch, value) for epoch in range(1, epochs + 1)], "a [b] $c_d^ \\frac {$")
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("title", ["dataset.path=漢字/हिन्दी 😀", "tab\t, escape\x1b", "not UTF-8: \udcff"])
def test_a_title_in_a_script_that_the_font_lacks(title):
    """Warnings are errors here."""
    assert figures.curves_png([row(1, 2.0)], title).startswith(b"\x89PNG")
    assert figures._in_the_font("σ = 1, é 漢") == "σ = 1, é ?"


@pytest.mark.parametrize(
    ("rows", "images"),
    [
        ([row(1, None) | {"sigma_min": 0.0}], GREY[:24]),
        ([row(1, 3e-310), row(2, 1e300)], GREY[:24]),
        ([row(1, 2.0)], (2 * GREY[:24] - 1) * np.float32(3e38)),
    ],
    ids=["no finite epoch", "axes that overflow", "pixels that overflow"],
)
def test_what_explodes_is_drawn_without_a_word(tmp_path, rows, images):
    """Warnings are errors here."""
    assert len(figures.draw(tmp_path, rows, images, images, images, "title")) == 3


def test_pictures_that_cannot_be_imported_cost_one_warning(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "vaex.trained.pictures", None)
    quick = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "hydra.run.dir=run")
    assert cli._guarded(list(quick)) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: run: no figures (ModuleNotFoundError: ")
    assert files.read_json(tmp_path / "run" / "summary.json")["status"] == "finished"


def test_each_image_is_where_it_belongs():
    scale = round(figures.SIZE / 8)
    picture = np.asarray(figures.grid([[GREY[:12], GREY[12:24]], [GREY[24:30]]], "heading"))
    step = 8 * scale + figures.GAP
    top, left = 2 * figures.MARGIN + figures.TEXT, figures.MARGIN
    for index, (down, across) in {0: (0, 0), 11: (0, 11), 12: (1, 0), 23: (1, 11), 24: (2, 0), 29: (2, 5)}.items():
        y = top + down * step + (3 * figures.GAP if down == 2 else 0)
        x = left + across * step
        shown = picture[y : y + 8 * scale : scale, x : x + 8 * scale : scale, 0]
        np.testing.assert_allclose(shown / 255, GREY[index, ..., 0], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 1, 784), (2, 5, 3), (3, 64, 64), (3, 500, 20)])
def test_every_shape_of_image(channels, height, width):
    images = np.full((3, height, width, channels), math.nan, np.float32)
    images[1:] = 7.0
    picture = np.asarray(figures.grid([[images]], "heading"))
    assert picture.shape[2] == 3
    top, left = 2 * figures.MARGIN + figures.TEXT, figures.MARGIN
    assert (picture[top, left] == 0).all()


def test_a_reconstruction_is_below_its_original(tmp_path):
    paths = figures.draw(tmp_path, [row(1, 2.0)], GREY[:24] * 0, GREY[:24] * 0 + 1, GREY[:24], "title")
    with Image.open(paths["reconstructions"]) as picture:
        column = np.asarray(picture)[2 * figures.MARGIN + figures.TEXT :, figures.MARGIN + 5, 0]
    side = round(figures.SIZE / 8) * 8
    assert (column[:side] == 0).all()
    assert (column[side:][: 2 * figures.GAP + side] == 255).all()
    assert (np.diff(column.astype(int)) != 0).sum() == 3


def test_values_beyond_0_and_1_are_shown_and_the_heading_says_how(tmp_path, monkeypatch):
    headings, grid = [], figures.grid

    def noted(groups, heading, *shades):
        headings.append(heading)
        return grid(groups, heading, *shades)

    monkeypatch.setattr(figures, "grid", noted)
    standardised = np.tile(np.float32([-2, -1, 0, 3]), (2, 4, 1))[..., None]
    paths = figures.draw(tmp_path, [row(1, 2.0)], standardised, standardised, standardised, "title")
    with Image.open(paths["samples"]) as picture:
        line = np.asarray(picture)[2 * figures.MARGIN + figures.TEXT, figures.MARGIN :, 0]
    side = round(figures.SIZE / 4)
    assert line[: 4 * side : side].tolist() == [0, 51, 102, 255]
    assert len(headings) == 2
    assert all(heading.endswith("black is -2, white 3") for heading in headings)


def test_a_reconstruction_is_of_what_the_encoder_sees():
    """Binarized images where the likelihood binarizes them, and of them those that the picture shows."""
    config = make("dataset=digits", "model.hidden=[8]", "likelihood.binarize=threshold")
    program, hyper = objective.program(config, (8, 8, 1)), objective.hyper(config)
    parameters = compiled.init(program, hyper.seed).parameters
    seen, reconstructed = compiled.reconstructions(program, hyper, parameters, GREY)
    np.testing.assert_array_equal(seen, GREY >= 0.5)
    _, again = compiled.reconstructions(program, hyper, parameters, (GREY >= 0.5).astype(np.float32))
    np.testing.assert_array_equal(reconstructed, again)


def test_color_stays_color():
    image = np.zeros((1, 4, 4, 3), np.float32)
    image[..., 0] = 1.0
    picture = np.asarray(figures.grid([[image]], ""))
    assert picture[2 * figures.MARGIN + figures.TEXT, figures.MARGIN].tolist() == [255, 0, 0]


def test_the_figures_of_a_run(digits_run):
    folder = digits_run.directory / "figures"
    assert {path.name for path in folder.iterdir()} == {"reconstructions.png", "samples.png", "curves.png"}
    with Image.open(folder / "reconstructions.png") as picture:
        assert np.asarray(picture).std() > 30


def test_a_run_of_one_epoch_has_that_epoch_on_its_axis_and_no_fraction_of_one(digits_run):
    rows = metrics.read_rows(digits_run.directory / "metrics.jsonl")[:1]
    figure = figures.curves(rows, "one epoch")
    figure.canvas.draw()
    for axis in (*figure.axes[:3], *figure.axes[4:]):  # the fourth has latents
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1]
