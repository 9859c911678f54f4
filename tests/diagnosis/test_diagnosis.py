"""The parts of a diagnosis on known answers, and the verb on a run that has nothing."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import Finished
from tests.support.configurations import make
from tests.support.processes import lines_of_error, server
from vaex import config as configuration
from vaex.diagnosis import cures, limits, place
from vaex.disk.metrics import STEP_COLUMNS
from vaex.inspection import equations, proportion
from vaex.inspection.look import Look, Size


def steps(loss: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(loss, np.float32) for name in STEP_COLUMNS}


def test_the_place_is_where_a_run_was_lost_not_where_it_skipped():
    assert place.of_divergence(steps([1.0, np.nan, 1.0, np.inf, np.nan])) == 4
    assert place.of_divergence(steps([np.nan])) == 1
    assert place.of_divergence(steps([1.0, np.nan, 1.0])) is None
    assert place.of_divergence(steps([])) is None
    assert place.of_largest_spike(steps([5.0, 4.0, 9.0, 4.0, 6.0])) == 3


def test_a_value_is_out_of_proportion_to_the_steps_before_or_to_other_examples():
    def look(largest: float, examples: list[float]) -> Look:
        size = Size(largest, np.array(examples), np.array([0.0, largest]))
        return Look({"raw": size}, {}, {}, (1, 1, 1))

    calm = [look(2.0, [1.0, 2.0, 1.0])] * 5
    assert proportion.first(proportion.all_of(look(2.0, [1.0, 2.0, 1.0]), calm)) is None
    found = proportion.first(proportion.all_of(look(300.0, [1.0, 1.0, 300.0]), calm))
    assert found is not None
    assert (found.of_steps, found.of_examples, found.example, found.unit) == (150.0, 300.0, 2, 1)
    assert proportion.first(proportion.all_of(look(300.0, [290.0, 300.0, 280.0]), [])) is None


def test_a_trace_computes_what_its_function_does_and_knows_layers_and_lines():
    def function(kernel: jnp.ndarray, bias: jnp.ndarray, x: jnp.ndarray) -> dict[str, jnp.ndarray]:
        hidden = jnp.tanh(x @ kernel + bias[None])
        return {"sum": jnp.sum(jnp.log(hidden * hidden))}

    arguments = jnp.ones((3, 2)), jnp.ones(2), jnp.ones((4, 3))
    found = equations.trace(function, *arguments)
    values = found.run(arguments)
    np.testing.assert_array_equal(values[found.names["sum"]], function(*arguments)["sum"])
    (layer,) = equations.layers(found, {0: "dense", 1: "dense"}).values()
    np.testing.assert_array_equal(values[layer], np.full((4, 2), 4.0))
    (log,) = (each for each in found.equations if each.primitive == "log")
    assert log.where is not None
    assert (Path(log.where[0]).name, log.where[2].rpartition(".")[2]) == (Path(__file__).name, "function")
    larger = equations.trace(function, *arguments[:2], jnp.ones((5, 3)))
    assert list(equations.axes(found, larger))[layer] == 0


def test_the_table_of_limits_has_every_loss_that_comes_with_vaex():
    for name in configuration.ours("loss"):
        row = limits.of_loss(make(f"loss={name}"))
        assert row, name
    assert limits.of_loss(make("loss=gamma")) == "a > 88.7; 89; 11.1: the gradient overflows"


def test_cures_change_something_and_come_in_a_stated_order():
    config = make("dataset=digits", "loss=sigma", "precision.posterior=float16")
    found = cures.of(config, steps([*range(1, 101), np.nan]), 101, 12)
    overrides = [cure.overrides for cure in found]
    assert overrides[:5] == [
        ("training.on_nonfinite=skip",),
        ("training.gradient_clip=99",),
        ("precision.posterior=float32",),
        ("optimizer.warmup_epochs=9",),
        ("optimizer.learning_rate=0.000333",),
    ]
    assert {each[0] for each in overrides[6:]} == {f"loss={name}" for name in configuration.ours("loss")} - {
        "loss=sigma"
    }
    calm = make("dataset=digits", "training.on_nonfinite=skip", "training.gradient_clip=1")
    assert cures.of(calm, steps([9.0, np.nan]), 2, 12)[0].overrides == ("optimizer.warmup_epochs=1",)


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that diverged at its first step, in the directory `run`. Read only."""
    folder = tmp_path_factory.mktemp("died")
    scaled = ("loss=log_sigma", "model.head_init_scale=100", "model.hidden=[8]", "model.latent_dim=3")
    shared = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "hydra.run.dir=run")
    assert server().run(*scaled, *shared, cwd=folder)[0] == 1
    return folder


def test_a_step_is_replayed_bit_for_bit_and_looked_into(died: Path):
    code, text = server().run("diagnose", "run", "--no-cures", "--out", "found", cwd=died)
    assert code == 0, text
    found = json.loads((died / "found/diagnose.json").read_text())
    assert found["replay"]["identical"]
    assert (found["term"], found["step"], found["cures"]) == ("kl", 1, None)
    assert found["first_not_finite"]["format"] == "float32"
    assert found["latent"]["raw"] > 44.4, "from there on e^2a is beyond float32 (conf/README.md)"
    assert {path.name for path in (died / "found").iterdir()} == {"diagnose.json", "diagnose.html", "diagnose.png"}
    assert not list((died / "run").glob("diagnose.*"))
    code, text = server().run("diagnose", "run", "--no-cures", "--out", "found", cwd=died)
    assert (code, len(lines_of_error(text))) == (2, 1)
    assert "exists already" in text
    code, text = server().run("diagnose", "run", "--step", "2", cwd=died)
    assert (code, "expected 1 to 1" in text) == (2, True)


def test_a_run_that_did_not_diverge(digits_run: Finished, tmp_path: Path):
    run = shutil.copytree(digits_run.directory, tmp_path / "run")
    code, text = server().run("diagnose", "run", cwd=tmp_path)
    assert code == 0
    assert "run did not diverge: finished, 24 steps, the last one finite" in text
    assert "vaex diagnose run --step" in text
    assert not list(Path(run).glob("diagnose.*"))
