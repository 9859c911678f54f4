"""A population on the real command line: its decisions are carried out, members can be made again, nothing is lost."""

import dataclasses
import math
import random
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra._internal.utils import get_args_parser

from tests.support.processes import SMALL, lines_of_error, results, server, until
from vaex import files
from vaex.config import Config, identity, schedule
from vaex.config.compose import compose
from vaex.disk import metrics, saved, sweep
from vaex.errors import ConfigError, InputError
from vaex.search import lineage
from vaex.sweeping import pbt, rounds
from vaex.terminal.displays import PopulationDisplay

SPACE = ("optimizer.learning_rate=tag(log,interval(1e-3,1e4))", "kl_weight.beta=interval(0.5,2)")
"""So wide that some of it diverges."""

POPULATION = (
    "-m",
    *SMALL,
    *SPACE,
    "hydra/sweeper=pbt",
    "hydra.sweeper.population=4",
    "training.epochs=4",
    "sweep.figures_up_to=0",
)


def run(directory: Path, *overrides: str) -> tuple[int, str]:
    return server().run(*POPULATION, *overrides, f"hydra.sweep.dir={directory}")


def outcome(directory: Path) -> tuple[dict[str, Any], list[Any]]:
    """What was decided, and every byte of what came of each member."""
    summaries = [files.read_json(directory / str(n) / "summary.json") for n in range(4)]
    kept = [{key: each[key] for key in ("status", "identity", "epoch_sha256", "test/elbo")} for each in summaries]
    return files.read_json(directory / lineage.NAME), [(results(directory / str(n)), kept[n]) for n in range(4)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("population") / "whole"
    code, text = run(directory)
    assert code == 0, text
    return directory


def test_what_was_decided_is_what_each_member_has_done(trained: Path):
    known = lineage.read(trained)
    assert [each.epoch for each in known.rounds] == [1, 2, 3]
    assert any(score is None for score in known.rounds[0].scores)  # diverged, and replaced
    assert all(len(each.decisions) >= 1 for each in known.rounds)
    begun = [saved.parse_saved(trained, job.config, []) for job in sweep.read(trained)[1]]
    assert [config.seed for config in begun] == [0, 1, 2, 3]
    followed = lineage.followed(known, begun)
    for number, config in enumerate(followed):
        assert identity(saved.read_saved(trained / str(number), [])) == identity(config)
        rows = metrics.read_rows(trained / str(number) / "metrics.jsonl")
        for row in rows:
            now = lineage.values_at(config, row["epoch"], ("optimizer.learning_rate", "kl_weight.beta"))
            assert row["learning_rate"] == pytest.approx(now["optimizer.learning_rate"])
            assert row["kl_weight"] == pytest.approx(now["kl_weight.beta"])
    for each in known.rounds[-1].decisions:
        member, source = (metrics.read_rows(trained / str(n) / "metrics.jsonl") for n in (each.member, each.source))
        assert member[:3] == source[:3]
        assert member[3] != source[3]
        assert lineage.values_at(followed[each.member], 4, ("seed",)) == {"seed": each.member}
    assert [*pd.read_csv(trained / "sweep.csv")["status"]] == ["finished"] * 4


@pytest.mark.slow
def test_a_member_is_made_again_alone_bit_for_bit(trained: Path, tmp_path: Path):
    known = lineage.read(trained)
    member = max(range(4), key=lambda n: len(saved.read_saved(trained / str(n), []).schedule))
    assert member in {each.member for each in known.rounds[-1].decisions + known.rounds[-2].decisions}
    code, text = server().run("reproduce", trained / str(member), f"hydra.run.dir={tmp_path / 'again'}")
    assert (code, text.splitlines()[-1]) == (0, "reproduce: identical")


def test_it_has_a_report_and_no_verdict(trained: Path):
    found = files.read_json(trained / "compare.json")
    assert found["verdicts"] == [
        "no verdict on a population: its members go on from copies of each other, so they are not independent runs"
    ]
    assert found["by"] != "schedule"  # a long name for each
    assert (trained / "report.html").exists()
    assert not any(
        item["pairs"] for q in files.read_json(trained / "compare.json")["questions"] for item in q["comparisons"]
    )


@pytest.mark.slow
def test_one_that_has_ended_is_left_alone(trained: Path):
    before = outcome(trained)
    code, text = server().run("resume", trained)
    assert (code, "all 4 members have ended; nothing to do" in text) == (0, True)
    code, text = run(trained, "hydra.sweeper.every=2")
    assert (code, "holds another sweep" in text) == (2, True)
    assert outcome(trained) == before


def test_one_that_goes_on_is_not_stopped_early(trained: Path):
    code, text = server().run("resume", trained, "sweep.stop=asha")
    assert code == 2
    (line,) = lines_of_error(text)
    assert "sweep.stop: a population replaces its worst members itself; choose one of both" in line


def killed_when(directory: Path, condition: Any) -> None:
    running = server().start(*POPULATION, f"hydra.sweep.dir={directory}")
    until(lambda: condition() or running.poll() is not None)
    running.kill(signal.SIGKILL)
    running.wait()


@pytest.mark.slow
def test_killed_after_a_decision_and_resumed_it_ends_as_if_nothing_had_happened(trained: Path, tmp_path: Path):
    directory = tmp_path / "killed"
    killed_when(directory, lambda: lineage.exists(directory) and lineage.read(directory).rounds)
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert outcome(directory) == outcome(trained)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_killed_at_any_moment_and_resumed_it_ends_as_if_nothing_had_happened(
    trained: Path, tmp_path: Path, moment: int
):
    """Killed twice: also what resumes it."""
    directory, drawn = tmp_path / "killed", random.Random(moment)
    first, second = drawn.uniform(0, 6), drawn.uniform(0, 3)
    begin: list[float] = []

    def later() -> bool:
        if not begin and (directory / "sweep.json").exists():
            begin.append(time.monotonic())
        return bool(begin) and time.monotonic() - begin[0] > first

    killed_when(directory, later)
    again = server().start("resume", directory)
    started = time.monotonic()
    until(lambda: time.monotonic() - started > second or again.poll() is not None)
    again.kill(signal.SIGKILL)
    again.wait()
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert outcome(directory) == outcome(trained)


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on(trained: Path, tmp_path: Path):
    directory = tmp_path / "interrupted"
    running = server().start(*POPULATION, f"hydra.sweep.dir={directory}")
    until(lambda: lineage.exists(directory) and lineage.read(directory).rounds)
    running.kill(signal.SIGINT)
    assert running.wait() == 130, running.text()
    assert f"to go on: vaex resume {directory}" in running.text()
    code, text = run(directory)  # the same line again
    assert code == 0, text
    assert outcome(directory) == outcome(trained)


@pytest.mark.slow
def test_in_vmapped_packs(tmp_path: Path):
    directory = tmp_path / "packed"
    code, text = run(directory, "pack.strategy=vmap")
    assert code == 0, text
    code, text = server().run("reproduce", directory / "1", f"hydra.run.dir={tmp_path / 'again'}")
    assert (code, text.splitlines()[-1]) == (0, "reproduce: identical")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "hydra/sweeper=pbt: nothing to explore; give a key a space, as in optimizer.learning_rate=tag(log,"),
        (("loss=gamma,sigma",), "loss: cannot change while a run trains (a population explores: optimizer.learning_r"),
        (("seed=0,1",), "seed: each member of a population has its own: seed=N is that of the first"),
        (("kl_weight.beta=interval(-1,1)",), "kl_weight.beta: expected greater than or equal to 0, got -1.0"),
        ((SPACE[1], "hydra/launcher=basic"), "needs hydra/launcher=packed"),
        ((SPACE[1], "schedule=[{epoch:3,kl_weight.beta:1.5}]"), "schedule: a population writes its members' schedules"),
        ((SPACE[1], "hydra.sweeper.every=4"), "hydra.sweeper.every=4: nothing is decided in training.epochs=4"),
        ((SPACE[1], "hydra.sweeper.population=1"), "hydra.sweeper.population: expected greater than or equal to 2"),
        ((SPACE[0], "hydra.sweeper.metric=valid/kl"), "hydra.sweeper.direction: valid/kl may be wanted large or small"),
        ((*SPACE, "hydra.sweeper.metric=valid/loss"), "valid/loss is another quantity where kl_weight.beta changes"),
    ],
)
def test_a_mistake_is_one_line_before_anything_trains(overrides: tuple[str, ...], said: str):
    arguments = ["-m", *SMALL, "training.epochs=4", "hydra/sweeper=pbt", *overrides]
    with pytest.raises(ConfigError) as error:
        pbt.asked(compose(get_args_parser().parse_args(arguments)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "direction"),
    [
        ((), "maximize"),
        (("hydra.sweeper.metric=valid/loss",), "minimize"),
        (("hydra.sweeper.metric=train/elbo",), "maximize"),
        (("hydra.sweeper.metric=valid/reconstruction",), "minimize"),
        (("hydra.sweeper.metric=valid/kl", "hydra.sweeper.direction=maximize"), "maximize"),
    ],
)
def test_members_are_ranked_as_the_metric_is_better(overrides: tuple[str, ...], direction: str):
    arguments = ["-m", *SMALL, "training.epochs=4", "hydra/sweeper=pbt", SPACE[0], *overrides]
    asked = pbt.asked(compose(get_args_parser().parse_args(arguments)))
    assert asked
    assert asked.settings.direction == direction


