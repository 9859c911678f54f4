"""Each posterior parameterization against float64 formulas, Monte Carlo and differences; the limits of the formats."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from vaex import config
from vaex.config import validation
from vaex.errors import ConfigError
from vaex.vae import posterior

CONF = Path(__file__).parents[2] / "conf" / "loss"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
FORMATS = ("float32", "bfloat16", "float16")
RAW = np.array([-10, -1, -0.01, 0.01, 1, 5, 10])


def option(name, **keys):
    """The option's module and its configuration: the YAML's values, some replaced."""
    module = config.find("loss", name)
    return module, module.Config(**yaml.safe_load((CONF / f"{name}.yaml").read_text()) | keys)


@functools.cache
def compiled(name, dtype, keys):
    """mu, raw -> the posterior and its KL's gradients, for rows of a fixed length: one compilation each."""
    module, values = option(name, **dict(keys))

    def both(mu, raw):
        q, back = jax.vjp(functools.partial(module.posterior, values), mu, raw)
        zero = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0 if x.dtype == bool else x.dtype), q)
        return q, back(zero._replace(kl=jnp.ones_like(q.kl)))

    return jax.jit(both)


def draw(q, eps):
    """The shared sampling, of NumPy arrays."""
    eps = jnp.asarray(eps, jnp.float32)
    return np.asarray(posterior.sample(jax.tree.map(lambda x: jnp.asarray(np.broadcast_to(x, eps.shape)), q), eps))


def evaluate(name, mu, raw, dtype, keys, row=128):
    """The posterior and the gradients as NumPy arrays; 16-bit formats widened to float32 unless `dtype` is asked."""
    mu, raw = (np.asarray(np.asarray(v).astype(jnp.dtype(dtype))) for v in (mu, raw))
    size, pad = raw.size, -raw.size % row
    rows = [np.concatenate([v, np.ones(pad, v.dtype)]).reshape(-1, row) for v in (mu, raw)]
    function = compiled(name, jnp.dtype(dtype).name, tuple(sorted(keys.items())))
    parts = [jax.tree.map(np.asarray, function(*pair)) for pair in zip(*rows, strict=True)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:size], *parts)


def wide(x):
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def apply(name, mu, raw, dtype="float32", **keys):
    """The posterior, in float32."""
    return jax.tree.map(wide, evaluate(name, mu, raw, dtype, keys)[0])


def gradient(name, mu, raw, dtype="float32", **keys):
    """dKL/d(mu), dKL/d(raw) of each latent, in float32."""
    return jax.tree.map(wide, evaluate(name, mu, raw, dtype, keys)[1])


def reference_sigma(name, a, floor=0.0, sharpness=1.0, upper=2.0, lo=-30.0, hi=20.0, bound=5.0):
    """σ(a) in float64 NumPy, straight from each paper's formula."""
    with np.errstate(over="ignore"):
        formulas = {
            "gamma": lambda: np.sqrt(np.exp(a)),
            "log_sigma": lambda: np.exp(a),
            "sigma": lambda: a,
            "softplus": lambda: floor + np.logaddexp(0, sharpness * a) / sharpness,
            "exp_linear": lambda: np.where(a <= 0, np.exp(a), 1 + a),
            "bounded": lambda: np.where(a <= 0, upper / 2 * np.exp(a), upper / 2 * (2 - np.exp(-a))),
            "gamma_clamped": lambda: np.exp(np.clip(a, lo, hi) / 2),
            "soft_clamp": lambda: np.exp(bound * np.tanh(a / bound)),
        }
        return formulas[name]()


def reference_kl(name, mu, a, epsilon=0.0, **keys):
    """The book's formula, −½[1 + log(σ² + ε) − σ² − μ²], in float64."""
    variance = reference_sigma(name, a, **keys) ** 2
    return -0.5 * (1 + np.log(variance + epsilon) - variance - mu**2)


