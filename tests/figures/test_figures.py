"""The figures of a run: whole files of a sensible size whose pixels, codes and orders are known answers."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import vaex
from tests.conftest import Finished
from tests.support.configurations import make
from vaex import cli, files
from vaex.device import compiled
from vaex.device.datasets import load
from vaex.disk import metrics
from vaex.figures import curves, decoded, gallery, images, latents, plane, style, tiles
from vaex.figures.subject import UnfitError
from vaex.figures.tiles import Look, grid, look
from vaex.judging.subject import Bounds, Codes
from vaex.trained.model import Model
from vaex.trained.pictures import PicturedModel
from vaex.vae import objective

GREY = np.linspace(0, 1, 30 * 8 * 8, dtype=np.float32).reshape(30, 8, 8, 1)
PIXELS = Look(False, 0.0, 1.0)
SIDE = round(tiles.SIZE / 8) * 8
TOP = 2 * tiles.MARGIN + tiles.TEXT
BELOW = 2 * tiles.SMALL + tiles.SMALL // 2 + tiles.GAP  # what two lines of letters take


def row(epoch, value):
    keys = [f"{split}/{term}" for split in ("train", "valid") for term in ("elbo", "reconstruction", "kl")]
    keys += ["sigma_min", "sigma_mean", "sigma_max", "grad_norm_mean", "grad_norm_max"]
    return dict.fromkeys(keys, value) | {"epoch": epoch, "valid/kl_per_latent": [value, 0.0], "active_latents": 1}


class Made:
    """A model whose code is chosen, and whose decoder shows the mean of the code as one shade."""

    title, labels_named, threshold, size = "made $x^", ("class", "size"), 0.01, tiles.SIZE

    def __init__(self, mu: np.ndarray, x: np.ndarray, labels: np.ndarray | None = None, rows: list | None = None):
        self.rows = rows or [row(1, 2.0), row(2, 1.5)]
        self._mu, self._x, self._labels, self.decoded = mu.astype(np.float32), x, labels, []

    def seen(self):
        return self._x

    @property
    def codes(self) -> Callable[[str], Codes]:
        return lambda split: Codes(self._mu, np.full_like(self._mu, 0.5), self._labels)

    def decode(self, z):
        self.decoded.append(np.asarray(z))
        shade = np.asarray(z, np.float32).mean(axis=1)[:, None, None, None]
        return np.broadcast_to(shade, (len(z), *self._x.shape[1:])).copy()

    def bounds(self):
        nats = np.arange(len(self._x)) * 7.0 % len(self._x)
        return Bounds(nats, nats, nats[None], nats, (1,))

    def samples(self, count):
        return self.decode(self.noise(count))

    def noise(self, count):
        return np.random.RandomState(0).standard_normal((count, self._mu.shape[1])).astype(np.float32)


def made(latents: int = 3, x: np.ndarray = GREY, labels: bool = True) -> Made:
    scale = np.arange(1, latents + 1)  # the last latent has the most KL
    mu = scale * np.random.RandomState(1).standard_normal((len(x), latents))
    return Made(mu, x, np.arange(len(x))[:, None] % [3, 5] if labels else None)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def test_every_figure_that_fits_is_drawn_and_the_same_again(tmp_path):
    first = gallery.draw(tmp_path / "figures", made(), gallery.UNASKED)
    assert set(first) == set(gallery.FIGURES) - {"tsne"}
    assert all(isinstance(path, Path) for path in first.values()), first
    assert all(path == tmp_path / "figures" / f"{name}.png" for name, path in first.items())
    before = {name: path.read_bytes() for name, path in first.items()}
    gallery.draw(tmp_path / "figures", made(), gallery.UNASKED)
    assert {name: path.read_bytes() for name, path in first.items()} == before
    for path in first.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert 800 < picture.width < 2000
            assert 200 < picture.height < 1500


@pytest.mark.parametrize(
    ("subject", "name", "reason"),
    [
        (made(1), "manifold", "two latents"),
        (made(1), "scatter", "two latents"),
        (made(labels=False), "scatter", "needs labels"),
        (made(labels=False), "tsne", "needs labels"),
        (made(x=GREY[:1]), "interpolation", "two validation images"),
    ],
)
def test_a_figure_that_does_not_fit_says_why_and_costs_no_other(tmp_path, subject, name, reason):
    found = gallery.draw(tmp_path / "figures", subject, [name, "samples"])
    assert isinstance(found[name], UnfitError)
    assert reason in str(found[name])
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["samples.png"]


def test_a_figure_that_fails_costs_no_other(tmp_path, monkeypatch):
    def broken(subject):
        raise ZeroDivisionError("of a figure")

    monkeypatch.setitem(gallery.FIGURES, "curves", gallery.Kind(broken))
    found = gallery.draw(tmp_path / "figures", made(), ["curves", "samples"])
    assert isinstance(found["curves"], ZeroDivisionError)
    assert found["samples"].is_file()


# What is shown


def test_the_error_row_of_a_known_pair(monkeypatch):
    """Reconstructions are 0.5 throughout: |error| is 0.5 where x is black, 0.25 where it is 0.25."""
    x = np.zeros((12, 8, 8, 1), np.float32)
    x[1] = 0.25
    picture = pixels(images.reconstructions(Made(np.full((12, 3), 0.5), x)))
    column, step = tiles.MARGIN + 5, SIDE + tiles.GAP
    shades = [[picture[TOP + row * step, column + image * step, 0] for image in (0, 1)] for row in range(3)]
    assert shades == [[0, 64], [128, 128], [0, 128]]  # 0.5 is the largest error, black; half of it is grey
    _, told = PIXELS.errors(x, np.full_like(x, 0.5))
    assert told == "white 0, black 0.5"


def test_the_error_of_a_color_is_that_of_the_channel_furthest_off():
    x = np.zeros((1, 2, 2, 3), np.float32)
    mean = x + np.float32([0.1, 0.8, 0.3])
    shown, told = PIXELS.errors(x, mean)
    assert shown.shape == (1, 2, 2, 1)
    assert (shown == 0).all()
    assert told.endswith("black 0.8")


def test_latents_are_ordered_by_kl_and_moved_alone():
    subject = made(4)
    decoded.traversals(subject)
    codes = subject.decoded[-1].reshape(4, 11, 4)
    first = subject.codes("valid").mu[0]
    for latent, row in zip((3, 2, 1, 0), codes, strict=True):
        np.testing.assert_allclose(row[:, latent], np.linspace(-3, 3, 11))
        np.testing.assert_array_equal(np.delete(row, latent, axis=1), np.tile(np.delete(first, latent), (11, 1)))


def test_what_is_no_number_comes_last():
    assert images.by_size(np.array([1.0, math.nan, math.inf, 1.0, 3.0])).tolist() == [2, 4, 0, 3, 1]


def test_an_interpolation_is_straight_and_ends_at_the_means():
    mu = np.array([[0.0, 0.0], [1.0, 2.0], [5.0, 5.0], [5.0, 6.0]])
    codes = decoded.between_codes(mu, np.array([0.0, 0.25, 1.0]))
    assert codes.tolist() == [[0, 0], [0.25, 0.5], [1, 2], [5, 5], [5, 5.25], [5, 6]]


def test_the_manifold_is_a_grid_of_quantiles_of_the_prior():
    z = decoded.quantiles(15)
    np.testing.assert_allclose(z, stats.norm.ppf((np.arange(15) + 0.5) / 15), atol=1e-12)
    subject = made(3)
    decoded.manifold(subject)
    codes = subject.decoded[-1].reshape(15, 15, 3)
    np.testing.assert_allclose(codes[:, :, 2], np.tile(z, (15, 1)))  # most KL: to the right
    np.testing.assert_allclose(codes[:, :, 1], np.tile(z[::-1, None], (1, 15)))  # the next: upwards
    assert (codes[:, :, 0] == 0).all()
    two = made(2)
    decoded.manifold(two)
    np.testing.assert_allclose(two.decoded[-1].reshape(15, 15, 2)[0, :, 0], z)  # of two, latent 0 to the right


def test_principal_components_are_those_of_the_singular_value_decomposition():
    mu = np.random.RandomState(0).standard_normal((50, 4)).astype(np.float32) * np.float32([1, 5, 2, 0.1]) + 3
    points, shares = plane.principal(mu)
    values, vectors = np.linalg.eigh(np.cov(mu.astype(np.float64).T))
    np.testing.assert_allclose(np.abs(points), np.abs((mu - mu.mean(axis=0)) @ vectors[:, [3, 2]]), atol=1e-4)
    np.testing.assert_allclose(shares, values[[3, 2]] / values.sum())
    np.testing.assert_array_equal(plane.principal(mu)[0], points)


def test_the_worst_images_come_first():
    order = np.argsort(-(np.arange(30) * 7.0 % 30))
    picture = pixels(images.worst(made(x=GREY)))
    top = picture.shape[0] - tiles.MARGIN - 2 * (2 * (SIDE + tiles.GAP) + BELOW) - tiles.BETWEEN
    for place in (0, 1, 11):
        left = tiles.MARGIN + place * (SIDE + tiles.GAP)
        shown = picture[top : top + SIDE : SIDE // 8, left : left + SIDE : SIDE // 8, 0] / 255
        np.testing.assert_allclose(shown, GREY[order[place], ..., 0], atol=0.5 / 255 + 1e-6)


def test_active_latents_are_counted_by_kl_and_by_variance():
    mu = np.zeros((30, 2))
    mu[:, 1] = np.linspace(-2, 2, 30)
    titles = [axis.get_title(loc="left") for axis in latents.latents(Made(mu, GREY)).axes]
    assert titles == ["KL, nats: 2 of 2 latents above 0.01", "Var E[z|x]: 1 of 2 latents above 0.01"]


def test_the_prior_of_the_radius_is_chi():
    r = np.linspace(0, 6, 50)
    for size in (1, 2, 10):
        np.testing.assert_allclose(latents.chi(r, size), stats.chi.pdf(r, size), atol=1e-12)


# N x D arrays: lines


def test_a_row_of_an_array_is_a_line_over_its_columns():
    x = np.tile(np.float32([0, 0, 1, 1]), (12, 1))[:, None, :, None]
    shown = look(x)
    assert shown == Look(True, 0.0, 1.0)
    assert not look(np.zeros((2, 1, 4, 3), np.float32)).lines
    tile = pixels(tiles.tile(x[0], shown))
    assert tile.shape == (112, 224, 3)
    ink = (tile != 255).any(axis=2)[4:-4, 4:-4]  # without the frame
    down = np.argmax(ink, axis=0)
    assert (tile[-6:-1, 20] != 255).any()
    assert down[200] < 3
    assert (np.diff(down[80:136]) <= 0).all()


@pytest.mark.parametrize("columns", [1, 40])
def test_every_figure_of_an_array(tmp_path, columns):
    x = np.random.RandomState(0).standard_normal((30, 1, columns, 1)).astype(np.float32)
    found = gallery.draw(tmp_path / "figures", made(x=x), gallery.UNASKED)
    assert all(isinstance(path, Path) for path in found.values()), found
    with Image.open(found["samples"]) as picture:
        assert 1000 < picture.width < 1600


# Drawing


@pytest.mark.parametrize("value", [None, 0.0, 1e30], ids=["not finite", "zero", "huge"])
@pytest.mark.parametrize("epochs", [1, 60])
def test_curves_of_any_run(value, epochs):
    figure = curves.of_rows([row(epoch, value) for epoch in range(1, epochs + 1)], "a [b] $c_d^ \\frac {$")
    assert style.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("title", ["dataset.path=漢字/हिन्दी 😀", "tab\t, escape\x1b", "not UTF-8: \udcff"])
def test_a_title_in_a_script_that_the_font_lacks(title):
    """Warnings are errors here."""
    assert style.png(curves.of_rows([row(1, 2.0)], title)).startswith(b"\x89PNG")
    assert style.in_the_font("σ = 1, é 漢") == "σ = 1, é ?"


@pytest.mark.parametrize(
    ("rows", "scale", "mu"),
    [
        ([row(1, None) | {"sigma_min": 0.0}], 1.0, 1.0),
        ([row(1, 3e-310), row(2, 1e300)], 1.0, 1e30),
        ([row(1, 2.0)], 3e38, 1e38),
        ([row(1, 2.0)], 1.0, math.inf),
        ([row(1, 2.0)], 1.0, math.nan),
    ],
    ids=[
        "no finite epoch",
        "axes that overflow",
        "pixels that overflow",
        "infinite codes",
        "codes that are no numbers",
    ],
)
def test_what_explodes_is_drawn_without_a_word(tmp_path, rows, scale, mu):
    """Warnings are errors here."""
    x = (2 * GREY - 1) * np.float32(scale)
    codes = np.random.RandomState(0).standard_normal((30, 3)) * mu
    found = gallery.draw(tmp_path / "figures", Made(codes, x, np.arange(30)[:, None] % 3, rows), gallery.UNASKED)
    assert {name for name, it in found.items() if isinstance(it, Exception) and not isinstance(it, UnfitError)} == set()
    assert {"reconstructions", "samples", "curves", "traversals", "worst"} <= {
        name for name, it in found.items() if isinstance(it, Path)
    }


def test_pictures_that_cannot_be_imported_cost_one_warning(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "vaex.trained.pictures", None)
    quick = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "hydra.run.dir=run")
    assert cli._guarded(list(quick)) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: run: no figures (ModuleNotFoundError: ")
    assert files.read_json(tmp_path / "run" / "summary.json")["status"] == "finished"


def test_each_image_is_where_it_belongs():
    picture = pixels(grid([[GREY[:12], GREY[12:24]], [GREY[24:30]]], "heading", PIXELS))
    step, scale = SIDE + tiles.GAP, SIDE // 8
    for index, (down, across) in {0: (0, 0), 11: (0, 11), 12: (1, 0), 23: (1, 11), 24: (2, 0), 29: (2, 5)}.items():
        y = TOP + down * step + (tiles.BETWEEN if down == 2 else 0)
        x = tiles.MARGIN + across * step
        shown = picture[y : y + SIDE : scale, x : x + SIDE : scale, 0]
        np.testing.assert_allclose(shown / 255, GREY[index, ..., 0], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 2, 784), (2, 5, 3), (3, 64, 64), (3, 500, 20)])
def test_every_shape_of_image(channels, height, width):
    shown = np.full((3, height, width, channels), math.nan, np.float32)
    shown[1:] = 7.0
    picture = pixels(grid([[shown]], "heading", PIXELS))
    assert picture.shape[2] == 3
    assert (picture[TOP, tiles.MARGIN] == 0).all()


def test_values_beyond_0_and_1_are_shown_and_the_heading_says_how():
    standardised = np.tile(np.float32([-2, -1, 0, 3]), (2, 4, 1))[..., None]
    shown = look(standardised)
    assert shown.scale == "; black is −2, white 3"
    line = pixels(grid([[standardised]], "heading", shown))[TOP, tiles.MARGIN :, 0]
    side = round(tiles.SIZE / 4)
    assert line[: 4 * side : side].tolist() == [0, 51, 102, 255]


def test_a_long_heading_is_broken_and_never_cut():
    wide, narrow = (grid([[GREY[:n]]], "validation images " * 6, PIXELS) for n in (12, 2))
    assert narrow.height > wide.height
    assert (pixels(narrow)[:, -tiles.MARGIN // 2 :] == 255).all()


def test_color_stays_color():
    image = np.zeros((1, 4, 4, 3), np.float32)
    image[..., 0] = 1.0
    assert pixels(grid([[image]], "", PIXELS))[TOP, tiles.MARGIN].tolist() == [255, 0, 0]


def test_a_run_of_one_epoch_has_that_epoch_on_its_axis_and_no_fraction_of_one(digits_run):
    rows = metrics.read_rows(digits_run.directory / "metrics.jsonl")[:1]
    figure = curves.of_rows(rows, "one epoch")
    figure.canvas.draw()
    for axis in (*figure.axes[:3], *figure.axes[4:]):  # the fourth has latents
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1]


def test_a_reconstruction_is_of_what_the_encoder_sees():
    """Binarized images where the likelihood binarizes them, and of them those that the picture shows."""
    config = make("dataset=digits", "model.hidden=[8]", "likelihood.binarize=threshold")
    parameters = compiled.init(objective.program(config, (8, 8, 1)), objective.hyper(config).seed).parameters
    model, cut = Model(config, parameters, load(config.dataset), ""), (GREY >= 0.5).astype(np.float32)
    np.testing.assert_array_equal(model.observe(GREY), cut)
    reconstructed, again = (model.decode(model.encode(images)[0]) for images in (GREY, cut))
    np.testing.assert_array_equal(reconstructed, again)


# Of real runs


def test_the_figures_of_a_run(digits_run):
    folder = digits_run.directory / "figures"
    assert {path.stem for path in folder.iterdir()} == set(gallery.AT_END)
    with Image.open(folder / "reconstructions.png") as picture:
        assert np.asarray(picture).std() > 30


def test_the_verb_draws_what_it_is_asked_for_and_the_same_bytes(tmp_path, monkeypatch, capfd, digits_run: Finished):
    for name in ("config.yaml", "manifest.json", "metrics.jsonl", "model.safetensors"):
        shutil.copy(digits_run.directory / name, tmp_path / name)
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert cli._guarded(["figures", str(tmp_path), "--only", "manifold,worst", "--only=manifold"]) == 0
    drawn = [tmp_path / "figures" / f"{name}.png" for name in ("manifold", "worst")]
    assert capfd.readouterr() == ("".join(f"{path}\n" for path in drawn), "")
    assert sorted((tmp_path / "figures").iterdir()) == drawn
    at_end = digits_run.directory / "figures" / "manifold.png"
    assert drawn[0].read_bytes() == at_end.read_bytes()
    assert cli._guarded(["figures", str(tmp_path), "--only", "tsne,samples"]) == 2
    printed, told = capfd.readouterr()
    assert printed == f"{tmp_path / 'figures' / 'samples.png'}\n"
    assert told.startswith(f"vaex: {tmp_path}: tsne: needs openTSNE")
    assert "pip install openTSNE" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "scater"), "no figure 'scater'; did you mean 'scatter'? (figures: reconstructions, samples,"),
        (("--only", ""), "vaex figures: argument 3 is empty"),
        (("--only",), "vaex figures: argument --only: expected one argument"),
        (("--just", "scatter"), "vaex figures: unknown flag --just (there are: --only)"),
    ],
)
def test_an_unknown_figure_is_one_line(arguments, told, capfd, digits_run: Finished):
    assert cli._guarded(["figures", str(digits_run.directory), *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: ")
    assert told in line


@pytest.mark.parametrize("binarize", ["threshold", "stochastic"])
def test_what_is_shown_is_what_the_encoder_sees(binarize):
    """Binarized images where the likelihood binarizes them; figures' noise is of the run's seed."""
    config = make("dataset=digits", "model.hidden=[8]", f"likelihood.binarize={binarize}", "seed=3")
    dataset = load(config.dataset)
    model = Model(config, None, dataset, "")
    model.parameters = compiled.init(model.program, model.hyper.seed).parameters
    subject = PicturedModel(model, [], "")
    seen, x = subject.seen(), dataset.valid.images[..., :]
    assert set(np.unique(seen)) == {0, 1}
    if binarize == "threshold":
        np.testing.assert_array_equal(seen, x >= (128 if x.dtype == np.uint8 else 0.5))
    again = make("dataset=digits", "model.hidden=[8]", "seed=3")
    plain = Model(again, model.parameters, dataset, "")
    np.testing.assert_allclose(plain.encode(seen)[0], subject.codes("valid").mu, atol=1e-6)
    assert subject.threshold == 0.01
    assert json.dumps(subject.noise(2).tolist()) == json.dumps(PicturedModel(model, [], "").noise(2).tolist())


def test_the_reconstructions_that_a_run_drew_are_decoded_codes(digits_run: Finished):
    """The figure from the end of training has, tile by tile, what `vaex.load` decodes now."""
    run = vaex.load(digits_run.directory)
    images = run.data("valid").images[:5]
    shown = tiles.look(run.data("valid").images[:24])
    picture = np.asarray(run.figure("reconstructions").convert("RGB"))
    for column, mean in enumerate(run.decode(run.encode(images).mu)):
        tile = np.asarray(tiles.tile(mean, shown).convert("RGB"))
        left = tiles.MARGIN + column * (tile.shape[1] + tiles.GAP)
        strip = picture[:, left : left + tile.shape[1]]
        found = [top for top in range(len(strip) - len(tile)) if np.array_equal(strip[top : top + len(tile)], tile)]
        assert len(found) == 1, column