def test_a_value_that_is_typed_takes_a_key_out_of_an_experiments_space(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    params = "\n".join(f"      {each.replace('=', ': ', 1)}" for each in SPACE)
    text = f"# @package _global_\nhydra:\n  sweeper:\n    params:\n{params}\n"
    (tmp_path / "experiment" / "tuned.yaml").write_text(text)
    own = ("experiment=tuned", "kl_weight.beta=1.25", f"--config-dir={tmp_path}")
    arguments = ["-m", *SMALL, "training.epochs=4", "hydra/sweeper=pbt", *own]
    command = compose(get_args_parser().parse_args(arguments))
    asked = pbt.asked(command)
    assert asked
    assert [*asked.space] == ["optimizer.learning_rate"]
    assert {job.kl_weight.beta for job in pbt.with_members(command, asked).jobs} == {1.25}


@pytest.mark.parametrize("value", [None, math.inf, math.nan])
def test_a_metric_that_is_not_finite_is_no_score(value: float | None):
    assert rounds._finite(value) is None
    assert rounds._finite(-3.5) == -3.5


def begun(directory: Path) -> lineage.Population:
    """A population of two, noted before anything trains."""
    arguments = ["-m", *SMALL, *SPACE, "training.epochs=4", "hydra/sweeper=pbt", "hydra.sweeper.population=2"]
    command = compose(get_args_parser().parse_args(arguments))
    asked = pbt.asked(command)
    assert asked
    jobs = pbt.with_members(command, asked).jobs
    lineage.write(directory, asked)
    sweep.write(directory, [sweep.noted(n, Path(str(n)), (f"seed={n}",), config) for n, config in enumerate(jobs)])
    return asked


def noted(directory: Path) -> list[tuple[sweep.Noted, Config]]:
    return [(job, saved.parse_saved(directory, job.config, [])) for job in sweep.read(directory)[1]]


def test_members_that_lie_elsewhere_are_refused(tmp_path: Path):
    begun(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="/1: is a link to another place; remove it to go on"):
        rounds.jobs_of(tmp_path, noted(tmp_path))
    (tmp_path / "1").unlink()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="/1/figures: is a link to another place; remove it to go on"):
        rounds.jobs_of(tmp_path, noted(tmp_path))