VARIATIONS = [(name, {}) for name in NAMES] + [
    ("sigma", {"epsilon": 1e-3}),
    ("softplus", {"floor": 0.05}),
    ("softplus", {"sharpness": math.log(2)}),
    ("softplus", {"floor": 0.05, "sharpness": 3.0}),
    ("bounded", {"upper": 1.0}),
    ("gamma_clamped", {"lo": -2.0, "hi": 3.0}),
    ("soft_clamp", {"bound": 2.0}),
]


@pytest.mark.parametrize(("name", "keys"), VARIATIONS)
def test_sigma_and_kl_are_the_formula(name, keys):
    raw, mu = np.linspace(-12, 12, 97) + 0.01, np.linspace(-3, 3, 97)
    q = apply(name, mu, raw, **keys)
    a, m = np.asarray(raw, np.float32).astype(float), np.asarray(mu, np.float32).astype(float)
    shape = {key: value for key, value in keys.items() if key != "epsilon"}
    np.testing.assert_array_equal(q.mu, mu.astype(np.float32))
    np.testing.assert_allclose(q.sigma, reference_sigma(name, a, **shape), rtol=2e-6)
    np.testing.assert_allclose(q.kl, reference_kl(name, m, a, **keys), rtol=4e-6, atol=1e-6)
    assert q.clamped.dtype == bool
    assert q.clamped.shape == q.kl.shape == q.sigma.shape


@pytest.mark.parametrize(("name", "keys"), VARIATIONS)
def test_gradients_are_float64_differences_of_the_formula(name, keys):
    mu, h = 0.7, 1e-6
    by_mu, by_raw = gradient(name, np.full(RAW.shape, mu), RAW, **keys)
    a, m = np.float32(RAW).astype(float), float(np.float32(mu))
    difference = (reference_kl(name, m, a + h, **keys) - reference_kl(name, m, a - h, **keys)) / (2 * h)
    np.testing.assert_allclose(
        by_raw, difference, rtol=2e-5, atol=1e-7 * np.abs(reference_kl(name, m, a, **keys)).max()
    )
    np.testing.assert_allclose(by_mu, m, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [-2.0, 0.5])
def test_kl_is_the_monte_carlo_estimate(name, at):
    """E_q[log q(z) − log p(z)] over z = μ + σε from the shared sampling, in float64."""
    q = apply(name, [0.8], [at])
    draws = np.random.default_rng(3).standard_normal((200_000, 1))
    z, mu, sigma = (np.float64(v) for v in (draw(q, draws), q.mu, q.sigma))
    terms = -np.log(np.abs(sigma)) - 0.5 * ((z - mu) / sigma) ** 2 + 0.5 * z**2
    error = terms.std() / np.sqrt(terms.size)
    assert abs(terms.mean() - float(q.kl[0])) < 4 * error


def test_sampling_is_mu_plus_sigma_eps_also_for_a_negative_sigma():
    q = apply("sigma", [1.0, 2.0], [-0.5, 0.0])
    np.testing.assert_array_equal(draw(q, [2.0, 3.0]), [0.0, 2.0])


def test_gamma_is_twice_log_sigma_with_half_the_gradient():
    """The same σ and KL, bit for bit; dKL/d(log σ) = 2·dKL/dγ."""
    log_sigma = np.linspace(-20, 20, 81)
    one, two = apply("gamma", 0 * log_sigma, 2 * log_sigma), apply("log_sigma", 0 * log_sigma, log_sigma)
    np.testing.assert_array_equal(one.sigma, two.sigma)
    np.testing.assert_array_equal(one.kl, two.kl)
    half, whole = (
        gradient(*pair)[1]
        for pair in (("gamma", 0 * log_sigma, 2 * log_sigma), ("log_sigma", 0 * log_sigma, log_sigma))
    )
    np.testing.assert_array_equal(2 * half, whole)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", ["gamma", "log_sigma", "exp_linear", "bounded", "gamma_clamped", "soft_clamp"])
