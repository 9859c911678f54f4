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
from vaex.disk import metrics, saved
from vaex.disk.directory import Job, read_manifest
from vaex.disk.metrics import STEP_COLUMNS
from vaex.inspection import equations, proportion, replay
from vaex.inspection.look import Look, Size
from vaex.inspection.replay import Replay


def steps(loss: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(loss, np.float32) for name in STEP_COLUMNS}


def test_the_place_is_where_a_run_was_lost_not_where_it_skipped():
    assert place.of_divergence(steps([1.0, np.nan, 1.0, np.inf, np.nan])) == 4
    assert place.of_divergence(steps([np.nan])) == 1
    assert place.of_divergence(steps([1.0, np.nan, 1.0])) is None
    assert place.of_divergence(steps([])) is None
    assert place.of_largest_spike(steps([5.0, 4.0, 9.0, 4.0, 6.0])) == (3, 4.5)
    assert place.of_largest_spike(steps([5.0, 4.0, 4.0, 3.0])) is None


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
    assert [(cure.overrides[0][-8:], cure.further) for cure in found[5:7]] == [("0.000111", True), ("=3.7e-05", True)]
    assert {each[0] for each in overrides[8:]} == {f"loss={name}" for name in configuration.ours("loss")} - {
        "loss=sigma"
    }
    calm = make("dataset=digits", "training.on_nonfinite=skip", "training.gradient_clip=1")
    assert cures.of(calm, steps([9.0, np.nan]), 2, 12)[0].overrides == ("optimizer.warmup_epochs=1",)


def test_cures_are_of_the_numbers_that_held_there_and_last():
    changes = "[{epoch: 2, optimizer.learning_rate: 0.03, seed: 4}, {epoch: 4, optimizer.learning_rate: 0.5}]"
    config = make("dataset=digits", "training.epochs=5", f"schedule={changes}")
    found = cures.of(config, steps([1.0] * 30), 13, 12)
    (slower,) = [each for each in found if "third" in each.title]
    assert slower.overrides == ("optimizer.learning_rate=0.01", "schedule=[{epoch:2,seed:4}]")
    assert found[0].overrides == ("training.on_nonfinite=skip",)


def test_gradients_are_clipped_at_what_was_usual_before_the_explosion():
    config = make("dataset=digits")
    titles = {cure.title: cure.overrides for cure in cures.of(config, steps([*[3.0] * 20, 5e9, 8e20, np.nan]), 23, 12)}
    assert titles["clip gradients at their norm's 99 %"] == ("training.gradient_clip=3",)
    few = {cure.title: cure.overrides for cure in cures.of(config, steps([2.0, 4.0, 9e9, np.nan]), 4, 12)}
    assert few["clip gradients at the largest norm of 2 steps before"] == ("training.gradient_clip=4",)


def test_where_a_replay_parts_from_the_record_also_where_that_was_0():
    recorded = {name: np.array([0.0, 2.0], np.float32) for name in STEP_COLUMNS}
    again = {name: column.copy() for name, column in recorded.items()}
    found = Replay(*[None] * 2, 0, "", 1, *[None] * 3, again)  # pyright: ignore[reportArgumentType]
    assert replay.differences(found, recorded) == (None, 0.0)
    again["loss"][1] = 3.0
    assert replay.differences(found, recorded) == (2, 0.5)
    again["loss"][0] = 1.0
    assert replay.differences(found, recorded) == (1, float("inf"))


def test_a_power_is_shown_as_it_is():
    def function(x: jnp.ndarray) -> dict[str, jnp.ndarray]:
        return {"square": x**2, "inverse": x**-2, "cube": x**3}

    found = equations.trace(function, jnp.zeros(()))
    shown = [limits.operation(each, [0.5]) for each in found.equations]
    assert sorted(shown) == ["(0.5)^3", "(0.5)^−2", "(0.5)²"]
    poles = [each for each in found.equations if limits._has_pole(each)]
    assert [each.of.params["y"] for each in poles] == [-2]


@pytest.mark.slow
def test_a_finite_step_is_replayed_bit_for_bit_and_looked_into(digits_run: Finished, tmp_path: Path):
    run = shutil.copytree(digits_run.directory, tmp_path / "run")
    line = ("diagnose", "run", "--step", "20", "--out", "found")
    code, text = server().run(*line, cwd=tmp_path)
    assert code == 0, text
    assert text.rstrip().endswith("the step was finite: nothing to cure")
    assert "replayed from the start: bit for bit as recorded, steps 1 to 20" in text  # 20 before it are wanted
    found = json.loads((tmp_path / "found/diagnose.json").read_text())
    recorded = metrics.read_steps(run / "steps.npz")
    assert (found["diverged"], found["first_not_finite"], found["cures"]) == (False, None, None)
    assert sum(found["kl_per_latent"]) == pytest.approx(recorded["kl"][19], rel=1e-5)
    assert found["sizes"]["gradient norm"]["largest"] == pytest.approx(recorded["grad_norm"][19], rel=1e-5)
    assert found["sizes"]["update norm"]["largest"] == pytest.approx(recorded["update_norm"][19], rel=1e-4)
    assert found["sizes"]["sigma"]["largest"] == pytest.approx(recorded["sigma_max"][19], rel=1e-5)
    worst = found["worst_examples"][0]
    assert f"training image {worst['index']} (KL" in text
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"diagnose.json", "diagnose.html", "diagnose.png"}
    assert not list(Path(run).glob("diagnose.*"))
    for wrong, words in ((line, "exists already"), (("diagnose", "run", "--step", "25"), "expected 1 to 24")):
        code, text = server().run(*wrong, cwd=tmp_path)
        assert (code, len(lines_of_error(text)), words in text) == (2, 1, True)


def test_a_replay_sets_out_from_where_enough_steps_lie_before_the_place(digits_run: Finished):
    directory = digits_run.directory
    manifest, config = read_manifest(directory), configuration.parse(saved.read_values(directory / "config.yaml"))
    job = Job(config, directory, "run", resumed=True)
    for epoch, wished, found in ((1, 1, [1]), (2, 1, [1]), (2, 0, []), (3, 3, [2])):
        assert [record["epoch"] for _, record in replay._members(job, manifest, epoch, wished)[1]] == found


def test_a_run_that_did_not_diverge(digits_run: Finished, tmp_path: Path):
    run = shutil.copytree(digits_run.directory, tmp_path / "run")
    code, text = server().run("diagnose", "run", cwd=tmp_path)
    assert code == 0
    assert "run did not diverge: finished, 24 steps, the last one finite" in text
    assert "its loss never rose above the median of the 50 steps before" in text
    assert not list(Path(run).glob("diagnose.*"))
