"""A search before its first trial: what may be asked of it, and what a directory that somebody sent may say of it."""

import dataclasses
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from vaex.config.compose import compose
from vaex.disk import sweep
from vaex.disk.directory import refuse_links
from vaex.errors import InputError
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
