"""A run as an object: what it recorded, what its model says, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml
from PIL import Image
from scipy.special import logsumexp
from scipy.stats import norm

import vaex
from vaex.errors import DataError, InputError, VaexError


@pytest.fixture(scope="module")
def run(digits_run):
    return vaex.load(digits_run.directory)


@pytest.fixture(scope="module")
def test_split(run):
    return run.data("test")


def copied(run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.directory, tmp_path / "run"))


def test_what_was_recorded(run):
    assert run.config["dataset"]["name"] == "digits"
    assert list(run.metrics["epoch"]) == [1, 2]
    assert run.metrics["valid/elbo"].iloc[-1] == run.summary["valid/elbo"]
    assert run.metrics["valid/kl_per_latent"].map(len).tolist() == [10, 10]
    assert len(run.steps["loss"]) == run.summary["step"] == 24
    assert run.steps["loss"].dtype == np.float32
    assert np.isclose(run.steps["loss"][:12].mean(), run.metrics["train/loss"].iloc[0], rtol=0.02)
    assert run.model_arrays["outputs.kernel"].shape[1] == 64


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "metrics.jsonl", "steps.npz"])
def test_the_file_that_is_missing_is_named(tmp_path, run, name):
    directory = copied(run, tmp_path)
    (directory / name).unlink()
    with pytest.raises(InputError, match="config.yaml" if name == "config.yaml" else name):
        vaex.load(directory)


def by_hand(run, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """μ and the logits of E[x|z] at μ of the book's network, from the arrays on disk, in float64."""
    arrays = {name: array.astype(np.float64) for name, array in run.model_arrays.items()}

    def dense(h, name):
        return h @ arrays[f"{name}.kernel"] + arrays[f"{name}.bias"]

    def selu(h):
        return 1.0507009873554805 * np.where(h > 0, h, 1.6732632423543772 * np.expm1(np.minimum(h, 0)))

    h = images.reshape(len(images), -1).astype(np.float64)
    for number in (0, 1):
        h = selu(dense(h, f"encoder.{number}"))
    mu = dense(h, "mu")
    z = mu
    for number in (0, 1):
        z = selu(dense(z, f"decoder.{number}"))
    return mu, dense(z, "outputs")


def test_codes_and_images_are_those_of_the_arrays_on_disk(run, test_split):
    mu, logits = by_hand(run, test_split.images[:7])
    code = run.encode(test_split.images[:7])
    np.testing.assert_allclose(code.mu, mu, atol=2e-5)
    assert (code.sigma > 0).all()
    expected = 1 / (1 + np.exp(-logits.reshape(7, 8, 8, 1)))
    np.testing.assert_allclose(run.decode(code.mu), expected, atol=2e-5)
    np.testing.assert_array_equal(run.reconstruct(test_split.images[:7]), run.decode(code.mu))


def test_any_form_of_images_gives_the_same_and_a_single_one_no_first_axis(run, test_split):
    images = test_split.images[:3]
    expected = run.encode(images).mu
    for form in (images[..., 0], images.tolist(), images.astype(np.float64), images[..., 0].astype(np.float32)):
        np.testing.assert_array_equal(run.encode(form).mu, expected)
    for one in (images[1], images[1, ..., 0], images[1, ..., 0].tolist()):
        np.testing.assert_array_equal(run.encode(one).mu, expected[1])
    as_bytes = np.round(images * 255).astype(np.uint8)
    np.testing.assert_allclose(run.encode(as_bytes).mu, run.encode(as_bytes / 255).mu, atol=1e-6)
    assert run.decode(expected[0]).shape == (8, 8, 1)
    assert np.ndim(run.elbo(images[0], samples=2)) == np.ndim(run.log_likelihood(images[0], samples=2)) == 0


def test_elbo_is_that_of_the_summary_and_below_the_likelihood(run, test_split):
    """Within three standard errors of test/elbo, which is by one draw an image."""
    elbo, bound = run.elbo(test_split.images), run.log_likelihood(test_split.images, samples=100)
    one = run.elbo(test_split.images, samples=1)
    error = np.sqrt((np.var(one - elbo) + np.var(elbo - one)) / len(elbo))
    assert abs(elbo.mean() - run.summary["test/elbo"]) < 3 * error
    assert (bound - elbo).mean() > 0.5
    assert run.log_likelihood(test_split.images[:5], samples=100).tolist() == bound[:5].tolist()


