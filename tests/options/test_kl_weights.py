"""Each KL weight against its closed form or algorithm; every number is an argument of one compiled program."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from vaex import config

CONF = Path(__file__).parents[2] / "conf" / "kl_weight"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
STARTS = {
    "constant": {"beta": 4.0},
    "linear": {"start": 0.2, "beta": 4.0, "epochs": 10.0},
    "cyclical": {"beta": 4.0, "period": 5.0, "ramp": 0.5},
    "capacity": {"weight": 100.0, "capacity": 25.0, "epochs": 10.0},
    "geco": {"target": 240.0, "decay": 0.99, "rate": 1e-4},
    "target_kl": {"target": 10.0, "proportional": 0.01, "integral": 1e-4, "lowest": 0.0, "highest": 100.0},
}
LEARNED = {name: getattr(config.find("kl_weight", name), "LEARNED", ()) for name in NAMES}
CASES = [(name, key) for name, numbers in STARTS.items() for key in numbers if not LEARNED[name]]
TRACED = {
    name: jax.jit(jax.value_and_grad(config.find("kl_weight", name).penalty, argnums=2, has_aux=True)) for name in NAMES
}


def at(name, time, kl=7.0, **numbers):
    """(penalty, applied weight, d penalty / d KL) with every number an argument of the compiled function."""
    known = dict.fromkeys(LEARNED[name], 0.0) | STARTS[name] | numbers
    values = {key: np.float32(value) for key, value in known.items()}
    (penalty, weight), slope = TRACED[name](values, np.float32(time), np.float32(kl))
    return float(penalty), float(weight), float(slope)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_the_yamls_without_free_bits(name):
    plain = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    module = config.find("kl_weight", name)
    values = TypeAdapter(module.Config).validate_python(module.Config(**plain))
    assert plain.pop("free_bits") == 0.0 == values.free_bits
    del plain["name"]
    assert module.numbers(values) == plain
    assert set(plain) == set(STARTS[name])
    assert all(type(number) is float for number in module.numbers(values).values())


@pytest.mark.parametrize(("name", "key"), CASES)
def test_each_number_changes_the_penalty_and_its_gradient(name, key):
    """At a time inside the rise. Of the capacity it is the gradient's sign that moves with C."""
    kl, time = (10.0, 3.0) if name == "capacity" else (7.0, 1.0)
    one, _, slope = at(name, time, kl)
    two, _, other = at(
        name, time, kl, **{key: STARTS[name][key] * (2 if key != "epochs" or name != "capacity" else 0.5)}
    )
    assert one != two
    if name == "capacity" and key != "weight":
        assert np.sign(slope) != np.sign(other)
    else:
        assert slope != other


@pytest.mark.parametrize("name", NAMES)
def test_one_compilation_serves_all_numbers(name):
    at(name, 0.0)
    before = TRACED[name]._cache_size()
    for key in STARTS[name]:
        at(name, 2.0, **{key: 0.0})
    assert TRACED[name]._cache_size() == before


def test_constant_is_beta_times_kl():
    assert at("constant", 3.0, kl=2.0, beta=0.5) == (1.0, 0.5, 0.5)


@pytest.mark.parametrize(("time", "weight"), [(0, 0.2), (2.5, 1.15), (5, 2.1), (10, 4.0), (25, 4.0)])
def test_linear_rises_then_stays(time, weight):
    np.testing.assert_allclose(at("linear", time), (7 * weight, weight, weight), rtol=1e-6)


def test_linear_ends_exactly_on_beta_also_when_it_falls():
    assert at("linear", 0, start=0.3, beta=0.1)[1] == np.float32(0.3)
    assert at("linear", 10, start=0.3, beta=0.1)[1] == np.float32(0.1)


@pytest.mark.parametrize(
    ("time", "share"), [(0, 0), (1, 0.4), (2.5, 1), (4.99, 1), (5, 0), (6.25, 0.5), (10, 0), (12.5, 1)]
)
def test_cyclical_starts_again_each_period(time, share):
    np.testing.assert_allclose(at("cyclical", time), (28 * share, 4 * share, 4 * share), rtol=1e-5)