def test_kl_keeps_its_digits_near_sigma_one(name, dtype):
    """KL ≈ ½μ² + log²σ: relative accuracy down to 1e-12 nats in float32, where the book's form has only rounding."""
    size = np.logspace(-2 if dtype == "float16" else -6, -1, 101)
    raw = np.concatenate([-size, size]).astype(jnp.dtype(dtype))
    kl = apply(name, 0 * raw, raw, dtype).kl
    a = raw.astype(float)
    log_sigma = a / 2 if name.startswith("gamma") else 5 * np.tanh(a / 5) if name == "soft_clamp" else a
    if name in ("exp_linear", "bounded"):
        log_sigma = np.where(a <= 0, a, np.log1p(a if name == "exp_linear" else -np.expm1(-a)))
    exact = 0.5 * np.expm1(log_sigma) ** 2 + log_sigma**2 * sum(
        log_sigma**n / float(np.prod(np.arange(1, n + 3))) for n in range(12)
    )
    assert (kl > 0).all()
    np.testing.assert_allclose(kl, exact, rtol=8 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sigma"}))
def test_kl_is_never_negative_without_clipping(name, dtype):
    raw = np.concatenate([np.linspace(-30, 30, 2001), np.linspace(-0.6, 0.6, 2001)])
    assert np.nanmin(apply(name, 0 * raw, raw, dtype).kl) >= 0


def test_expm1_minus_against_float64_and_its_derivatives():
    x = np.concatenate([-np.logspace(-8, 1.9, 400), np.logspace(-8, 1.9, 400)]).astype(np.float32)
    exact = np.array(
        [float(v) ** 2 * sum_of_series(float(v)) if abs(v) < 1 else np.expm1(float(v)) - float(v) for v in x]
    )
    np.testing.assert_allclose(jax.jit(posterior.expm1_minus)(x), exact, rtol=1e-6)
    first = jax.grad(posterior.expm1_minus)
    np.testing.assert_allclose(jax.jit(jax.vmap(first))(x), np.expm1(x.astype(float)), rtol=1e-6)
    assert float(jax.jit(jax.grad(first))(0.0)) == 1.0


def sum_of_series(x):
    total = 0.0
    for n in range(30, 2, -1):
        total = (total + 1) * x / n
    return (total + 1) / 2


def test_sigma_is_literally_the_books_formula():
    """At zero and below, with and without ε; both starts exist."""
    raw = np.array([-2.0, -1e-3, 0.5, 1.0])
    np.testing.assert_array_equal(apply("sigma", 0 * raw, raw).kl, apply("sigma", 0 * raw, -raw).kl)
    assert float(apply("sigma", [0.0], [0.0]).kl[0]) == np.inf
    assert np.isnan(gradient("sigma", [0.0], [0.0])[1][0])
    softened = apply("sigma", [0.0], [0.0], epsilon=1e-8).kl[0]
    np.testing.assert_allclose(softened, -0.5 * (1 + np.log(1e-8)), rtol=1e-6)
    assert gradient("sigma", [0.0], [0.0], epsilon=1e-8)[1][0] == 0
    assert option("sigma", bias_init=1.0)[1].bias_init == 1.0


def test_sigma_with_epsilon_shows_a_negative_kl():
    np.testing.assert_allclose(apply("sigma", [0.0], [1.0], epsilon=0.01).kl, [-0.5 * np.log(1.01)], rtol=1e-5)


def test_softplus_far_below_zero_takes_no_log_of_an_underflowing_sigma():
    q = apply("softplus", [0.0], [-100.0])
    np.testing.assert_allclose(q.kl, [-0.5 + 100], rtol=1e-6)
    np.testing.assert_allclose(gradient("softplus", [0.0], [-100.0])[1], [-1.0], rtol=1e-6)
    q = apply("softplus", [0.0], [-100.0], floor=0.1)
    np.testing.assert_allclose(q.sigma, [0.1], rtol=1e-6)
    assert gradient("softplus", [0.0], [-100.0], floor=0.1)[1][0] == 0
    assert np.isfinite(float(apply("softplus", [0.0], [-100.0], "float16", floor=1e-9).kl[0]))


def test_softplus_of_sharpness_ln_2_is_log2_and_begins_at_one():
    raw = np.array([-30.0, -1.0, 0.0, 3.0])
    q = apply("softplus", 0 * raw, raw, sharpness=math.log(2))
    np.testing.assert_allclose(q.sigma, np.log2(1 + 2**raw), rtol=2e-6)
    assert float(q.kl[2]) == pytest.approx(0.0, abs=1e-6)
    slope = gradient("softplus", [0.0], [-100.0], sharpness=math.log(2))[1]
    np.testing.assert_allclose(slope, [-math.log(2)], rtol=1e-6)


def test_log_softplus_is_continuous_over_its_seam():
    a = np.linspace(-20, 20, 4001).astype(np.float32)
    function = config.find("loss", "softplus").log_softplus
    np.testing.assert_allclose(jax.jit(function)(a), np.log(np.logaddexp(0, a.astype(float))), rtol=1e-6, atol=2e-7)
    slope = np.asarray(jax.jit(jax.vmap(jax.grad(function)))(a))
    x = a.astype(float)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-x)) / np.logaddexp(0, x), rtol=2e-6)


