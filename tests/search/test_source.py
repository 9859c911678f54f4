"""Who asks for trials and hears how they ended, without training: what goes wrong on the way is not waited for."""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.search.test_planned import RATE, planned
from vaex.config import Config
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.disk.sweep import Noted
from vaex.errors import InputError
from vaex.search.plan import Plan
from vaex.search.source import Trials
from vaex.search.study import Place, Study
from vaex.terminal.stop import Stop
from vaex.training.packs import Room


class Patience(Stop):
    """Somebody who asks for an end at the tenth look."""

    looks = 0

    @property
    def asked(self) -> bool:
        self.looks += 1
        return self.looks > 10


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned(RATE, "hydra.sweeper.trials=4", "hydra.sweeper.sampler=random")


def full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def source(
    directory: Path, plan: Plan, ordered: bool, noted: Sequence[Noted] = (), at_once: int = 1
) -> tuple[Trials, Study, list[bool]]:
    """Trials of a search, whose jobs cannot be opened once the list says so."""
    plan = dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, ordered=ordered))
    directory.mkdir(exist_ok=True)
    study = Study(directory, plan.settings, plan.directions, plan.parameters)
    fails = [False]

    def opened(made: Sequence[tuple[Noted, Config]]) -> list[Job]:
        return full() if fails[0] else [Job(config, directory / job.directory, job.label) for job, config in made]

    sweep.write(directory, noted, plan.record())
    return Trials(Place(directory, plan, study, opened, lanes=2, at_once=at_once, plugins=()), noted), study, fails


def finish(jobs: Sequence[Job], elbo: float) -> None:
    for job in jobs:
        job.directory.mkdir()
        (job.directory / "summary.json").write_text(json.dumps({"status": "finished", "valid/elbo": elbo}))


@pytest.mark.parametrize("ordered", [False, True])
def test_a_trial_that_could_not_be_opened_ends_the_lanes_that_wait_for_it(ordered: bool, plan: Plan, tmp_path: Path):
    trials, study, fails = source(tmp_path, plan, ordered)
    first = trials.take(Patience())
    fails[0] = True
    with pytest.raises(OSError, match="No space"):
        trials.take(Patience())
    assert first
    finish(first, -100.0)
    trials.told(first, ["finished"])
    other = Patience()
    assert trials.take(other) is None
    assert other.looks < 10
    assert trials.left
    assert [trial.state for trial in study.trials()] == ["running", "running"]  # both told when it goes on


def test_a_trial_that_could_not_be_told_is_left(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trials, study, _ = source(tmp_path, plan, ordered=False)
    packs = [trials.take(Patience()) for _ in range(4)]
    monkeypatch.setattr(study, "tell", full)
    for jobs in packs[:1]:
        assert jobs
        finish(jobs, -100.0)
        with pytest.raises(OSError, match="No space"):
            trials.told(jobs, ["finished"])
    monkeypatch.undo()
    for jobs in packs[1:]:
        assert jobs
        finish(jobs, -100.0)
        trials.told(jobs, ["finished"])
    assert trials.left
    noted = sweep.read(tmp_path)[1]
    again, study, _ = source(tmp_path, plan, ordered=False, noted=noted)
    again.go_on([])
    assert [trial.state for trial in study.trials()] == ["complete"] * 4
    assert not again.left


def test_a_job_whose_directory_has_gone_is_trained_again_and_a_lost_journal_said(plan: Plan, tmp_path: Path):
    trials, *_ = source(tmp_path, plan, ordered=False)
    packs = [jobs for _ in range(4) if (jobs := trials.take(Patience()))]
    for jobs in packs:
        finish(jobs, -100.0)
        trials.told(jobs, ["finished"])
    noted = sweep.read(tmp_path)[1]
    gone = packs[2][0].directory
    shutil.rmtree(gone)
    again, study, _ = source(tmp_path, plan, ordered=False, noted=noted)
    again.go_on(packs)
    assert again.left
    assert again.before == 3
    assert [job.directory for job in again.take(Patience()) or ()] == [gone]
    finish(packs[2], -100.0)
    again.told(packs[2], ["finished"])
    assert not again.left
    assert [trial.state for trial in study.trials()] == ["complete"] * 4
    (tmp_path / "study.journal").unlink()
    lost, *_ = source(tmp_path, plan, ordered=False, noted=noted)
    with pytest.raises(
        InputError, match=r"study.journal: has 0 trials, fewer than sweep.json has jobs of: .* put it back"
    ):
        lost.go_on(packs)


def lane(jobs: Sequence[Job], fits: Callable[[Job], bool], *, left: int) -> Room:
    """A free one of a pack that goes on for so many of ten epochs."""
    return Room(jobs, free=1, left=left, epochs=10, alike=lambda _: False, fits=fits)


def test_a_free_lane_asks_for_a_trial(plan: Plan, tmp_path: Path):
    """One that does not fit is a pack of its own, later; a lane shortly before the end of the others asks for none."""
    trials, study, _ = source(tmp_path, plan, ordered=False, at_once=2)
    first = [job for _ in range(2) for job in trials.take(Stop()) or ()]
    finish(first[:1], -100.0)
    trials.told(first[:1], ["finished"])
    assert [trial.state for trial in study.trials()] == ["complete", "running"]
    assert trials.refill(lane(first, lambda _: True, left=1)) is None
    assert len(study.trials()) == 2
    here = lane(first, lambda job: job.directory.name == "3", left=9)
    taken = trials.refill(here)
    assert taken
    assert taken.directory.name == "3"
    assert [entry.number for entry in sweep.read(tmp_path)[1]] == [0, 1, 2, 3]
    assert trials.refill(here) is None
    assert [job.directory.name for job in trials.take(Stop()) or ()] == ["2"]
    assert trials.take(Stop()) is None
    ordered, study, _ = source(tmp_path / "ordered", plan, ordered=True, at_once=2)
    first = [job for _ in range(2) for job in ordered.take(Stop()) or ()]
    assert ordered.refill(lane(first, lambda _: True, left=9)) is None
    assert len(study.trials()) == 2
