"""Each likelihood against float64 NumPy/SciPy, its normalisation, its gradient, and its contract on the data."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from scipy import integrate, special, stats

from vaex import config
from vaex.config import validation
from vaex.errors import ConfigError, DataError
from vaex.vae import pixels

CONF = Path(__file__).parents[2] / "conf" / "likelihood"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
SHAPE = (6, 5, 4, 2)
LOGITS = np.concatenate([-np.logspace(-9, 2, 60), [0.0], np.logspace(-9, 2, 59)]).reshape(1, 5, 4, 6).astype(np.float32)


def option(name, **keys):
    module = config.find("likelihood", name)
    return module, module.Config(**yaml.safe_load((CONF / f"{name}.yaml").read_text()) | keys)


def images(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random(shape, np.float32)


def outputs(seed=1, shape=SHAPE):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@functools.cache
def compiled(name, keys):
    module, values = option(name, **dict(keys))
    function = functools.partial(module.log_prob, values)
    slope = jax.grad(lambda parameters, out, x: jnp.sum(function(parameters, out, x)), argnums=1)
    return jax.jit(function), jax.jit(slope), module.initial_parameters(values)


def log_prob(name, out, x, **keys):
    value, _, start = compiled(name, tuple(keys.items()))
    return np.asarray(value(start, out, x))


def gradient(name, out, x, **keys):
    _, slope, start = compiled(name, tuple(keys.items()))
    return np.asarray(slope(start, out, x))


def partition(logit):
    """log ∫₀¹ e^{xl} dx of the continuous Bernoulli, by quadrature."""
    top = max(logit, 0.0)
    return top + np.log(integrate.quad(lambda x: np.exp(x * logit - top), 0, 1, epsabs=1e-14, epsrel=1e-13)[0])


REFERENCES = {
    "bernoulli": lambda out, x: special.xlogy(x, special.expit(out)) + special.xlogy(1 - x, special.expit(-out)),
    "continuous_bernoulli": lambda out, x: x * out - np.vectorize(partition)(out),
    "gaussian": lambda out, x: stats.norm(out, 0.1).logpdf(x),
    "laplace": lambda out, x: stats.laplace(out, 0.1).logpdf(x),
}


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_the_density_summed_over_pixels(name):
    out, x = outputs(), images()
    expected = REFERENCES[name](out.astype(float), x.astype(float)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(log_prob(name, out, x), expected, rtol=2e-6)
    assert log_prob(name, out, x).dtype == np.float32
    assert log_prob(name, out[0], x[0]).shape == ()
    stacked = log_prob(name, out.reshape(2, 3, *SHAPE[1:]), x.reshape(2, 3, *SHAPE[1:]))
    np.testing.assert_allclose(stacked.ravel(), expected, rtol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_float64_difference(name):
    out, x, h = outputs(shape=(2, 3, 2, 1)), images(shape=(2, 3, 2, 1)), 1e-5
    up, down = (REFERENCES[name](out.astype(float) + step, x.astype(float)) for step in (h, -h))
    np.testing.assert_allclose(gradient(name, out, x), (up - down) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["continuous_bernoulli", "gaussian", "laplace"])
def test_densities_integrate_to_one(name):
    low, high = (0.0, 1.0) if name == "continuous_bernoulli" else (-3.0, 4.0)
    x = np.linspace(low, high, 20_001, dtype=np.float32).reshape(-1, 1, 1, 1)
    for centre in (-3.0, 0.0, 0.5, 2.0) if low == 0 else (0.25, 0.5):
        density = np.exp(log_prob(name, np.full_like(x, centre), x).astype(float))
        assert abs(np.trapezoid(density, x.ravel().astype(float)) - 1) < 2e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_image_is_the_distributions_mean(name):
    module, values = option(name)
    centre = np.full((1, 1, 1, 1), 1.5, np.float32)
    shown = module.mean(values, module.initial_parameters(values), jnp.asarray(centre)).item()
    if name == "bernoulli":
        expected = special.expit(1.5)
    else:
        low, high = (0, 1) if name == "continuous_bernoulli" else (-5, 8)
        grid = np.linspace(low, high, 20_001)
        expected = np.trapezoid(grid * np.exp(REFERENCES[name](np.float64(1.5), grid)), grid)
    np.testing.assert_allclose(shown, expected, rtol=1e-5)


def test_bernoulli_stays_in_logits_where_probabilities_saturate():
    out = np.array([-1e4, -100, -17.5, 0, 17.5, 100, 1e4, 3e38], np.float32).reshape(8, 1, 1, 1)
    zero, one = np.zeros_like(out), np.ones_like(out)
    assert np.isfinite(log_prob("bernoulli", out, zero)).all()
    np.testing.assert_allclose(
        log_prob("bernoulli", out, zero)[2:6], -np.logaddexp(0, out.ravel()[2:6].astype(float)), rtol=1e-6
    )
    np.testing.assert_allclose(log_prob("bernoulli", -out, one), log_prob("bernoulli", out, zero))
    np.testing.assert_allclose(
        gradient("bernoulli", out, zero).ravel(), -special.expit(out.ravel().astype(float)), rtol=1e-6, atol=1e-37
    )
    np.testing.assert_allclose(gradient("bernoulli", np.zeros_like(out), one * 0.25), -0.25)


def test_bernoulli_binarizes_what_is_modelled():
    x = images()
    x[0, 0, 0] = [0.5, 0.0]
    module, raw = option("bernoulli")
    key = jax.random.key(0)
    np.testing.assert_array_equal(module.observe(raw, key, jnp.asarray(x)), x)
    sharp = module.observe(option("bernoulli", binarize="threshold")[1], key, jnp.asarray(x))
    np.testing.assert_array_equal(sharp, x >= 0.5)
    drawn = option("bernoulli", binarize="stochastic")[1]
    one, again, other = (module.observe(drawn, jax.random.key(k), jnp.asarray(x)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert set(np.unique(one)) == {0.0, 1.0}
    assert one.dtype == jnp.float32
    many = module.observe(drawn, key, jnp.full((1, 400, 400, 1), 0.3))
    assert abs(float(many.mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 160_000)


def test_continuous_bernoulli_around_one_half_and_far_out():
    """A(l) and its derivative, the mean, over eleven decades of |l|, both signs, and 0 itself, to float32's digits."""
    module, _ = option("continuous_bernoulli")
    logit = LOGITS.astype(float)
    near, size = np.abs(logit) < 1e-2, np.maximum(np.abs(logit), 1e-2)
    a = np.where(
        near, logit / 2 + logit**2 / 24 - logit**4 / 2880, np.maximum(logit, 0) + np.log(-np.expm1(-size) / size)
    )
    upper = -1 / np.expm1(-size) - 1 / size
    mean = np.where(near, 0.5 + logit / 12 - logit**3 / 720, np.where(logit > 0, upper, 1 - upper))
    np.testing.assert_allclose(jax.jit(module.log_density)(LOGITS, np.zeros_like(LOGITS)), -a, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(module.distribution_mean)(LOGITS), mean, rtol=1.5e-6)
    np.testing.assert_allclose(gradient("continuous_bernoulli", LOGITS, np.zeros_like(LOGITS)), -mean, rtol=1.5e-6)