@pytest.mark.parametrize(("time", "capacity"), [(0, 0), (5, 12.5), (10, 25), (30, 25)])
@pytest.mark.parametrize("kl", [3.0, 30.0])
def test_capacity_is_the_distance_to_what_is_allowed(time, capacity, kl):
    slope = 100 * np.sign(kl - capacity)
    np.testing.assert_allclose(at("capacity", time, kl), (100 * abs(kl - capacity), 100, slope), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [("linear", "epochs", (28, 4, 4)), ("cyclical", "ramp", (28, 4, 4)), ("capacity", "epochs", (1800, 100, -100))],
)
def test_a_length_of_zero_is_the_full_weight_at_once(name, key, expected):
    for time in (0.0, 1.3):
        np.testing.assert_allclose(at(name, time, **{key: 0.0}), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_runs_of_a_pack_have_their_own_numbers(name):
    module = config.find("kl_weight", name)
    pair = {key: jnp.asarray([value, 2 * value], jnp.float32) for key, value in STARTS[name].items()}
    pair |= {key: jnp.zeros(2) for key in LEARNED[name]}
    penalty, _ = jax.vmap(module.penalty, in_axes=(0, None, None))(pair, jnp.float32(1.0), jnp.float32(7.0))
    lone = [at(name, 1.0, **{key: factor * value for key, value in STARTS[name].items()})[0] for factor in (1, 2)]
    np.testing.assert_allclose(penalty, lone, rtol=1e-6)


def learn(name, seen, **numbers):
    """The weight before each of these steps and after the last, as `adapt` makes it of (reconstruction, KL)."""
    module = config.find("kl_weight", name)
    adapt, known = jax.jit(module.adapt), STARTS[name] | numbers
    learned, weights = dict.fromkeys(LEARNED[name], 0.0), []
    for reconstruction, kl in seen:
        weights.append(at(name, 0.0, **known | learned)[1])
        values = {key: np.float32(value) for key, value in (known | learned).items()}
        learned = {key: float(value) for key, value in adapt(values, *np.float32([reconstruction, kl])).items()}
        assert set(learned) == set(LEARNED[name])
    return [*weights, at(name, 0.0, **known | learned)[1]]


def drawn(steps=300):
    """Reconstructions and KLs as a run may have them: from far off to both sides of the targets."""
    noise = np.random.default_rng(0).normal(size=(2, steps))
    fall = np.exp(-np.arange(steps) / 40)
    return np.stack([200 + 340 * fall + 5 * noise[0], np.abs(14 - 14 * fall + 6 * noise[1])], axis=1)


def test_geco_is_the_papers_algorithm():
    """λ by hand in float64, as Rezende & Viola's Algorithm 1 has it; the weight of the KL is 1/λ of the step before."""
    seen, target, decay, rate = drawn(), 230.0, 0.9, 3e-4
    multiplier, average, weights = 1.0, None, [1.0]
    for reconstruction, _ in seen:
        constraint = reconstruction - target
        average = constraint if average is None else decay * average + (1 - decay) * constraint
        multiplier *= np.exp(rate * average)
        weights.append(1 / multiplier)
    assert min(weights) < 0.1
    assert weights[-1] > 1.3 * min(weights)  # it went down, and up again
    np.testing.assert_allclose(learn("geco", seen, target=target, decay=decay, rate=rate), weights, rtol=1e-4)


def test_geco_stays_finite_where_the_target_is_out_of_reach():
    weights = learn("geco", [(500.0, 10.0)] * 50 + [(0.0, 10.0)] * 50, decay=0.0, rate=1.0)
    np.testing.assert_allclose([min(weights), weights[-1]], [1e-4, 1e4], rtol=1e-5)


def test_target_kl_is_the_papers_controller():
    """Shao et al.'s PI controller by hand in float64, from the KL of the step before."""
    seen, target, k_p, k_i, lowest = drawn(), 10.0, 0.5, 0.02, 0.3
    integral, weights = 0.0, [lowest]
    for _, kl in seen:
        error = target - kl
        integral = max(integral - k_i * error, 0.0)
        weights.append(min(max(k_p / (1 + np.exp(error)) + integral + lowest, lowest), 100.0))
    assert max(weights) > 1
    assert weights[20] < weights[-1]
    found = learn("target_kl", seen, target=target, proportional=k_p, integral=k_i, lowest=lowest)
    np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-6)


def test_target_kl_leaves_its_limits_at_once():
    """Held at either end for long, it moves off with the first step that asks for it: no wind-up."""
    numbers = {"proportional": 0.0, "integral": 0.01, "lowest": 0.5, "highest": 2.0}
    up = learn("target_kl", [(0.0, 60.0)] * 50 + [(0.0, 0.0)], **numbers)
    np.testing.assert_allclose(up[-2:], [2.0, 1.9], rtol=1e-5)
    down = learn("target_kl", [(0.0, 0.0)] * 50 + [(0.0, 60.0)], **numbers)
    np.testing.assert_allclose(down[-2:], [0.5, 1.0], rtol=1e-5)


def test_target_kl_refuses_limits_in_the_wrong_order():
    module = config.find("kl_weight", "target_kl")
    with pytest.raises(ValueError, match="lowest must be below highest: lowest=2, highest=1"):
        module.Config(**{"name": "target_kl", "free_bits": 0.0} | STARTS["target_kl"] | {"lowest": 2.0, "highest": 1.0})
