"""A model as functions of many images, and a run that is judged at its end: the same bits, and nothing stale."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.configurations import make
from tests.support.processes import results
from vaex import cli, files
from vaex.device.compiled import init
from vaex.device.datasets import load
from vaex.trained import model as models
from vaex.trained.evaluation import _no_factors, _no_labels
from vaex.trained.model import Model
from vaex.trained.subject import GREY, ModelSubject
from vaex.vae import objective

SMALL = ("dataset=digits", "model.hidden=[16]", "model.latent_dim=3")
QUICK = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "model.hidden=[16]")


def made(*overrides: str) -> Model:
    """A model that has not been trained."""
    config = make(*SMALL, *overrides)
    dataset = load(config.dataset)
    program = objective.program(config, dataset.shape)
    parameters = init(program, jnp.uint32(0)).parameters
    return Model(config, parameters, dataset, "")


def test_numbers_depend_neither_on_threads_nor_on_how_many_images_follow(monkeypatch: pytest.MonkeyPatch):
    model = made("likelihood.binarize=stochastic")
    images = model.dataset.train.images[:600]
    found, codes = model.bounds(images, 12, 0), model.encode(images, 0)
    assert found.marks == (1, 10, 12)
    assert found.curve.shape == (3, 600)
    with ThreadPoolExecutor(1) as one, monkeypatch.context() as patch:
        patch.setattr(models, "_pool", lambda: one)
        fewer, fewer_codes = model.bounds(images[:270], 12, 0), model.encode(images[:270], 0)
    for all_of_them, first in zip((*found[:4], *codes), (*fewer[:4], *fewer_codes), strict=True):
        np.testing.assert_array_equal(all_of_them[..., :270] if all_of_them.shape[0] == 3 else all_of_them[:270], first)
    other = model.bounds(images, 12, 1)
    assert np.all(other.curve != found.curve)


def test_codes_and_images_are_those_of_the_network():
    model = made("loss=sigma", "loss.bias_init=-1.0")
    images = model.dataset.test.images[:5]
    mu, sigma = model.encode(images)
    q = objective.encode(model.program, model.hyper, model.parameters, jnp.asarray(images))
    np.testing.assert_allclose(mu, q.mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sigma, np.abs(q.sigma), rtol=1e-5)
    assert np.any(q.sigma < 0)
    drawn = model.decode(mu)
    expected = objective.mean_images(model.program, model.parameters, q.mu)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5)
    assert model.samples(7, seed=0).shape == (7, *model.dataset.shape)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ((), GREY),
        (("likelihood.binarize=threshold",), None),
        (("likelihood.binarize=stochastic",), None),
        (("likelihood=continuous_bernoulli",), None),
        (("likelihood=gaussian",), None),
    ],
)
def test_bits_are_of_densities_and_probabilities_only(overrides: tuple[str, ...], reason: str | None):
    model = made(*overrides)
    assert ModelSubject(model, model.config.evaluation.common, lambda done, of: None).no_density == reason


def test_needs_are_told_of_the_data():
    digits, grid = (load(make(f"dataset={name}").dataset) for name in ("digits", "shapes_grid"))
    shapes = load(make("dataset=shapes", "dataset.count=500").dataset)
    assert [_no_labels(each, "test") for each in (digits, grid)] == ["", ""]
    assert [_no_factors(each, "test") for each in (digits, grid)] == [
        " has one, 'class', where several are compared",
        "",
    ]
    assert "in numbers that hardly repeat, not in levels" in _no_factors(shapes, "test")


@pytest.mark.slow
def test_a_run_that_is_judged_at_its_end_has_the_same_bits_and_nothing_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    judged = ("evaluation.metrics=[elbo,nll]", "evaluation.samples=5")
    assert cli._guarded([*QUICK, "hydra.run.dir=plain"]) == 0
    assert cli._guarded([*QUICK, *judged, "hydra.run.dir=run"]) == 0
    told = capfd.readouterr()
    assert not told.err
    assert "nll/effective_samples" in told.out.partition("value ± standard error")[2]
    run = tmp_path / "run"
    assert results(run) == results(tmp_path / "plain")
    summary, plain = (files.read_json(path / "summary.json") for path in (run, tmp_path / "plain"))
    assert summary["identity"] == plain["identity"]
    assert {key for key in summary if key not in plain} == {
        f"eval/{name}{suffix}"
        for name in ("elbo", "elbo/reconstruction", "elbo/kl", "nll", "nll/effective_samples")
        for suffix in ("", "_se")
    }
    assert not (tmp_path / "plain" / "evaluation.json").exists()

    assert cli._guarded(["resume", "run", "training.epochs=2", "evaluation.metrics=[]"]) == 0
    assert not (run / "evaluation.json").exists()
    assert not any(key.startswith("eval/") for key in files.read_json(run / "summary.json"))
