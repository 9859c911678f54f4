"""The train step against a NumPy float64 reference that shares no code with it: forward, backward, update."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kstest

from tests.support.compiling import jit
from tests.support.configurations import make
from vaex.device.compiled import init
from vaex.disk import checkpoint
from vaex.vae import objective, step
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
SHAPE = (8, 8, 1)

train_step = jit(step.train_step, static_argnums=0)
train = jit(step.epoch, static_argnums=0)
evaluate = jit(step.evaluate, static_argnums=0)
gradient = jit(jax.value_and_grad(objective.objective, argnums=2, has_aux=True), static_argnums=0)


def epoch(program: Program, hyper: Hyper, state: TrainState, images: jax.Array) -> Any:
    """The state's next epoch, in its order."""
    steps = -(-len(images) // program.batch_size)
    return train(program, hyper, state, step.order(hyper.seed, state.step // steps, len(images)), images)


def selu(h: np.ndarray) -> np.ndarray:
    return SELU_SCALE * np.where(h > 0, h, SELU_ALPHA * np.expm1(np.minimum(h, 0)))


def selu_slope(h: np.ndarray) -> np.ndarray:
    return SELU_SCALE * np.where(h > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(h, 0)))


class Reference(NamedTuple):
    loss: float
    reconstruction: float
    kl: float
    gradients: dict
    sigma: np.ndarray


def reference(parameters: dict, x: np.ndarray, eps: np.ndarray, beta: float) -> Reference:
    """The objective of the γ model and its gradients, by hand in float64: a two-layer encoder and decoder."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), parameters)
    n = len(x)
    affine = lambda layer, h: h @ layer["kernel"] + layer["bias"]  # noqa: E731
    a1 = affine(p["encoder"][0], x)
    a2 = affine(p["encoder"][1], selu(a1))
    h2 = selu(a2)
    mu, gamma = affine(p["mu"], h2), affine(p["raw"], h2)
    sigma = np.exp(gamma / 2)
    z = mu + sigma * eps
    b1 = affine(p["decoder"][0], z)
    b2 = affine(p["decoder"][1], selu(b1))
    logits = affine(p["outputs"], selu(b2))
    reconstruction = np.sum(np.logaddexp(0, logits) - x * logits) / n
    kl = np.sum(-0.5 * (1 + gamma - np.exp(gamma) - mu**2)) / n

    def back(layer: dict, inputs: np.ndarray, upstream: np.ndarray) -> tuple[dict, np.ndarray]:
        return {"kernel": inputs.T @ upstream, "bias": upstream.sum(0)}, upstream @ layer["kernel"].T

    g = {"encoder": {}, "decoder": {}}
    g["outputs"], d = back(p["outputs"], selu(b2), (expit(logits) - x) / n)
    g["decoder"][1], d = back(p["decoder"][1], selu(b1), d * selu_slope(b2))
    g["decoder"][0], dz = back(p["decoder"][0], z, d * selu_slope(b1))
    g["mu"], d_mu = back(p["mu"], h2, dz + beta * mu / n)
    g["raw"], d_raw = back(p["raw"], h2, dz * eps * sigma / 2 + beta * 0.5 * (np.exp(gamma) - 1) / n)
    g["encoder"][1], d = back(p["encoder"][1], selu(a1), (d_mu + d_raw) * selu_slope(a2))
    g["encoder"][0], _ = back(p["encoder"][0], x, d * selu_slope(a1))
    return Reference(reconstruction + beta * kl, reconstruction, kl, g, sigma)


def setting(*overrides: str) -> tuple:
    config = make("dataset=digits", "model.hidden=[12,9]", "model.latent_dim=3", *overrides)
    program, hyper = objective.program(config, SHAPE), objective.hyper(config)
    return program, hyper, init(program, hyper.seed)


def noise_of(hyper: objective.Hyper, index: int, batch: int, latents: int) -> np.ndarray:
    key = jax.random.fold_in(objective.stream(hyper.seed, objective.NOISE), index)
    return np.asarray(objective.noise(key, batch, latents))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(3).random((n, *SHAPE), np.float32)


def max_difference(one: dict, other: dict) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.max(np.abs(np.asarray(a, np.float64) - b))) for a, b in pairs)


def test_first_step_is_the_reference_step():
    program, hyper, state = setting("kl_weight.beta=0.7")
    x = images(16)
    loss, reconstruction, kl, gradients, sigma = reference(
        state.parameters["model"], x.reshape(16, -1), noise_of(hyper, 0, 16, 3), 0.7
    )
    after, stats = train_step(program, hyper, state, jnp.asarray(x), jnp.ones(16), jnp.float32(0))
    assert float(stats["loss"]) == pytest.approx(loss, rel=1e-6)
    assert float(stats["reconstruction"]) == pytest.approx(reconstruction, rel=1e-6)
    assert float(stats["kl"]) == pytest.approx(kl, rel=1e-5)
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradients)))
    assert float(stats["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    for name in ("min", "max", "mean"):
        assert float(stats[f"sigma_{name}"]) == pytest.approx(getattr(np, name)(sigma), rel=1e-5)
    # RMSprop of Keras: ν = 0.1·g², update −0.001·g/(√ν + 1e-7)
    expected = jax.tree.map(
        lambda p, g: np.asarray(p, np.float64) - 1e-3 * g / (np.sqrt(0.1 * g**2) + 1e-7),
        state.parameters["model"],
        gradients,
    )
    # where |g| is near the ε of 1e-7 float32 decides the sign of the update: compare the others
    clear = jax.tree.map(lambda g: np.abs(g) > 1e-4, gradients)
    for got, want, sure in zip(*map(jax.tree.leaves, (after.parameters["model"], expected, clear)), strict=True):
        assert np.max(np.abs(np.asarray(got, np.float64) - want)[sure], initial=0) < 2e-6


def test_partial_batch_counts_each_example_once():
    """A batch filled up with weight-0 copies has the loss and gradient of its own examples alone."""
    program, hyper, state = setting()
    x = images(8)
    filled = np.concatenate([x[:5], np.repeat(x[:1], 3, axis=0)])
    weights = jnp.asarray([1.0] * 5 + [0.0] * 3)
    eps = noise_of(hyper, 0, 8, 3)[:5]
    loss, _, _, gradients, _ = reference(state.parameters["model"], x[:5].reshape(5, -1), eps, 1.0)
    _, stats = train_step(program, hyper, state, jnp.asarray(filled), weights, jnp.float32(0))
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradients)))
    assert float(stats["loss"]) == pytest.approx(loss, rel=1e-6)
    assert float(stats["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    assert float(stats["examples"]) == 5


def test_epoch_visits_every_row_once_and_counts_it():
    program, hyper, state = setting("training.batch_size=16")
    n = 50
    rows, weights = step.batches(jnp.arange(n), 16)
    assert rows.shape == (4, 16)
    assert sorted(np.asarray(rows)[np.asarray(weights) > 0]) == list(range(n))
    _, stats = epoch(program, hyper, state, jnp.asarray(images(n)))
    assert np.asarray(stats["examples"]).tolist() == [16, 16, 16, 2]


def test_order_and_noise_differ_between_epochs_and_seeds():
    program, hyper, state = setting("training.batch_size=16")
    x = jnp.asarray(images(40))
    after, first = epoch(program, hyper, state, x)
    _, second = epoch(program, hyper, state._replace(step=after.step), x)
    _, other = epoch(program, hyper._replace(seed=jnp.uint32(1)), state, x)
    assert float(first["loss"][0]) != float(second["loss"][0])
    assert float(first["loss"][0]) != float(other["loss"][0])


def test_same_seed_same_luck_whatever_the_loss():
    """Initial weights, order and noise depend on the seed alone: the first batch's μ is the same for every loss."""
    states = [setting(f"loss={name}")[2] for name in ("gamma", "sigma", "softplus")]
    for other in states[1:]:
        assert max_difference(states[0].parameters, other.parameters) == 0


def test_the_noise_is_standard_normal_and_another_at_every_step():
    program, hyper, state = setting()
    drawn = noise_of(hyper, 0, 20_000, 5)
    assert kstest(drawn.ravel(), "norm").pvalue > 1e-3
    assert np.max(np.abs(np.corrcoef(drawn.T) - np.eye(5))) < 0.03
    x, weights = images(16), jnp.ones(16)
    after, _ = train_step(program, hyper, state, jnp.asarray(x), weights, jnp.float32(0))
    _, stats = train_step(program, hyper, after, jnp.asarray(x), weights, jnp.float32(0))
    expected = reference(after.parameters["model"], x.reshape(16, -1), noise_of(hyper, 1, 16, 3), 1.0)
    assert float(stats["loss"]) == pytest.approx(expected.loss, rel=1e-6)


def test_a_copy_that_fills_a_batch_up_cannot_make_it_infinite(monkeypatch: pytest.MonkeyPatch):
    """It weighs nothing, but 0 times infinity is NaN: what it draws must not count."""
    program, hyper, state = setting()
    drawn = objective.noise

    def bad_luck(key: jax.Array, batch: int, latents: int) -> jax.Array:
        return drawn(key, batch, latents).at[5:].set(jnp.inf)

    monkeypatch.setattr(objective, "noise", bad_luck)
    x = images(8)
    filled = jnp.asarray(np.concatenate([x[:5], np.repeat(x[:1], 3, axis=0)]))
    weights = jnp.asarray([1.0] * 5 + [0.0] * 3)
    unlucky = jit(lambda *given: step.train_step(program, *given))  # another function, so that it is traced anew
    after, stats = unlucky(hyper, state, filled, weights, jnp.float32(0))
    assert np.isfinite(stats["loss"])
    assert bool(stats["applied"])
    assert int(after.first_nonfinite) == 0


def test_first_latents_do_not_depend_on_how_many_follow():
    key = jax.random.key(5)
    assert np.array_equal(objective.noise(key, 7, 3), objective.noise(key, 7, 10)[:, :3])


def test_time_within_an_epoch_is_the_share_of_its_steps():
    """Warm-up of the KL weight over two epochs and of the learning rate over one, of three steps each."""
    warm = ("kl_weight=linear", "kl_weight.epochs=2", "optimizer.warmup_epochs=1", "optimizer.learning_rate=0.002")
    program, hyper, state = setting("training.batch_size=16", *warm)
    x = jnp.asarray(images(40))
    state, first = epoch(program, hyper, state, x)
    _, second = epoch(program, hyper, state, x)
    time = np.arange(6) / 3
    weights = np.concatenate([first["kl_weight"], second["kl_weight"]])
    rates = np.concatenate([first["learning_rate"], second["learning_rate"]])
    np.testing.assert_allclose(weights, time / 2, rtol=1e-6)
    np.testing.assert_allclose(rates, 0.002 * np.minimum(time, 1), rtol=1e-6)


def test_scan_is_the_loop():
    program, hyper, state = setting("training.batch_size=16")
    x = jnp.asarray(images(40))
    scanned, stats = epoch(program, hyper, state, x)
    order = jax.random.permutation(jax.random.fold_in(objective.stream(hyper.seed, objective.ORDER), 0), 40)
    rows, weights = step.batches(order, 16)
    looped, losses = state, []
    for index in range(3):
        looped, values = train_step(program, hyper, looped, x[rows[index]], weights[index], jnp.float32(index / 3))
        losses.append(float(values["loss"]))
    np.testing.assert_allclose(np.asarray(stats["loss"]), losses, rtol=1e-6)
    assert max_difference(scanned.parameters, looped.parameters) < 1e-5


def test_gradient_clip_bounds_the_update():
    program, hyper, state = setting("optimizer=sgd", "optimizer.momentum=0.0", "optimizer.learning_rate=0.5")
    x, weights, zero = jnp.asarray(images(16)), jnp.ones(16), jnp.float32(0)
    _, free = train_step(program, hyper, state, x, weights, zero)
    clipped = hyper._replace(gradient_clip=jnp.float32(0.25))
    _, held = train_step(program, clipped, state, x, weights, zero)
    assert float(free["update_norm"]) == pytest.approx(0.5 * float(free["grad_norm"]), rel=1e-5)
    assert float(held["grad_norm"]) == float(free["grad_norm"])  # measured before clipping
    assert float(held["update_norm"]) == pytest.approx(0.5 * 0.25, rel=1e-5)


def test_free_bits_stop_the_gradient_of_latents_below_them():
    program, hyper, state = setting()
    x, weights = jnp.asarray(images(16)), jnp.ones(16)
    keys = jax.random.key(0), jax.random.key(1)

    def loss(free: float) -> tuple:
        numbers = hyper._replace(free_bits=jnp.float32(free))
        return gradient(program, numbers, state.parameters, x, weights, keys, jnp.float32(0))

    (without, terms), _ = loss(0.0)
    (high, _), gradients = loss(50.0)
    kl = np.asarray(terms.kl_per_latent)
    assert float(high) == pytest.approx(float(without) - kl.sum() + 3 * 50.0, rel=1e-6)
    (none, _), bare = gradient(
        program,
        hyper._replace(kl_weight={"beta": jnp.float32(0)}),
        state.parameters, x, weights, keys, jnp.float32(0),
    )  # fmt: skip
    assert float(none) == pytest.approx(float(terms.reconstruction), rel=1e-6)
    assert max_difference(gradients, bare) < 1e-6


def poisoned(at: int, n: int = 64) -> jnp.ndarray:
    """Images of which one example is not finite, so that one batch of an epoch is."""
    x = images(n)
    x[at] = np.nan
    return jnp.asarray(x)


def test_record_freezes_at_the_last_finite_step():
    program, hyper, state = setting("training.batch_size=16")
    after, stats = epoch(program, hyper, state, poisoned(40))
    bad = int(np.flatnonzero(~np.isfinite(stats["loss"]))[0])
    assert bool(after.frozen)
    assert int(after.first_nonfinite) == bad + 1
    assert int(after.step) == bad + 1
    assert np.asarray(stats["taken"]).tolist() == [True] * (bad + 1) + [False] * (3 - bad)
    clean, _ = epoch(program, hyper, state, jnp.asarray(images(64)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.parameters))
    if bad == 0:
        assert max_difference(after.parameters, state.parameters) == 0
    assert max_difference(after.parameters, clean.parameters) > 0


def test_skip_goes_on_and_gives_up_after_max_skips():
    program, hyper, state = setting("training.batch_size=16", "training.on_nonfinite=skip", "training.max_skips=1")
    after, stats = epoch(program, hyper, state, poisoned(40))
    assert not bool(after.frozen)
    assert np.asarray(stats["applied"]).sum() == 3
    assert int(after.step) == 4
    assert int(after.first_nonfinite) > 0
    gone, stats = epoch(program, hyper, state, jnp.full((64, *SHAPE), jnp.nan))
    assert bool(gone.frozen)
    assert int(gone.step) == 2  # one skip allowed, the second in a row ends it
    assert max_difference(gone.parameters, state.parameters) == 0


SKIP = ("training.batch_size=16", "training.on_nonfinite=skip")


def test_steps_above_a_gradient_norm_are_left_out_and_are_no_event():
    """The largest of an epoch, left out, changes nothing but what comes after it."""
    program, hyper, state = setting(*SKIP)
    free, stats = epoch(program, hyper, state, jnp.asarray(images(64)))
    norms = np.asarray(stats["grad_norm"])
    assert norms.argmax() == 0
    held, kept = epoch(program, hyper._replace(skip_above=norms.max()), state, jnp.asarray(images(64)))
    assert max_difference(held.parameters, free.parameters) == 0  # above, not at
    threshold = jnp.float32((norms[0] + np.sort(norms)[-2]) / 2)
    after, stats = epoch(program, hyper._replace(skip_above=threshold), state, jnp.asarray(images(64)))
    assert np.asarray(stats["applied"]).tolist() == (np.asarray(stats["grad_norm"]) <= threshold).tolist()
    assert np.asarray(stats["applied"]).tolist()[0] is False
    assert (int(after.step), int(after.first_nonfinite), int(after.culprit), bool(after.frozen)) == (4, 0, 0, False)
    assert np.asarray(kept["applied"]).all()


def test_too_many_steps_above_a_gradient_norm_end_the_run_with_nothing_that_was_not_finite():
    program, hyper, state = setting(*SKIP, "training.max_skips=1", "training.skip_above=1e-3")
    after, stats = epoch(program, hyper, state, jnp.asarray(images(64)))
    assert np.asarray(stats["taken"]).tolist() == [True, True, False, False]
    assert np.asarray(stats["diverged"]).tolist() == [False, True, False, False]
    assert (int(after.first_nonfinite), step.CULPRITS[int(after.culprit)]) == (0, "skip_above")
    assert max_difference(after.parameters, state.parameters) == 0
    dead, _ = epoch(program, hyper, state, jnp.full((64, *SHAPE), jnp.nan))
    assert (int(dead.first_nonfinite), step.CULPRITS[int(dead.culprit)]) == (1, "kl")  # that comes first


def test_a_run_that_got_over_a_kl_and_ended_above_a_gradient_norm_ended_at_that():
    program, hyper, state = setting(*SKIP, "training.max_skips=0", "training.skip_above=1e-3")
    state = state._replace(first_nonfinite=jnp.int32(3), culprit=jnp.int32(1))
    after, _ = epoch(program, hyper, state, jnp.asarray(images(64)))
    assert (int(after.first_nonfinite), step.CULPRITS[int(after.culprit)]) == (3, "skip_above")
    again, _ = epoch(program, hyper, after._replace(culprit=jnp.int32(1)), jnp.asarray(images(64)))
    assert int(again.culprit) == 1  # it has ended: nothing more is noted


def test_a_weight_that_learns_does_so_from_the_steps_that_were_applied():
    """1/λ of Rezende & Viola's algorithm over the reconstructions of an epoch, less that of the step left out."""
    program, hyper, state = setting(*SKIP, "kl_weight=geco", "kl_weight.target=30", "kl_weight.rate=0.01")
    assert set(state.kl_weight) == {"average", "log_lambda", "updates"}
    after, stats = epoch(program, hyper, state, poisoned(40))
    reconstructions = np.asarray(stats["reconstruction"], np.float64)
    applied, log_lambda, average, weights = np.isfinite(reconstructions), 0.0, None, []
    for reconstruction, good in zip(reconstructions, applied, strict=True):
        weights.append(np.exp(-log_lambda))
        if good:
            average = reconstruction - 30 if average is None else 0.99 * average + 0.01 * (reconstruction - 30)
            log_lambda += 0.01 * average
    assert applied.sum() == 3
    np.testing.assert_allclose(stats["kl_weight"], weights, rtol=1e-5)
    assert float(after.kl_weight["updates"]) == 3
    saved = checkpoint.flatten(after)
    assert {name for name in saved if name.startswith("kl_weight")} == {f"kl_weight.{key}" for key in state.kl_weight}
    assert not any(name.startswith("kl_weight") for name in checkpoint.flatten(setting()[2]))  # as it always was
    loaded = checkpoint.unflatten(step.shapes(program), saved, Path("epoch_000001.ckpt"))
    assert float(loaded.kl_weight["log_lambda"]) == float(after.kl_weight["log_lambda"])
    numbers, x = step.weighed(hyper, after), jnp.asarray(images(20))
    means = evaluate(program, numbers, after.parameters, x, np.array([0, 20]), jnp.float32(0))
    charged = np.exp(-log_lambda) * np.asarray(means["kl_per_latent"]).sum()
    assert float(means["loss"] - means["reconstruction"]) == pytest.approx(charged, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "culprit"),
    [
        (("loss=sigma", "loss.bias_init=1e30"), "kl"),  # σ² overflows
        (("optimizer.learning_rate=1e30",), "update"),  # the norm of the update it asks for overflows
    ],
)
def test_culprit(overrides: tuple[str, ...], culprit: str):
    program, hyper, state = setting("training.batch_size=16", *overrides)
    after, _ = epoch(program, hyper, state, jnp.asarray(images(64)))
    assert step.CULPRITS[int(after.culprit)] == culprit


def test_culprits_are_told_apart():
    """Each flag alone names its own culprit, and the first of several counts."""
    _, _, state = setting()
    yes, no = jnp.bool_(True), jnp.bool_(False)
    cases = {
        "kl": [no, yes, yes, yes],
        "reconstruction": [yes, no, no, no],
        "gradient": [yes, yes, no, yes],
        "update": [yes, yes, yes, no],
    }
    for name, flags in cases.items():
        after, applied = step.advance(state, state, flags, yes, jnp.int32(0))
        assert step.CULPRITS[int(after.culprit)] == name
        assert not bool(applied)


def test_evaluation_is_the_weighted_mean_and_repeats():
    """Over rows that the batch size does not divide, among others; by hand from each example's own batch."""
    program, hyper, state = setting("training.batch_size=16")
    both = jnp.asarray(images(55))
    means = evaluate(program, hyper, state.parameters, both, np.array([11, 48]), jnp.float32(0))
    again = evaluate(program, hyper, state.parameters, both, np.array([11, 48]), jnp.float32(0))
    x = both[11:48]
    total = 0.0
    for index, start in enumerate(range(0, 37, 16)):
        batch = np.asarray(x[start : start + 16]).reshape(-1, 64)
        key = jax.random.fold_in(objective.stream(hyper.seed, objective.EVALUATION), index)
        eps = np.asarray(objective.noise(jax.random.fold_in(key, 0), 16, 3))[: len(batch)]
        total += reference(state.parameters["model"], batch, eps, 1.0).loss * len(batch)
    assert float(means["loss"]) == pytest.approx(total / 37, rel=1e-6)
    assert float(means["reconstruction"] + means["kl_per_latent"].sum()) == pytest.approx(total / 37, rel=1e-6)
    assert float(again["loss"]) == float(means["loss"])


def test_uint8_images_are_their_value_over_255():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(objective.as_float(jnp.asarray(pixels)), np.arange(256) / 255, rtol=1e-6)


def test_parameters_stay_float32_in_low_precision():
    program, hyper, state = setting("precision.network=bfloat16", "precision.posterior=float16")
    after, stats = train_step(program, hyper, state, jnp.asarray(images(16)), jnp.ones(16), jnp.float32(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(after.parameters)} == {jnp.dtype("float32")}
    assert stats["loss"].dtype == jnp.float32


def test_init_is_the_same_compiled_or_not():
    program, hyper, state = setting()
    assert max_difference(step.init(program, hyper.seed).parameters, state.parameters) < 1e-7


def test_programs_that_begin_alike_share_a_compilation_and_begin_as_they_would_alone():
    """All of a loss but the first bias of its head is left out; model, precision, likelihood and optimizer are not."""

    def beginning(*overrides: str) -> Program:
        return step.beginning(objective.program(make("dataset=digits", *overrides), SHAPE))

    alike = {beginning(f"loss={name}") for name in ("gamma", "log_sigma", "softplus")}
    assert alike == {beginning("training.batch_size=7", "kl_weight=linear", "optimizer.learning_rate=1")}
    others = ("loss=sigma", "loss.bias_init=1"), ("optimizer=adam",), ("likelihood=gaussian",), ("model.hidden=[3]",)
    others += (("kl_weight=geco",),)
    assert len(alike | {beginning(*overrides) for overrides in others}) == 1 + len(others)
    program = objective.program(make("dataset=digits", "loss=sigma", "loss.bias_init=1"), SHAPE)
    alone, shared = jit(step.init, static_argnums=0)(program, jnp.uint32(3)), init(program, jnp.uint32(3))
    assert jax.tree.all(jax.tree.map(np.array_equal, alone, shared))
    assert np.all(np.asarray(shared.parameters["model"]["raw"]["bias"]) == 1)
