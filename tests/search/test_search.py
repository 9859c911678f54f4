"""Searches of the real command line: what is asked for, how often it may be cut off, and what is refused beforehand."""

import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import command
from tests.support.processes import Forked, results, server, until
from vaex import cli
from vaex.search.plan import read
from vaex.search.study import Study

TINY = (
    "dataset=digits", "dataset.limit=200", "training.epochs=1", "model.hidden=[16]", "model.latent_dim=4",
    "sweep.figures_up_to=0",
)  # fmt: skip
OPTUNA = ("-m", "hydra/sweeper=optuna", *TINY)
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"
OTHERS = ("loss=choice(gamma,softplus)", "kl_weight.beta=interval(0.5,2)")


def trials(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "trials.csv", dtype={"jobs": str})


def agree(directory: Path, count: int, seeds: int = 1) -> None:
    """No trial lost, none double; study, trials.csv, sweep.csv, sweep.json and the directories agree."""
    plan = read(directory)
    study = Study(directory, plan.settings, plan.directions, plan.parameters).trials()
    table, jobs = trials(directory), pd.read_csv(directory / "sweep.csv")
    assert [trial.number for trial in study] == list(table["trial"]) == list(range(count))
    assert [trial.state for trial in study] == list(table["state"])
    noted = json.loads((directory / "sweep.json").read_text())["jobs"]
    assert sorted(job["job"] for job in noted) == sorted(jobs["job"]) == list(range(count * seeds))
    assert [job["trial"] for job in noted] == [job["job"] // seeds for job in noted]
    assert sorted(path.parent.name for path in directory.glob("*/config.yaml")) == sorted(
        map(str, range(count * seeds))
    )
    for trial in study:
        own = jobs[jobs["trial"] == trial.number]
        assert list(own["trial_state"]) == [trial.state] * seeds
        if trial.state == "complete":
            assert trial.values[0] == pytest.approx(own["valid/elbo"].mean(), rel=1e-12)
        for key, value in trial.parameters.items():
            assert (own[key] == value).all()


def searched(directory: Path, *more: str) -> Path:
    assert cli._guarded([*OPTUNA, *more, f"hydra.sweep.dir={directory}"]) == 0
    return directory


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials of two seeds on one lane. Read only."""
    return searched(
        tmp_path_factory.mktemp("found") / "sweep", RATE, "seed=0,1", "hydra.sweeper.trials=3", "sweep.lanes=1"
    )


def test_a_trial_is_the_mean_of_its_seeds(found: Path):
    agree(found, 3, seeds=2)
    table, jobs = trials(found), pd.read_csv(found / "sweep.csv")
    assert list(table["jobs"]) == ["0 1", "2 3", "4 5"]
    assert list(jobs["seed"]) == [0, 1] * 3
    for number in range(3):
        own = jobs["valid/elbo"][2 * number : 2 * number + 2]
        assert table["spread"][number] == pytest.approx(own.std(), rel=1e-12)
    assert (found / "0" / ".hydra" / "overrides.yaml").exists()


def test_the_same_search_on_one_lane_is_the_same_to_the_bit_and_goes_on_with_more_trials(found: Path, tmp_path: Path):
    again = tmp_path / "again"
    line = (RATE, "seed=0,1", "sweep.lanes=1")
    searched(again, *line, "hydra.sweeper.trials=1")
    searched(again, *line, "hydra.sweeper.trials=3")
    pd.testing.assert_frame_equal(trials(again), trials(found), check_exact=True)
    for job in range(6):
        assert results(again / str(job)) == results(found / str(job))
    agree(again, 3, seeds=2)


def test_another_search_is_refused_where_one_was_begun(found: Path, capfd: pytest.CaptureFixture[str]):
    before = {path: path.read_bytes() for path in found.iterdir() if path.is_file()}
    line, place = [*OPTUNA, RATE, "hydra.sweeper.trials=3"], f"hydra.sweep.dir={found}"
    for typed, says in (
        ([*line, "seed=0,1", "hydra.sweeper.sampler=random", place], "only trials may change"),
        ([*line, "seed=0,1", "training.batch_size=64", place], "holds another search"),
        ([*line, "seed=0,1,2", place], "holds another search"),
        (["resume", str(found), "training.epochs=2"], "cannot change"),
        (["resume", str(found), "hydra.sweeper.seed=2"], "cannot change"),
        (["resume", str(found), "hydra.sweeper.trials=2"], "has 3 trials already"),
    ):
        assert cli._guarded(typed) == 2
        (told,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("vaex:")]
        assert says in told
    assert {path: path.read_bytes() for path in found.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_diverged_trial_failed_and_the_best_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    grid = ("optimizer.learning_rate=1e-3,1e30", "hydra.sweeper.sampler=grid", "sweep.lanes=2")
    searched(tmp_path / "sweep", *grid)
    agree(tmp_path / "sweep", 2)
    table = trials(tmp_path / "sweep").set_index("optimizer.learning_rate")
    assert list(table["state"][[1e-3, 1e30]]) == ["complete", "failed"]
    assert pd.isna(table["value"][1e30])
    assert table["reason"][1e30].endswith("diverged")
    assert "optimizer.learning_rate=0.001 seed=0" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["loss=interval(0,1)"], "loss=choice("),
        pytest.param(["optimizer.learning_rate=tag(log,interval(0,1))"], "begins above 0", marks=pytest.mark.slow),
        pytest.param(
            ["optimizer.learning_rate=interval(-1,1)"],
            "optimizer.learning_rate: expected greater",
            marks=pytest.mark.slow,
        ),
        pytest.param(["model.latent_dim=interval(2,8)"], "expected an integer", marks=pytest.mark.slow),
        pytest.param(["loss=gamma,sigmma"], "did you mean 'sigma'", marks=pytest.mark.slow),
        (["loss=gamma"], "nothing to search"),
        ([RATE, "hydra.sweeper.objective=valid/elbow"], "did you mean 'valid/elbo'"),
        pytest.param([RATE, "hydra.sweeper.objective=eval/nll"], "no run measures", marks=pytest.mark.slow),
        ([RATE, "hydra.sweeper.trials=0"], "hydra.sweeper.trials: expected"),
        pytest.param([RATE, "hydra.sweeper.sampler=bayes"], "hydra.sweeper.sampler: expected", marks=pytest.mark.slow),
        pytest.param([RATE, "hydra.sweeper.sampler=grid"], "can be listed", marks=pytest.mark.slow),
        pytest.param([RATE, "hydra.sweeper.sampler=gp"], "pip install torch", marks=pytest.mark.slow),
        ([RATE, "hydra/launcher=basic"], "hydra/launcher=packed"),
        ([RATE, "kl_weight.beta=${optimizer.learning_rate}"], "follows from optimizer.learning_rate"),
        pytest.param([RATE, "hydra.job.chdir=true"], "hydra.job.chdir", marks=pytest.mark.slow),
        pytest.param([RATE, "hydra.sweep.subdir=a${hydra.job.num}"], "hydra.sweep.subdir", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_searched_is_one_line_and_leaves_nothing(
    typed: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert cli._guarded([*OPTUNA, *typed, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 2
    (told,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("vaex:")]
    assert says in told
    assert not (tmp_path / "sweep").exists()


WITHOUT = """
import sys

sys.modules["optuna"] = None
from vaex import cli

sys.exit(cli._guarded(sys.argv[1:]))
"""


@pytest.mark.slow
def test_without_optuna_a_search_is_one_line(tmp_path: Path):
    import subprocess
    import sys

    typed = [*OPTUNA, RATE, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *typed], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert (done.returncode, done.stderr) == (
        2,
        'vaex: hydra/sweeper=optuna needs Optuna: pip install "vaex-experiments[search]"\n',
    )
    plain = [sys.executable, "-c", WITHOUT, *TINY, f"hydra.run.dir={tmp_path / 'run'}"]
    assert subprocess.run(plain, capture_output=True, cwd=tmp_path, timeout=600).returncode == 0


@pytest.mark.slow
def test_an_ordered_search_on_two_lanes_is_the_same_each_time(tmp_path: Path):
    line = (
        RATE,
        *OTHERS,
        "hydra.sweeper.trials=16",
        "hydra.sweeper.startup=4",
        "sweep.lanes=2",
        "hydra.sweeper.ordered=true",
    )
    for name in ("one", "two"):
        code, text = server().run(*OPTUNA, *line, f"hydra.sweep.dir={tmp_path / name}")
        assert code == 0, text
        agree(tmp_path / name, 16)
    pd.testing.assert_frame_equal(trials(tmp_path / "one"), trials(tmp_path / "two"), check_exact=True)
    for job in range(16):
        assert results(tmp_path / "one" / str(job)) == results(tmp_path / "two" / str(job))


@pytest.mark.slow
def test_a_vmapped_search_asks_for_packs(tmp_path: Path):
    line = (RATE, *OTHERS, "hydra.sweeper.trials=8", "hydra.sweeper.at_once=4", "pack.strategy=vmap")
    code, text = server().run(*OPTUNA, *line, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert code == 0, text
    agree(tmp_path / "sweep", 8)


REFILLED = (
    RATE, "loss=choice(gamma,softplus)", "model.latent_dim=choice(2,4)", "hydra.sweeper.trials=14",
    "hydra.sweeper.at_once=4", "hydra.sweeper.startup=4", "pack.strategy=vmap", "training.epochs=4", "sweep.stop=asha",
    "sweep.stop.factor=2",
)  # fmt: skip


def refilled(directory: Path) -> list[Path]:
    """The runs of a search that took the lane of another."""
    manifests = {path.parent: json.loads(path.read_text())["pack"] for path in directory.glob("*/manifest.json")}
    return [place for place, record in sorted(manifests.items()) if record and record.get("refilled")]


@pytest.mark.slow
def test_a_vmapped_search_refills_lanes_and_loses_nothing_when_killed(tmp_path: Path):
    """The same twice; killed or not, a run that took a lane is the one that a fresh pack makes."""
    once, again, cut = (tmp_path / name for name in ("once", "again", "cut"))
    for directory in (once, again):
        code, text = server().run(*OPTUNA, *REFILLED, f"hydra.sweep.dir={directory}")
        assert code == 0, text
    assert trials(once).equals(trials(again))
    assert len(refilled(once)) >= 3
    for job in range(14):
        assert results(once / str(job)) == results(again / str(job))
    chosen = random.Random(5)
    for kill in range(8):
        command = ("resume", cut) if kill else (*OPTUNA, *REFILLED, f"hydra.sweep.dir={cut}")
        ended = len(list(cut.glob("*/summary.json"))) + chosen.randrange(3)
        killed(server().start(*command), lambda ended=ended: len(list(cut.glob("*/summary.json"))) > ended)
    code, text = server().run("resume", cut)
    assert code == 0, text
    for directory in (once, cut):
        agree(directory, 14)
        ended = [place for place in refilled(directory) if '"finished"' in (place / "summary.json").read_text()]
        assert ended
        for place in ended:
            code, text = server().run("reproduce", place, f"hydra.run.dir={place}-again")
            assert code == 0, text
            assert results(place) == results(Path(f"{place}-again"))


def moment(directory: Path, chosen: random.Random) -> Callable[[], Any]:
    """A moment of a search: so many lines of the journal, so many jobs noted, or so many ended."""
    journal, lines = directory / "study.journal", chosen.randrange(1, 220)
    ended, kind = chosen.randrange(1, 30), chosen.randrange(2)

    def reached() -> bool:
        if kind == 0:
            return journal.exists() and journal.read_bytes().count(b"\n") >= lines
        return len(list(directory.glob("*/summary.json"))) >= ended

    return reached


def killed(run: Forked, reached: Callable[[], Any]) -> None:
    until(lambda: reached() or run.poll() is not None)
    run.kill(signal.SIGKILL)
    run.wait()


@pytest.mark.slow
def test_killed_at_twenty_random_moments_nothing_is_lost_and_nothing_is_double(tmp_path: Path):
    line = (RATE, *OTHERS, "hydra.sweeper.trials=30", "sweep.lanes=2")
    chosen, directory = random.Random(19), tmp_path / "sweep"
    kills = 0
    while kills < 20:
        shutil.rmtree(directory, ignore_errors=True)
        run = server().start(*OPTUNA, *line, f"hydra.sweep.dir={directory}")
        killed(run, moment(directory, chosen))
        kills += 1
        for _ in range(3):
            if kills >= 20 or not (directory / "sweep.json").exists():
                break
            killed(server().start("resume", directory), moment(directory, chosen))
            kills += 1
        if not (directory / "sweep.json").exists():  # killed before it had begun anything
            continue
        code, text = server().run("resume", directory)
        assert code == 0, text
        agree(directory, 30)
    assert directory.exists()


@pytest.mark.slow
def test_killed_on_one_lane_and_resumed_the_search_is_the_one_that_was_never_killed(tmp_path: Path):
    line = (RATE, *OTHERS, "hydra.sweeper.trials=12", "hydra.sweeper.startup=4", "sweep.lanes=1")
    code, text = server().run(*OPTUNA, *line, f"hydra.sweep.dir={tmp_path / 'whole'}")
    assert code == 0, text
    directory = tmp_path / "cut"
    for ended in (3, 7):
        begun = (
            ("resume", directory)
            if (directory / "sweep.json").exists()
            else (*OPTUNA, *line, f"hydra.sweep.dir={directory}")
        )
        killed(server().start(*begun), lambda: len(list(directory.glob("*/summary.json"))) >= ended)  # noqa: B023
    assert server().run("resume", directory)[0] == 0
    pd.testing.assert_frame_equal(trials(directory), trials(tmp_path / "whole"), check_exact=True)
    for job in range(12):
        assert results(directory / str(job)) == results(tmp_path / "whole" / str(job))


@pytest.mark.slow
def test_an_interrupt_is_gone_on_with(tmp_path: Path):
    directory = tmp_path / "sweep"
    line = [
        *OPTUNA,
        RATE,
        "training.epochs=200",
        "hydra.sweeper.trials=4",
        "sweep.lanes=2",
        f"hydra.sweep.dir={directory}",
    ]
    run = server().start(*line)
    until(lambda: len(list(directory.glob("*/metrics.jsonl"))) >= 2)
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert set(trials(directory)["state"]) <= {"running", "complete"}
    assert command(tmp_path, *line).code == 0
    agree(directory, 4)
