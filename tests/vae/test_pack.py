"""Vmapped packs against lone runs: padding that is exactly nothing, neighbours that do not notice each other."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.compiling import jit
from tests.support.configurations import make
from vaex import config as configuration
from vaex.device.compiled import init
from vaex.errors import InputError
from vaex.vae import objective, pack, step
from vaex.vae.objective import Hyper, Program
from vaex.vae.step import TrainState

SHAPE = (8, 8, 1)
BASE = ("dataset=digits", "model.hidden=[16]", "training.batch_size=32")
IMAGES = np.random.default_rng(1).random((5 * 32 - 7, *SHAPE), np.float32)

lone_train = jit(step.epoch, static_argnums=0)
pack_train = jit(pack.epoch, static_argnums=0)
pack_evaluate = jit(pack.evaluate, static_argnums=0)

MIXED = (
    ("model.latent_dim=3", "loss=gamma", "seed=1"),
    ("model.latent_dim=5", "loss=softplus", "seed=1", "optimizer.learning_rate=3e-3"),
    ("model.latent_dim=2", "loss=sigma", "loss.bias_init=1.0", "kl_weight.beta=0.5", "kl_weight.free_bits=0.02"),
    ("model.latent_dim=5", "loss=gamma_clamped", "seed=7", "training.gradient_clip=10.0"),
)


def lone_epoch(program: Program, hyper: Hyper, state: TrainState) -> Any:
    """The first epoch of a run alone."""
    return lone_train(program, hyper, state, step.order(hyper.seed, jnp.int32(0), len(IMAGES)), IMAGES)


def pack_epoch(merged: Program, hyper: Hyper, state: TrainState) -> Any:
    """The next epoch of a pack."""
    order = pack.order(hyper.seed, state.step // 5, len(IMAGES))
    return pack_train(merged, hyper, state, order, IMAGES)


def lone(*overrides: str) -> tuple[Program, Hyper, TrainState]:
    config = make(*BASE, *overrides)
    program, hyper = objective.program(config, SHAPE), objective.hyper(config)
    return program, hyper, init(program, hyper.seed)


def stacked(runs: list[tuple[Program, Hyper, TrainState]]) -> tuple[Program, Hyper, TrainState]:
    programs, hypers, states = zip(*runs, strict=True)
    merged = pack.merge(programs)
    return merged, pack.stack_hypers(merged, programs, hypers), pack.stack(merged, states)


@functools.cache
def after_an_epoch(optimizer: str) -> tuple[Any, ...]:
    runs = [lone(f"optimizer={optimizer}", *overrides) for overrides in MIXED]
    merged, hyper, state = stacked(runs)
    return runs, merged, hyper, *pack_epoch(merged, hyper, state)


@pytest.mark.parametrize("optimizer", ["rmsprop", pytest.param("adamw", marks=pytest.mark.slow)])
def test_padded_weights_stay_exactly_zero(optimizer: str):
    runs, merged, _, state, _ = after_an_epoch(optimizer)
    padded = 0
    for index, (program, _, _) in enumerate(runs):
        own = jax.tree.leaves(step.shapes(program))
        for leaf, like in zip(jax.tree.leaves(state), own, strict=True):
            rest = np.array(leaf[index])
            rest[tuple(map(slice, like.shape))] = 0
            assert not np.any(rest)
            padded += rest.size - int(np.prod(like.shape))
    assert padded > 0
    assert merged.padded


def test_a_lane_follows_the_lone_run():
    """The first step to 1e-6, five to 1e-5, every statistic of it; beyond that training is chaotic."""
    runs, _, _, _, steps = after_an_epoch("rmsprop")
    for index, (program, hyper, state) in enumerate(runs):
        _, alone = lone_epoch(program, hyper, state)
        assert set(alone) == set(steps)
        for name, values in alone.items():
            np.testing.assert_allclose(steps[name][index][0], values[0], rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(steps["loss"][index][:5], alone["loss"][:5], rtol=1e-5)


def test_evaluation_of_a_lane_is_that_of_the_lone_run():
    runs = [lone(*overrides) for overrides in MIXED]
    merged, hyper, state = stacked(runs)
    rows = np.array([3, len(IMAGES)])
    together = pack_evaluate(merged, hyper, state.parameters, IMAGES, rows, np.zeros(len(runs), np.float32))
    for index, (program, own, alone) in enumerate(runs):
        means = jit(step.evaluate, static_argnums=0)(program, own, alone.parameters, IMAGES, rows, np.float32(0))
        latents = program.model.latent_dim
        for name in ("loss", "reconstruction"):
            np.testing.assert_allclose(together[name][index], means[name], rtol=1e-6)
        np.testing.assert_allclose(together["kl_per_latent"][index][:latents], means["kl_per_latent"], rtol=2e-5)
        assert not np.any(together["kl_per_latent"][index][latents:])


def test_a_state_comes_out_as_it_went_in():
    runs = [lone(*overrides) for overrides in MIXED]
    _, _, state = stacked(runs)
    for index, (program, _, alone) in enumerate(runs):
        out = pack.unstack(program, state, index)
        for before, after in zip(jax.tree.leaves(alone), jax.tree.leaves(out), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_lanes_to_spare_stand_still_and_their_neighbours_are_what_they_were():
    runs = [lone(*overrides) for overrides in MIXED[:3]]
    programs, hypers, states = zip(*runs, strict=True)
    merged, hyper = pack.joined(programs, hypers, lanes=4, latents=8)
    state, steps = pack_epoch(merged, hyper, pack.stack(merged, states, lanes=4))
    _, alone = pack_epoch(*stacked(runs))
    for name, values in alone.items():
        np.testing.assert_allclose(steps[name][:3, 0], values[:, 0], rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(steps["loss"][:3, :5], alone["loss"][:, :5], rtol=1e-5)
    assert np.asarray(state.step).tolist() == [5, 5, 5, 0]
    stood = pack.unstack(programs[0], state, 3)
    for before, after in zip(jax.tree.leaves(states[0].parameters), jax.tree.leaves(stood.parameters), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_diverged_lane_freezes_and_its_neighbours_do_not_notice():
    rates = ("1e-3", "1e30")
    outcomes = []
    for rate in rates:
        runs = [lone(*MIXED[0]), lone(*MIXED[1][:3], f"optimizer.learning_rate={rate}"), lone(*MIXED[3])]
        merged, hyper, state = stacked(runs)
        for _ in range(2):
            state, steps = pack_epoch(merged, hyper, state)
        outcomes.append((state, steps))
    (sound, sound_steps), (broken, broken_steps) = outcomes
    assert np.asarray(broken.frozen).tolist() == [False, True, False]
    assert np.asarray(sound.frozen).tolist() == [False, False, False]
    assert int(broken.first_nonfinite[1]) == int(broken.step[1]) < 10
    for one, other in ((sound, broken), (sound_steps, broken_steps)):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(np.asarray(a)[[0, 2]], np.asarray(b)[[0, 2]])
    frozen = pack.unstack(lone(*MIXED[1])[0], broken, 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(frozen.parameters))


def test_the_gradient_of_a_loss_that_is_not_chosen_does_not_leak():
    """At a raw output of 200 e^γ is infinite: under vmap both branches are computed, and only one may count."""
    program = objective.program(make(*BASE, "model.latent_dim=2"), SHAPE)
    other = objective.program(make(*BASE, "model.latent_dim=2", "loss=softplus"), SHAPE)
    merged = pack.merge([program, other])
    parameters = init(program, jnp.uint32(0)).parameters
    parameters["model"]["raw"]["bias"] = jnp.full(2, 200.0)
    hypers = [objective.hyper(make(*BASE, "model.latent_dim=2", f"loss={name}")) for name in ("gamma", "softplus")]
    hyper = pack.stack_hypers(merged, [program, other], hypers)

    def gradient(own: Hyper) -> Any:
        keys = (jax.random.key(0), jax.random.key(1))
        loss = functools.partial(objective.objective, merged, own)
        return jax.grad(lambda p: loss(p, jnp.asarray(IMAGES[:4]), jnp.ones(4), keys, jnp.float32(0))[0])(parameters)

    gradients = jit(jax.vmap(gradient))(hyper)
    finite = [all(np.isfinite(leaf[lane]).all() for leaf in jax.tree.leaves(gradients)) for lane in (0, 1)]
    assert finite == [False, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("seed=1",), ("seed=2",), True),
        (("model.latent_dim=2",), ("model.latent_dim=9",), True),
        (("loss=gamma",), ("loss=sigma",), True),
        (("optimizer.learning_rate=1e-3",), ("optimizer.learning_rate=1e-2",), True),
        (("kl_weight.beta=1.0",), ("kl_weight.beta=2.0",), True),
        (("training.gradient_clip=1.0",), (), True),
        (("kl_weight=geco",), ("kl_weight=geco", "kl_weight.target=100"), True),
        (("training.on_nonfinite=skip", "training.skip_above=9"), ("training.on_nonfinite=skip",), True),
        (("loss=softplus",), ("loss=softplus", "loss.sharpness=2"), True),
        (("kl_weight=linear",), (), False),
        (("training.epochs=3",), (), False),
        (("checkpoint.every=3",), (), False),
        (("training.batch_size=16",), (), False),
        (("model.hidden=[8]",), (), False),
        (("optimizer.decay=0.5",), (), False),
        (("precision.network=bfloat16",), (), False),
        (("dataset.limit=100",), (), False),
        (("optimizer.epsilon=0.0", "model.latent_dim=2"), ("optimizer.epsilon=0.0", "model.latent_dim=3"), False),
    ],
)
def test_which_runs_share_a_pack(one: tuple[str, ...], other: tuple[str, ...], same: bool):
    configs = [make(*BASE, *overrides) for overrides in (one, other)]
    keys = [pack.shared(objective.program(config, SHAPE), config) for config in configs]
    assert (keys[0] == keys[1]) is same


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("seed=1", True),
        ("optimizer.learning_rate=0.01", True),
        ("optimizer.schedule=cosine", True),
        ("optimizer.warmup_epochs=2", True),
        ("kl_weight.beta=2.0", True),
        ("kl_weight.free_bits=1.0", True),
        ("training.gradient_clip=1.0", True),
        ("training.on_nonfinite=skip", True),
        ("training.max_skips=3", True),
        ("kl_weight=target_kl", False),
        ("training.epochs=3", True),
        ("checkpoint.every=2", True),
        ("model.latent_dim=2", False),
        ("loss=sigma", False),
        ("likelihood=gaussian", False),
        ("kl_weight=linear", False),
        ("training.batch_size=16", False),
        ("precision.network=bfloat16", False),
    ],
)
def test_which_runs_share_a_program_on_a_cpu(override: str, same: bool):
    programs = [objective.program(make(*BASE, *overrides), SHAPE) for overrides in ((), (override,))]
    assert (programs[0] == programs[1]) is same


def test_a_manifest_describes_a_pack_from_which_it_is_rebuilt():
    configs = [make(*BASE, *overrides) for overrides in MIXED]
    for index, config in enumerate(configs):
        record = {"index": index} | pack.describe(configs)
        rebuilt = pack.described(record, configuration.dump(config))
        assert [configuration.parse(plain) for plain in rebuilt] == configs
    sharper = make(
        *BASE, "loss=softplus", "loss.sharpness=2.0", "training.on_nonfinite=skip", "training.skip_above=9.0"
    )
    mixed = [configs[0], sharper, make(*BASE, "loss=softplus", "training.on_nonfinite=skip")]
    rebuilt = pack.described({"index": 1} | pack.describe(mixed), configuration.dump(sharper))
    assert [configuration.parse(plain) for plain in rebuilt] == mixed  # which an older version would have written so
    damaged = ({"differ": {"seed": [1]}}, {"runs": 10**9, "differ": {}}, {"index": 4}, {"index": -1}, {"differ": 3})
    for damage in damaged:
        with pytest.raises(InputError, match="cannot be rebuilt"):
            pack.described(record | damage, configuration.dump(configs[0]))