def test_continuous_bernoulli_is_the_papers_formula():
    """log C(λ) + x log λ + (1 − x) log(1 − λ) with C(λ) = 2 artanh(1 − 2λ)/(1 − 2λ)."""
    rate, x = np.array([0.01, 0.3, 0.499, 0.7, 0.99]), 0.3
    constant = 2 * np.arctanh(1 - 2 * rate) / (1 - 2 * rate)
    expected = np.log(constant) + x * np.log(rate) + (1 - x) * np.log1p(-rate)
    out = special.logit(rate).astype(np.float32).reshape(5, 1, 1, 1)
    np.testing.assert_allclose(
        log_prob("continuous_bernoulli", out, np.full_like(out, x)), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("logit", [-3e38, -1e10, -1e4, 1e4, 1e10, 3e38])
def test_continuous_bernoulli_is_finite_at_any_logit(logit):
    out = np.full((1, 1, 1, 1), logit, np.float32)
    end = np.full_like(out, float(logit > 0))
    np.testing.assert_allclose(log_prob("continuous_bernoulli", out, end), np.log(abs(logit)), rtol=1e-6)
    slope = gradient("continuous_bernoulli", out, end).item()
    assert abs(slope) <= 1.2e-4
    module, values = option("continuous_bernoulli")
    second = jax.jit(jax.grad(module.distribution_mean))(np.float32(logit))
    assert np.isfinite(second)
    assert 0 <= jax.jit(functools.partial(module.mean, values, {}))(out).item() <= 1


def test_gaussian_learns_its_sigma_above_the_floor():
    keys = {"learned": True, "sigma": 0.3, "floor": 0.1}
    module, values = option("gaussian", **keys)
    start = module.initial_parameters(values)
    assert set(start) == {"log_sigma_above_floor"}
    assert start["log_sigma_above_floor"].dtype == jnp.float32
    np.testing.assert_allclose(module.deviation(values, start), 0.3, rtol=1e-6)
    out, x = outputs(), images()
    expected = stats.norm(out.astype(float), 0.3).logpdf(x).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(log_prob("gaussian", out, x, **keys), expected, rtol=2e-6)
    low = {"log_sigma_above_floor": jnp.float32(-200.0)}
    np.testing.assert_allclose(module.deviation(values, low), 0.1, rtol=1e-6)
    best = np.sqrt(np.mean((x - out).astype(float) ** 2))
    at_best = {"log_sigma_above_floor": jnp.float32(np.log(best - 0.1))}
    slope = jax.jit(jax.grad(lambda p: jnp.sum(module.log_prob(values, p, *map(jnp.asarray, (out, x))))))(at_best)[
        "log_sigma_above_floor"
    ]
    assert abs(float(slope)) < 1e-2  # of 240 pixels: the optimum is the root mean squared error
    assert option("gaussian")[0].initial_parameters(option("gaussian")[1]) == {}


@pytest.mark.parametrize(("name", "key"), [("gaussian", "sigma"), ("laplace", "scale")])
def test_the_scale_changes_the_value_and_the_gradient(name, key):
    out, x = outputs(), images()
    distribution = {"gaussian": stats.norm, "laplace": stats.laplace}[name]
    for scale in (0.01, 1.0, 30.0):
        expected = distribution(out.astype(float), scale).logpdf(x).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(log_prob(name, out, x, **{key: scale}), expected, rtol=2e-6)
    assert np.isfinite(log_prob("gaussian", x, x, sigma=1e-25)).all()  # σ² alone would underflow
    np.testing.assert_array_equal(np.abs(gradient("laplace", out, x, scale=0.5)), 2.0)


@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli"])
@pytest.mark.parametrize(
    ("low", "high", "fix"),
    [(0, 255, "divide by 255 or store uint8"), (-1, 1, r"rescale to \[0, 1\]"), (0, 16, r"rescale to \[0, 1\]")],
)
def test_data_outside_the_unit_interval_is_refused_with_the_fix(name, low, high, fix):
    module, values = option(name)
    data = low + (high - low) * images()
    data.flat[:2] = low, high
    with pytest.raises(DataError, match=f"train: values from {low} to {high}, but likelihood={name} .*{fix}") as caught:
        module.check(values, data, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(name, value):
    module, values = option(name)
    data = images()
    data[3, 2, 1, 0] = value
    with pytest.raises(DataError, match=rf"valid: 1 values are not finite \(first: .* at \(3, 2, 1, 0\)\).*{name}"):
        module.check(values, data, "valid")


@pytest.mark.parametrize("name", NAMES)
def test_data_inside_the_contract_passes(name):
    module, values = option(name)
    module.check(values, np.full((2, 3, 3, 1), 255, np.uint8), "train")
    module.check(values, np.asarray([0.0, 1.0], np.float32).reshape(2, 1, 1, 1), "train")
    if name in ("gaussian", "laplace"):
        module.check(values, np.full((2, 3, 3, 1), -1e6, np.float32), "train")


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0000001, "from 0 to 1.0000001, but"), (-1e-9, "from -1e-09 to 0, but")]
)
def test_a_roundings_worth_beyond_is_shown_with_its_own_fix(value: float, shown: str):
    module, values = option("bernoulli", binarize="none")
    with pytest.raises(DataError, match=rf"{shown} .*np\.clip"):
        module.check(values, np.float32([[[[0.0], [value]]]]), "train")


def test_the_contract_looks_at_raw_data_not_at_its_binarization():
    module, values = option("bernoulli", binarize="threshold")
    with pytest.raises(DataError, match="divide by 255"):
        module.check(values, 255 * np.ones((1, 2, 2, 1), np.float32), "test")


def test_sum_pixels_is_a_float32_sum_over_three_axes():
    x = images(shape=(2, 3, 7, 5, 3)) * 1000 + 0.123
    summed = jax.jit(pixels.sum_pixels)(x)
    assert summed.dtype == jnp.float32
    np.testing.assert_allclose(summed, x.astype(float).sum(axis=(-3, -2, -1)), rtol=1e-6)


def test_a_learned_sigma_below_its_floor_is_refused_by_name():
    plain = {"name": "gaussian", "sigma": 0.1, "learned": True, "floor": 0.2}
    with pytest.raises(ConfigError, match=r"likelihood: .*sigma must be above floor"):
        validation.validate("likelihood", option("gaussian")[0].Config, {"likelihood": plain})
