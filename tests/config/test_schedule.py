"""Numbers that change from an epoch on: what may be said, what it is once parsed, which runs it makes."""

import pytest
import yaml

from tests.support.configurations import make
from vaex.config import dump, identity, parse, schedule
from vaex.disk import saved
from vaex.errors import ConfigError
from vaex.vae import objective

DIGITS = ("dataset=digits", "training.epochs=4", "training.on_nonfinite=skip")

VALUES = {
    "seed": 7,
    "optimizer.learning_rate": 2e-3,
    "optimizer.warmup_epochs": 0.5,
    "training.gradient_clip": 3.0,
    "training.max_skips": 2,
    "training.skip_above": 9.0,
    "kl_weight.beta": 2.0,
    "kl_weight.start": 0.5,
    "kl_weight.epochs": 3.0,
    "kl_weight.free_bits": 0.1,
}


def test_what_may_change_is_an_argument_of_the_program():
    config = make(*DIGITS, "kl_weight=linear")
    assert {*schedule.may_change(config)} == VALUES.keys()
    for key, value in VALUES.items():
        now = schedule.at(make(*DIGITS, "kl_weight=linear", f"schedule=[{{epoch: 3, {key}: {value}}}]"), 3)
        assert objective.program(now, (8, 8, 1)) == objective.program(config, (8, 8, 1)), key
        assert str(objective.hyper(now)) != str(objective.hyper(config)), key


def test_a_change_holds_until_the_next_one():
    changes = "[{epoch: 2, optimizer.learning_rate: 1, seed: 3}, {epoch: 4, optimizer.learning_rate: 0.5}]"
    config = make(*DIGITS, f"schedule={changes}")
    found = [(each.seed, each.optimizer.learning_rate) for each in (schedule.at(config, n) for n in (1, 2, 3, 4))]
    assert found == [(0, 1e-3), (3, 1.0), (3, 1.0), (3, 0.5)]
    assert parse(dump(config)) == config
    assert dump(config)["schedule"][0] == {"epoch": 2, "optimizer.learning_rate": 1.0, "seed": 3}


def test_it_is_written_as_it_is_typed():
    changes = "[{epoch: 2, optimizer.learning_rate: 1e-3, seed: 3}, {epoch: 4, training.gradient_clip: null}]"
    config = make(*DIGITS, f"schedule={changes}")
    assert make(*DIGITS, schedule.written(config.schedule)) == config
    left = schedule.without(config.schedule, {"seed", "training.gradient_clip"})
    assert schedule.written(left) == "schedule=[{epoch:2,optimizer.learning_rate:0.001}]"


def test_a_run_has_another_identity_with_a_schedule_and_its_old_one_without(tmp_path):
    plain, changed = make(*DIGITS), make(*DIGITS, "schedule=[{epoch: 3, seed: 1}]")
    assert len({identity(plain), identity(changed), identity(make(*DIGITS, "schedule=[{epoch: 4, seed: 1}]"))}) == 3
    assert identity(changed) == identity(make(*DIGITS, "schedule=[{epoch: 3, seed: 1}]", "tracking.mode=disabled"))
    old = dump(plain)
    del old["schedule"]  # as a version wrote it that knew none; tests/config/test_config.py has its digests
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert saved.read_saved(tmp_path, []) == plain


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("3", "schedule: expected a list of changes, as [{epoch: 5, seed: 3}], got 3"),
        ("[3]", "schedule[0]: expected an epoch and what changes then, as {epoch: 5, seed: 3}, got 3"),
        ("[{epoch: 2}]", "schedule[0]: expected an epoch and what changes then"),
        ("[{seed: 2}]", "schedule[0].epoch: expected the epoch that begins with the change, got None"),
        ("[{epoch: 1, seed: 2}]", "expected epochs that rise (epoch 1 has what the configuration says elsewhere)"),
        ("[{epoch: 3, seed: 2}, {epoch: 3, seed: 1}]", "schedule[1].epoch: expected epochs that rise (the one before"),
        ("[{epoch: 5, seed: 2}]", "schedule[0].epoch: expected at most training.epochs=4, got 5"),
        ("[{epoch: 2, sed: 2}]", "schedule[0].sed: unknown key; did you mean 'seed'? (may change: seed, optimizer.l"),
        ("[{epoch: 2, model.latent_dim: 2}]", "schedule[0].model.latent_dim: cannot change while a run trains (may"),
        ("[{epoch: 2, loss: sigma}]", "schedule[0].loss: cannot change while a run trains (may change: seed"),
        ("[{epoch: 2, optimizer.learning_rate: -1}]", "schedule[0]: optimizer.learning_rate: expected greater than"),
        ("[{epoch: 2, seed: 1.5}]", "schedule[0]: seed: expected an integer, got 1.5"),
    ],
)
def test_a_mistake_is_one_line(given, said):
    with pytest.raises(ConfigError) as error:
        make(*DIGITS, f"schedule={given}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_changes_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match=r"schedule\[0\]: training: skip_above leaves steps out"):
        make("dataset=digits", "schedule=[{epoch: 2, training.skip_above: 3.0}]")
