"""`sweep.stop` on a command line, in saved runs, and what it cannot be asked."""

from pathlib import Path

import pytest

from tests.conftest import DIGITS
from tests.support.configurations import make
from tests.support.processes import lines_of_error, server
from vaex import config as configuration
from vaex.api.training import compose as compose_one
from vaex.commands import train
from vaex.config import compose, expect
from vaex.disk import saved
from vaex.errors import ConfigError
from vaex.stopping import refusals

WRONG = {
    "sweep.stop=ashes": "sweep.stop.rule: expected 'none', 'asha', 'median' or 'hyperband', got",
    "sweep.stop.factor=1": "sweep.stop.factor: expected greater than or equal to 2, got 1",
    "sweep.stop.min_epochs=0": "sweep.stop.min_epochs: expected greater than or equal to 1, got 0",
    "sweep.stop.patience=0": "sweep.stop.patience: expected greater than or equal to 1, got 0",
    "sweep.stop.rules=asha": "sweep.stop.rules: unknown key",
}
UNFIT = {
    ("sweep.stop.min_epochs=2",): "fewer than training.epochs=2, got 2: nothing is left to stop",
    ("sweep.stop.metric=valid/elb",): "that is better high or better low.*got 'valid/elb'; did you mean 'valid/elbo'",
    ("sweep.stop.metric=valid/kl",): "better high or better low",
    ("sweep.stop.metric=test/elbo",): "better high or better low",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_values_are_one_line(override: str):
    with pytest.raises(ConfigError) as refused:
        make(*DIGITS, override)
    assert str(refused.value).startswith(WRONG[override])


@pytest.mark.parametrize("overrides", UNFIT)
def test_a_sweep_that_cannot_be_stopped_so_is_refused(overrides: tuple[str, ...]):
    with pytest.raises(ConfigError, match=UNFIT[overrides]):
        refusals.check([make(*DIGITS, "sweep.stop=asha", *overrides)])
    refusals.check([make(*DIGITS, *overrides)])  # nobody is stopped: nothing is wrong


def test_one_rule_for_all_jobs_and_none_for_a_run_alone():
    with pytest.raises(ConfigError, match="of the whole sweep"):
        refusals.check([make(*DIGITS, "sweep.stop=asha"), make(*DIGITS)])
    with pytest.raises(ConfigError, match="only the jobs of a sweep"):
        refusals.check_lone(make(*DIGITS, "sweep.stop.patience=3"))
    with pytest.raises(ConfigError, match=r"by hydra/launcher=packed only, not by basic"):
        train.composed(["-m", *DIGITS, "sweep.stop=asha", "seed=0,1", "hydra/launcher=basic"], checked=False)


def test_hyperband_needs_one_length_of_runs_and_nobody_searches_its_rule():
    jobs = [make(*DIGITS, "sweep.stop=hyperband", f"training.epochs={epochs}") for epochs in (4, 9)]
    with pytest.raises(ConfigError, match=r"one training.epochs for all jobs, got 4 to 9"):
        refusals.check(jobs)
    with pytest.raises(ConfigError, match=r"training.epochs: cannot be searched with sweep.stop=hyperband"):
        refusals.check_search(jobs[0], ["loss", "training.epochs"])
    for key in ("sweep.stop", "sweep.stop.factor"):
        with pytest.raises(ConfigError, match=rf"^{key}: cannot be searched"):
            refusals.check_search(make(*DIGITS), [key])
    refusals.check_search(make(*DIGITS, "sweep.stop=asha"), ["training.epochs"])


def test_a_command_line_is_refused_before_anything_is_made(tmp_path: Path):
    for arguments, said in (
        (("sweep.stop=asha",), "only the jobs of a sweep"),
        (("-m", "seed=0,1", "sweep.stop=asha,median"), "of the whole sweep"),
        (("-m", "seed=0,1", "sweep.stop=asha", "training.epochs=1"), "nothing is left to stop"),
        (("-m", "hydra/sweeper=optuna", "sweep.stop=asha", "sweep.stop.factor=range(2,4)"), "is of the whole search"),
    ):
        code, text = server().run(*DIGITS, *arguments, cwd=tmp_path)
        assert code == 2
        (line,) = lines_of_error(text)
        assert said in line
    assert list(tmp_path.iterdir()) == []


def test_the_short_form_is_the_rule_at_every_door():
    asked = train.composed(["-m", *DIGITS, "seed=0,1", "sweep.stop=median"], checked=False)
    assert {job.sweep.stop.rule for job in asked.jobs} == {"median"}
    assert "sweep.stop.rule=median" in asked.asked
    assert compose_one(*DIGITS, "sweep.stop=asha").sweep.stop.rule == "asha"
    values, keys = compose.override({"sweep": {"stop": {"rule": "asha"}}}, ["sweep.stop=none"])
    assert (values, keys) == ({"sweep": {"stop": {"rule": "none"}}}, ["sweep.stop.rule"])


def test_runs_of_older_versions_were_not_stopped_and_keep_their_identity():
    config = make(*DIGITS)
    plain = configuration.dump(config)
    older = plain | {"sweep": {"lanes": 3, "figures_up_to": 16}}
    read = configuration.parse(saved.completed(older) | {"plugins": []})
    assert (read.sweep.lanes, read.sweep.stop) == (3, config.sweep.stop)
    assert not read.sweep.stop.stops
    assert configuration.identity(read) == configuration.identity(make(*DIGITS, "sweep.stop=asha"))


def test_what_was_expected_of_all_runs_is_not_expected_of_stopped_ones():
    """An experiment's numbers are of runs that came to their end."""
    ((job, *_), (other, *_)) = (
        train.composed(["experiment=sigma_vs_gamma_quick", *more], checked=False).jobs
        for more in ((), ("sweep.stop=asha",))
    )
    assert job.expect
    assert not other.expect


def test_stopped_jobs_can_be_expected():
    (row,) = expect.parse({"expect": {"stopped": [1, 3], "finished": 2, "status": "stopped"}})
    assert dict(row.wanted) == {"stopped": (1, 3), "finished": 2, "status": "stopped"}