@pytest.mark.slow
def test_the_likelihood_is_the_evidence_by_the_prior(run, test_split):
    """log p(x) by 400 000 draws from the prior, its decoder by hand: another estimator, within what both err by."""
    arrays = {name: array.astype(np.float64) for name, array in run.model_arrays.items()}
    z = np.random.default_rng(0).standard_normal((400_000, 10))
    for name in ("decoder.0", "decoder.1"):
        h = z @ arrays[f"{name}.kernel"] + arrays[f"{name}.bias"]
        z = 1.0507009873554805 * np.where(h > 0, h, 1.6732632423543772 * np.expm1(np.minimum(h, 0)))
    logits = z @ arrays["outputs.kernel"] + arrays["outputs.bias"]
    x = test_split.images[:3].reshape(3, -1).astype(np.float64)
    log_p = logits @ x.T - np.logaddexp(0, logits).sum(axis=1, keepdims=True)
    evidence = logsumexp(log_p, axis=0) - np.log(len(z))
    np.testing.assert_allclose(run.log_likelihood(test_split.images[:3], samples=5000), evidence, atol=0.5)


def test_samples_interpolations_and_traversals(run, test_split):
    first, second = test_split.images[:2]
    np.testing.assert_array_equal(run.sample(5, seed=3), run.sample(5, seed=3))
    assert run.sample(5).shape == (5, 8, 8, 1)
    np.testing.assert_allclose(run.sample(1, temperature=0.0)[0], run.decode(np.zeros(10)), atol=1e-6)
    assert np.abs(run.sample(9, seed=3) - run.sample(9, seed=4)).max() > 0.1
    way = run.interpolate(first, second, 5)
    mu = run.encode([first, second]).mu
    np.testing.assert_allclose(way[[0, 4]], run.decode(mu), atol=1e-6)
    np.testing.assert_allclose(way[1], run.decode(0.75 * mu[0] + 0.25 * mu[1]), atol=1e-5)
    across = run.traverse(first, 4, norm.ppf([0.1, 0.5, 0.9]))
    code = mu[0].copy()
    code[4] = 0.0
    np.testing.assert_allclose(across[1], run.decode(code), atol=1e-6)
    assert np.abs(across[0] - across[2]).max() > 0


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (
            lambda run, x: run.encode(x[:, :4]),
            InputError,
            r"shape \(9, 4, 8, 1\); expected N x 8 x 8 x 1, N x 8 x 8, or",
        ),
        (lambda run, x: run.encode(x * 2), DataError, r"^images: values from 0 to 2, but likelihood=bernoulli"),
        (
            lambda run, x: run.encode((x * 255).astype(int)),
            InputError,
            r"values of type int64; expected uint8 \(0 to 255",
        ),
        (lambda run, x: run.encode(x * np.nan), InputError, r"not finite"),
        (lambda run, x: run.encode(x[:0]), InputError, r"there are none"),
        (lambda run, x: run.encode([[1.0, 2.0], [3.0]]), InputError, r"^images: not an array"),
        (lambda run, x: run.encode("image.png"), InputError, r"expected an array, got str"),
        (lambda run, x: run.decode(np.zeros((2, 9))), InputError, r"^codes: shape \(2, 9\); expected N x 10 or 10"),
        (lambda run, x: run.decode([np.inf] * 10), InputError, r"^codes: some values are not finite"),
        (lambda run, x: run.sample(0), InputError, r"^n: expected a whole number from 1, got 0"),
        (lambda run, x: run.sample(1, temperature=-1.0), InputError, r"^temperature: expected a number from 0, got -1"),
        (
            lambda run, x: run.sample(1, temperature=1e39),
            InputError,
            r"^temperature: at most 3\.40282e\+38, as float32",
        ),
        (lambda run, x: run.elbo(x, samples=10**11), InputError, r"^samples: at most 10000000, got 100000000000"),
        (lambda run, x: run.sample(10**11), InputError, r"^n: at most 10000000, got 100000000000"),
        (lambda run, x: run.traverse(x[0], 0, "abc"), InputError, r"^values: expected an array, got str"),
        (lambda run, x: run.traverse(x[0], 0, [[1], [2, 3]]), InputError, r"^values: not an array"),
        (lambda run, x: run.traverse(x[0], 0, [1e39]), InputError, r"^values: some are not finite in float32"),
        (lambda run, x: run.traverse(x[0], 0, []), InputError, r"^values: "),
        (lambda run, x: run.elbo(x, samples=True), InputError, r"^samples: expected a whole number"),
        (lambda run, x: run.traverse(x[0], 10, [0]), InputError, r"^latent: expected 0 to 9, got 10"),
        (lambda run, x: run.traverse(x, 0, [0]), InputError, r"^image: expected a single one, got 9"),
        (lambda run, x: run.data("tset"), InputError, r"^split: expected train, valid, test, got 'tset'"),
        (lambda run, x: run.figure("curve"), InputError, r"no figure 'curve'; did you mean 'curves'"),
    ],
)
def test_what_cannot_be_answered_is_one_line(run, test_split, ask, error, words):
    with pytest.raises(error, match=words) as raised:
        ask(run, test_split.images[:9])
    assert "\n" not in str(raised.value)