@pytest.mark.parametrize(("name", "slope"), [("exp_linear", 1.0), ("bounded", 1.0), ("softplus", None)])
def test_seams_have_the_right_slope(name, slope):
    """dσ/da at exactly the seam: neither halved by a tie nor doubled."""
    module, values = option(name)
    at = {"softplus": -8.0}.get(name, 0.0)
    derivative = jax.jit(jax.grad(lambda a: module.posterior(values, jnp.zeros(1), a[None]).sigma[0]))(np.float32(at))
    expected = slope if slope is not None else 1 / (1 + np.exp(8.0))
    np.testing.assert_allclose(derivative, expected, rtol=1e-6)
    around = [gradient(name, [0.0], [at + d])[1][0] for d in (-1e-3, 0.0, 1e-3)]
    np.testing.assert_allclose(around[1], np.mean([around[0], around[2]]), atol=1e-3)


def test_bounded_stays_below_upper_and_exp_linear_grows_linearly():
    assert float(apply("bounded", [0.0], [1e30]).sigma[0]) == 2.0
    assert gradient("bounded", [0.0], [1e30])[1][0] == 0
    np.testing.assert_allclose(apply("bounded", [0.0], [3.0], upper=5.0).sigma, [2.5 * (2 - np.exp(-3))], rtol=1e-6)
    np.testing.assert_allclose(gradient("exp_linear", [0.0], [1e6])[1], [1e6], rtol=1e-5)


def test_gamma_clamped_marks_what_it_cuts_and_gives_it_no_gradient():
    raw = [-31.0, -29.0, 0.0, 19.0, 21.0]
    q = apply("gamma_clamped", np.zeros(5), raw)
    np.testing.assert_array_equal(q.clamped, [True, False, False, False, True])
    by_raw = gradient("gamma_clamped", np.zeros(5), raw)[1]
    np.testing.assert_array_equal(by_raw == 0, [True, False, True, False, True])
    np.testing.assert_allclose(q.sigma[0], np.exp(-15), rtol=1e-6)
    assert not any(apply(name, [0.0], [-40.0]).clamped.any() for name in NAMES if name != "gamma_clamped")


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_computes_in_the_dtype_of_its_inputs(name, dtype):
    q = evaluate(name, [0.5], [0.5], dtype, {})[0]
    assert q.mu.dtype == q.sigma.dtype == q.kl.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(wide(q.kl), apply(name, [0.5], [0.5]).kl, rtol=6 * float(jnp.finfo(dtype).eps))


