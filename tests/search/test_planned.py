"""A search before its first trial: what may be asked of it, and what a directory that somebody sent may say of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser

from vaex.config.compose import compose
from vaex.disk import sweep
from vaex.disk.directory import refuse_links
from vaex.errors import ConfigError, InputError
from vaex.search import plan as plans
from vaex.sweeping import searching

TINY = ("-m", "hydra/sweeper=optuna", "dataset=digits", "dataset.limit=200", "training.epochs=2", "model.hidden=[16]")
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"


def planned(*typed: str) -> plans.Plan:
    """The plan of a command line, checked as it is before anything trains."""
    command = compose(get_args_parser().parse_args([*TINY, *typed]))
    plan = plans.make(command, command.jobs)
    plans.check(plan, command.jobs)
    return plan


@pytest.fixture(scope="module")
def plan() -> plans.Plan:
    """Of two trials with two seeds."""
    return planned(RATE, "hydra.sweeper.repeats=2", "hydra.sweeper.trials=2")


def test_plugins_of_a_directory_that_somebody_sent_are_not_run(plan: plans.Plan, tmp_path: Path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')\n")
    bases = {name: {**base, "plugins": [str(evil)], "seed": 9} for name, base in plan.bases.items()}
    sweep.write(tmp_path, [], dataclasses.replace(plan, bases=bases).record())
    with pytest.raises(InputError, match="holds another search"):
        searching.go_on_as_typed(tmp_path, plan, checked=False)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "vaex.log", "checkpoints", ".hydra"])
def test_what_a_run_adds_to_is_no_link_elsewhere(name: str, tmp_path: Path):
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link to another place"):
        refuse_links(tmp_path)


def test_jobs_of_a_search_are_opened_in_no_link(plan: plans.Plan, tmp_path: Path):
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "sweep" / "0" / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sweep" / "1").symlink_to(tmp_path)
    config = plan.config({"optimizer.learning_rate": 1e-3}, 0)
    for number in (0, 1):
        noted = sweep.noted(number, Path(str(number)), [], config, 0)
        with pytest.raises(InputError, match="is a link to another place"):
            searching._job(tmp_path / "sweep", noted, config, plan)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([RATE, "hydra.sweeper.repeats=2", "evaluation.seed=${seed}"], "evaluation.seed: .* differs between the jobs"),
        (["kl_weight.beta=interval(0.5,2)", "kl_weight.free_bits=${.beta}"], "follows from kl_weight.beta"),
        (["sweep.lanes=1,2"], "sweep.lanes=1,2: is of the whole search"),
        (["training.epochs=range(2,9)", "sweep.stop=asha", "sweep.stop.min_epochs=3"], "sweep.stop.min_epochs.*=2"),
        (["training.epochs=5,2", "sweep.stop=asha", "sweep.stop.min_epochs=3"], "min_epochs.*epochs=5,2"),
        (["likelihood=gaussian,bernoulli"], "valid/elbo is not the same quantity in gaussian"),
        (["dataset.limit=200,300"], "not the same quantity in dataset.limit=200 and dataset.limit=300"),
        ([RATE, "hydra.sweeper.trials=100000"], "100000 jobs are too many"),
        (["model.latent_dim=interval(2,8)"], r"whole numbers are model.latent_dim=int\(interval"),
        (["model.latent_dim=int(range(1,3,0.5))"], "steps of 0"),
    ],
)  # fmt: skip
def test_what_a_search_cannot_be_asked(typed: list[str], says: str):
    with pytest.raises(InputError, match=says) as caught:
        planned(*typed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"directory": Path("5")}, {"trial": 1}])
def test_a_record_whose_jobs_are_not_where_their_numbers_say(
    wrong: Mapping[str, Any], plan: plans.Plan, tmp_path: Path
):
    noted = sweep.noted(0, Path("0"), [], plan.config({"optimizer.learning_rate": 1e-3}, 0), 0)
    sweep.write(tmp_path, [dataclasses.replace(noted, **wrong)], plan.record())
    with pytest.raises(InputError, match="job 0 is not that of trial 0 in directory 0"):
        searching.resume(tmp_path, [], ())


def test_a_job_in_flight_goes_on_with_what_was_typed(plan: plans.Plan, tmp_path: Path):
    config = plan.config({"optimizer.learning_rate": 1e-3}, 0)
    noted = sweep.noted(0, Path("0"), [], config, 0)
    changed = searching._of_job(tmp_path, noted, plan, ["evaluation.samples=7"], config)
    assert (changed.evaluation.common.samples, changed.optimizer.learning_rate) == (7, 1e-3)


def test_an_objective_that_is_no_longer_measured_is_refused(plan: plans.Plan, tmp_path: Path):
    settings = dataclasses.replace(plan.settings, objective=("eval/nll",))
    sweep.write(tmp_path, [], dataclasses.replace(plan, settings=settings).record())
    with pytest.raises(ConfigError, match="no run measures"):
        searching.resume(tmp_path, ["evaluation.metrics=[]"], ["evaluation"])