def test_a_state_is_the_last_the_best_or_one_that_was_kept(run, tmp_path):
    directory = copied(run, tmp_path)
    assert run.summary["best/epoch"] == 2
    zero = np.zeros(10)
    last, best, second, first = (
        vaex.load(directory, checkpoint=state).decode(zero) for state in ("last", "best", 2, 1)
    )
    np.testing.assert_array_equal(last, best)
    np.testing.assert_array_equal(last, second)
    assert np.abs(first - last).max() > 0.01
    (directory / "model.safetensors").unlink()
    np.testing.assert_array_equal(vaex.load(directory).decode(zero), last)
    with pytest.raises(InputError, match=r"the state of epoch 7 was not kept \(checkpoints: 1, 2; checkpoint\.keep\)"):
        vaex.load(directory, checkpoint=7).decode(zero)
    with pytest.raises(InputError, match=r"^checkpoint: expected 'last', 'best' or an epoch, got 'lst'"):
        vaex.load(directory, checkpoint="lst")
    shutil.rmtree(directory / "checkpoints")
    with pytest.raises(InputError, match=r"holds no model: neither model\.safetensors nor a checkpoint"):
        vaex.load(directory).decode(zero)


def test_a_model_of_other_shapes_or_without_finite_numbers_is_one_line(run, tmp_path):
    directory = copied(run, tmp_path)
    arrays = dict(run.model_arrays)
    path = directory / "model.safetensors"
    for spoilt, words in (
        ({"mu.bias": arrays["mu.bias"] * np.float32(np.nan)}, r"holds parameters that are not finite"),
        ({"mu.bias": np.zeros(3, np.float32)}, r"does not fit the configuration beside it \(mu\.bias"),
    ):
        path.write_bytes(safetensors.numpy.save(arrays | spoilt))
        with pytest.raises(InputError, match=words):
            vaex.load(directory).encode(np.zeros((8, 8)))
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        vaex.load(directory).encode(np.zeros((8, 8)))


def test_a_notebook_sees_what_it_is_and_nothing_that_a_file_says_is_html(run, tmp_path):
    html = run._repr_html_()
    assert "finished at epoch 2, valid elbo " in html
    assert 'src="data:image/png;base64,' in html
    assert repr(run) == f"<vaex run {run.directory}: finished at epoch 2, valid elbo {run.summary['valid/elbo']:.2f}>"
    directory = copied(run, tmp_path)
    bad = "<script>alert(1)</script>"
    config = yaml.safe_load((directory / "config.yaml").read_text())
    (directory / "config.yaml").write_text(yaml.safe_dump(config | {"loss": {"name": bad}, "seed": bad}))
    summary = json.loads((directory / "summary.json").read_text())
    (directory / "summary.json").write_text(json.dumps(summary | {"status": bad, "epoch": bad}))
    shutil.rmtree(directory / "figures", ignore_errors=True)
    html = vaex.load(directory)._repr_html_()
    assert "<script" not in html
    assert "<img" not in html


def test_a_figure_is_drawn_where_it_is_not_there(run, tmp_path):
    directory = copied(run, tmp_path)
    shutil.rmtree(directory / "figures", ignore_errors=True)
    drawn = vaex.load(directory).figure("samples")
    assert isinstance(drawn, Image.Image)
    assert (directory / "figures" / "samples.png").exists()


def test_a_figure_of_a_chosen_state_is_not_kept_as_the_runs_own(run, tmp_path):
    directory = copied(run, tmp_path)
    shutil.rmtree(directory / "figures", ignore_errors=True)
    first = vaex.load(directory, checkpoint=1).figure("samples")
    assert not (directory / "figures").exists()
    last = vaex.load(directory).figure("samples")
    again = vaex.load(directory, checkpoint=1).figure("samples")
    assert first.tobytes() == again.tobytes() != last.tobytes()


def test_numbers_may_be_numpys(run):
    np.testing.assert_array_equal(run.sample(1, temperature=np.float32(2)), run.sample(1, temperature=2))
    assert vaex.load(run.directory, checkpoint=np.int64(1)).decode(np.zeros(10)).shape == (8, 8, 1)


def test_overrides_are_only_of_where_things_are(run):
    with pytest.raises(InputError, match=r"^seed=3: vaex\.load takes plugins=\[\.\.\.\] and dataset\.path=\.\.\."):
        vaex.load(run.directory, "seed=3")
    with pytest.raises(VaexError, match="no such run directory"):
        vaex.load("nowhere")