# (finite, not finite) around the limit of the KL and of its gradient, towards +∞; None: finite at 0.4 of the largest
LIMITS = {
    ("gamma", "float32"): ((89.4, 89.5), (88.7, 88.8)),
    ("gamma", "bfloat16"): ((89.0, 89.5), (88.5, 89.0)),
    ("gamma", "float16"): ((11.75, 11.8), (11.0, 11.1)),
    ("log_sigma", "float32"): ((44.7, 44.72), (44.3, 44.4)),
    ("log_sigma", "bfloat16"): ((44.5, 44.75), (44.25, 44.5)),
    ("log_sigma", "float16"): ((5.88, 5.9), (5.53, 5.55)),
    ("sigma", "float32"): ((1.84e19, 1.85e19), None),
    ("sigma", "bfloat16"): ((1.83e19, 1.85e19), None),
    ("sigma", "float16"): ((255.5, 256.0), None),
    ("softplus", "float32"): ((2.6e19, 2.62e19), None),
    ("softplus", "bfloat16"): ((2.58e19, 2.62e19), None),
    ("softplus", "float16"): ((361.0, 363.0), None),
    ("exp_linear", "float32"): ((2.6e19, 2.62e19), None),
    ("exp_linear", "bfloat16"): ((2.58e19, 2.62e19), None),
    ("exp_linear", "float16"): ((361.0, 363.0), None),
    ("gamma_clamped", "float32"): (None, None),
    ("gamma_clamped", "bfloat16"): (None, None),
    ("gamma_clamped", "float16"): ((11.75, 11.8), (11.0, 11.1)),
} | {(name, dtype): (None, None) for name in ("bounded", "soft_clamp") for dtype in ("float32", "bfloat16", "float16")}


@pytest.mark.parametrize(("name", "dtype"), LIMITS)
def test_limits_towards_infinity_are_the_documented_ones(name, dtype):
    largest = 0.4 * float(jnp.finfo(dtype).max)
    for quantity, limit in zip(("kl", "gradient"), LIMITS[name, dtype], strict=True):
        raw = [largest] if limit is None else list(limit)
        q, slopes = apply(name, np.zeros(len(raw)), raw, dtype), gradient(name, np.zeros(len(raw)), raw, dtype)
        value = q.kl if quantity == "kl" else slopes[1]
        np.testing.assert_array_equal(np.isfinite(value), [True] if limit is None else [True, False])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sigma"}))
def test_towards_minus_infinity_only_sigma_underflows(name, dtype):
    raw = np.array([-20.0, -200.0, -2000.0, -0.9 * float(jnp.finfo(dtype).max)])
    q = apply(name, np.zeros(4), raw, dtype)
    assert np.isfinite(q.kl).all()
    slope = gradient(name, np.zeros(4), raw, dtype)[1]
    flat = name in ("gamma_clamped", "soft_clamp")
    expected = 0.0 if flat else -0.5 if name == "gamma" else -1.0
    np.testing.assert_allclose(slope[1:], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "kl", "slope"),
    [
        ("float32", (1.2e-19, 1.05e-19), (1.2e-19, 1.05e-19)),
        ("bfloat16", (1.2e-19, 1.05e-19), (1.2e-19, 1.05e-19)),
        ("float16", (1.8e-4, 1.6e-4), (2.9e-3, 2.7e-3)),
    ],
)
def test_sigma_diverges_at_zero_where_documented(dtype, kl, slope):
    np.testing.assert_array_equal(np.isfinite(apply("sigma", [0, 0], kl, dtype).kl), [True, False])
    np.testing.assert_array_equal(np.isfinite(gradient("sigma", [0, 0], slope, dtype)[1]), [True, False])


@pytest.mark.parametrize("name", NAMES)
def test_vmap_changes_nothing(name):
    module, values = option(name)
    mu, raw = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
    rows = jax.jit(jax.vmap(functools.partial(module.posterior, values)))(mu, raw)
    lone = apply(name, mu.ravel(), raw.ravel())
    jax.tree.map(lambda x, y: np.testing.assert_allclose(np.ravel(x), y, rtol=1e-5, atol=1e-7), rows, lone)


def test_bounds_in_the_wrong_order_are_refused_by_name():
    plain = {"name": "gamma_clamped", "lo": 1.0, "hi": -1.0}
    module = config.find("loss", "gamma_clamped")
    with pytest.raises(ConfigError, match=r"loss: .*lo must be below hi"):
        validation.validate("loss", module.Config, {"loss": plain})
