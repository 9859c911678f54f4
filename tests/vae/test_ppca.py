"""A linear Gaussian VAE is probabilistic PCA, whose likelihood and posterior have closed forms (Tipping & Bishop 1999).

    x ~ N(b, W Wᵀ + σ²I)        z | x ~ N(M⁻¹Wᵀ(x − b), σ²M⁻¹), M = WᵀW + σ²I        log p(x) − ELBO = KL(q ‖ p(z|x))

Here in float64 by NumPy and SciPy; the ELBO is the program's own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from tests.support.configurations import make
from vaex.device.compiled import init
from vaex.device.datasets import load
from vaex.likelihoods import gaussian
from vaex.vae import bound, objective, step

LATENTS = 3
CONFIG = make(
    *("dataset=digits", "dataset.fractions=null", "model=linear", f"model.latent_dim={LATENTS}"),
    *("likelihood=gaussian", "likelihood.learned=true", "optimizer=adam", "optimizer.learning_rate=1e-2"),
)
DIGITS = load(CONFIG.dataset).train.images
X = DIGITS.reshape(len(DIGITS), -1).astype(np.float64)
PROGRAM = objective.program(CONFIG, DIGITS.shape[1:])
HYPER = objective.hyper(CONFIG)

epoch = jax.jit(step.epoch, static_argnums=0)
evaluate = jax.jit(jax.vmap(step.evaluate, (None, 0, None, None, None, None)), static_argnums=0)


def elbo(parameters: Any, draws: int) -> tuple[float, float]:
    """The ELBO of all rows as a run's evaluation has it, over that many seeds of its noise, and its standard error."""
    hypers = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, draws), HYPER)._replace(
        seed=jnp.arange(draws, dtype="u4")
    )
    rows = np.array([0, len(DIGITS)])
    means = evaluate(PROGRAM, hypers, parameters, DIGITS, rows, jnp.float32(0))
    values = -np.asarray(means["reconstruction"], np.float64) - np.sum(means["kl_per_latent"], axis=1)
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(draws))


def decoder(parameters: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """W (pixels x latents), b and σ."""
    outputs = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters["model"]["outputs"])
    sigma = float(gaussian.deviation(CONFIG.likelihood, parameters["likelihood"]))
    return outputs["kernel"].T, outputs["bias"], sigma


def log_evidence(parameters: Any) -> float:
    """Mean log p(x) of the rows under the decoder alone."""
    w, b, sigma = decoder(parameters)
    return float(np.mean(multivariate_normal(b, w @ w.T + sigma**2 * np.eye(len(b))).logpdf(X)))


def kl_to_true_posterior(parameters: Any) -> float:
    """Mean KL(q(z|x) ‖ p(z|x)) of the rows, between a diagonal Gaussian and one with any covariance."""
    w, b, sigma = decoder(parameters)
    q = objective.encode(PROGRAM, HYPER, parameters, jnp.asarray(DIGITS))
    mu, variance = np.asarray(q.mu, np.float64), np.asarray(q.sigma, np.float64) ** 2
    m = w.T @ w + sigma**2 * np.eye(LATENTS)
    precision = m / sigma**2
    away = np.linalg.solve(m, w.T @ (X - b).T).T - mu
    squares = variance @ np.diag(precision) + np.einsum("ni,ij,nj->n", away, precision, away)
    log_ratio = -np.linalg.slogdet(precision)[1] - np.sum(np.log(variance), axis=1)
    return float(np.mean(0.5 * (squares - LATENTS + log_ratio)))


def trained(epochs: int) -> Any:
    """The parameters after a little training."""
    state = init(PROGRAM, HYPER.seed)
    for number in range(epochs):
        order = step.order(HYPER.seed, jnp.int32(number), len(DIGITS))
        state, _ = epoch(PROGRAM, HYPER, state, order, DIGITS)
    return state.parameters


@pytest.mark.parametrize("epochs", [3, 30])
def test_the_elbo_lies_below_the_evidence_by_the_kl_to_the_true_posterior(epochs: int):
    parameters = trained(epochs)
    bound, error = elbo(parameters, 64)
    evidence, gap = log_evidence(parameters), kl_to_true_posterior(parameters)
    assert error < 0.05
    assert gap > 10 * error  # so that a bound without it would be seen
    assert bound < evidence
    assert evidence - bound == pytest.approx(gap, abs=4 * error)


@pytest.mark.slow
def test_the_importance_weighted_bound_of_a_trained_model_reaches_the_evidence():
    """Its q is not the posterior yet, and 5 000 draws make up for that."""
    parameters = trained(30)
    found = jax.jit(bound.bounds, static_argnums=(0, 5))(
        PROGRAM, HYPER, parameters, jnp.asarray(DIGITS), jax.random.key(0), (1, 10, 100, 1000, 5000)
    )
    curve = np.mean(np.float64(found.curve), axis=1)
    evidence = log_evidence(parameters)
    elbo = -np.mean(np.float64(found.reconstruction) + np.float64(found.kl))
    assert elbo == pytest.approx(evidence - kl_to_true_posterior(parameters), abs=0.02)
    assert np.all(np.diff(curve) > 0)
    assert evidence - 0.05 < curve[-1] < evidence + 0.005


def test_at_the_optimum_the_elbo_is_the_likelihood_of_pca():
    """W = U(Λ − σ²)^½ of the largest eigenvalues, σ² the mean of the others, and the posterior's σ that of no x."""
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    largest, sigma2 = values[-LATENTS:], np.mean(values[:-LATENTS])
    w = vectors[:, -LATENTS:] * np.sqrt(largest - sigma2)
    to_latents = w / largest
    floor = CONFIG.likelihood.floor
    best = {
        "model": {
            "mu": {"kernel": to_latents, "bias": -X.mean(0) @ to_latents},
            "raw": {"kernel": np.zeros_like(w), "bias": np.log(sigma2 / largest)},
            "outputs": {"kernel": w.T, "bias": X.mean(0)},
        },
        "likelihood": {"log_sigma_above_floor": np.log(np.sqrt(sigma2) - floor)},
    }
    template = step.shapes(PROGRAM).parameters
    best = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), best, template)
    bound, error = elbo(best, 64)
    assert error < 0.02
    assert bound == pytest.approx(log_evidence(best), abs=4 * error)
    assert kl_to_true_posterior(best) == pytest.approx(0, abs=1e-4)
    assert log_evidence(best) == pytest.approx(PCA(LATENTS).fit(X).score(X), abs=1e-3)  # which divides by N − 1