@pytest.mark.parametrize("place", [".", "0/figures", "2"])
def test_members_are_in_directories_of_their_own(tmp_path: Path, place: str):
    begun(tmp_path)
    first, second = sweep.read(tmp_path)[1]
    sweep.write(tmp_path, [first, dataclasses.replace(second, directory=Path(place))])
    with pytest.raises(InputError, match="its jobs are not the 2 members of population"):
        rounds.jobs_of(tmp_path, noted(tmp_path))


def test_interrupted_between_two_rounds_it_ends_as_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begun(tmp_path)
    monkeypatch.setattr(rounds._Rounds, "carry_out", lambda _: signal.raise_signal(signal.SIGINT))
    ended = rounds.train(tmp_path, rounds.jobs_of(tmp_path, noted(tmp_path)))
    assert (ended.signal, set(ended.statuses.values())) == (signal.SIGINT, {"interrupted"})


def test_a_decision_that_nobody_can_follow_is_not_written_down(tmp_path: Path):
    """Members with a schedule of their own, as an older version took them: a change after one at a later epoch."""
    asked = begun(tmp_path)
    changes = (schedule.Change(4, (("seed", 5),)),)
    members = rounds.jobs_of(tmp_path, noted(tmp_path))
    jobs = [dataclasses.replace(job, config=dataclasses.replace(job.config, schedule=changes)) for job in members]
    for number, job in enumerate(jobs):
        job.directory.mkdir()
        files.write(job.directory / "metrics.jsonl", f'{{"epoch": 1, "valid/elbo": {-number}}}\n'.encode())
    deciding = rounds._Rounds(tmp_path, jobs, PopulationDisplay(jobs, 0))
    deciding.members = jobs
    with pytest.raises(ConfigError):
        deciding.decide()
    assert lineage.read(tmp_path) == asked


def test_a_mistake_leaves_nothing_behind(tmp_path: Path):
    code, text = run(tmp_path / "none", "model.latent_dim=2,5")
    assert code == 2
    (line,) = lines_of_error(text)
    assert "model.latent_dim: cannot change while a run trains" in line
    assert not (tmp_path / "none").exists()
