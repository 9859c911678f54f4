"""What a search says of itself when it ends: the best trial and a line that trains it again, or why there is none."""

import subprocess
from pathlib import Path

import pytest

from vaex.search import space, table
from vaex.search.plan import Plan
from vaex.search.settings import Settings
from vaex.search.study import Study

PARAMETERS = tuple(space.parameters(["n=range(1,9)", "kind=choice(a,b)"]))


def planned(seeds: int, trials: int, plugins: tuple[str, ...] = ()) -> Plan:
    chosen = Settings(trials, ("valid/elbo",), None, "random", 3, seeds, 7, False, None)  # pyright: ignore[reportArgumentType]
    base = {"": {"plugins": list(plugins)}}
    return Plan(chosen, ("maximize",), (), ("experiment=mine",), base, frozenset(), PARAMETERS, tuple(range(seeds)))


def told(folder: Path, plan: Plan, ends: list[tuple[str, list[float], str]], running: int = 0) -> list[str]:
    study = Study(folder, plan.settings, plan.directions, plan.parameters)
    for state, values, reason in ends:
        study.tell(study.ask().number, state, values, [0.5] if values and len(plan.seeds) > 1 else [], reason, 1)
    for _ in range(running):
        study.ask()
    return table.told(Path("my sweep"), plan, study)


@pytest.mark.parametrize(("seeds", "jobs"), [(1, "1"), (3, "3 4 5")])
def test_the_best_trial_is_trained_again_by_what_is_printed(tmp_path: Path, seeds: int, jobs: str):
    """Whatever the line was, with an experiment or a directory of configurations: each job is made anew from its own.

    A shell runs it, with a `vaex` of ours that says what it was called with.
    """
    plan = planned(seeds, 2, ("my plugin.py",))
    best, again = told(tmp_path, plan, [("complete", [-9.0], ""), ("complete", [-8.0], "")])
    assert best.startswith("best: trial 1, valid/elbo -8.0000")
    assert "kind=" in best
    line = again.removeprefix("  again: ")
    shell = 'vaex() { printf "[%s]" "$@"; echo; }; ' + line
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"[reproduce][my sweep/{job}][plugins=[my plugin.py]]" for job in jobs.split()]


DIVERGED = ("failed", [], "job 0 diverged")


@pytest.mark.parametrize(
    ("ends", "running", "says"),
    [
        ([], 2, "no trial has come to its end yet"),
        ([], 0, "no trial has come to its end yet"),
        ([DIVERGED], 1, "no trial is complete so far: 1 failed: trial 0: job 0 diverged (trials.csv)"),
        ([DIVERGED, DIVERGED], 0, "all 2 trials failed: trial 0: job 0 diverged; trial 1: job 0 diverged (trials.csv)"),
        (
            [DIVERGED, ("stopped", [-9.0], "")],
            0,
            "none of 2 trials is complete: 1 failed, 1 stopped: trial 0: job 0 diverged (trials.csv)",
        ),
    ],
)
def test_why_there_is_no_best(tmp_path: Path, ends: list[tuple[str, list[float], str]], running: int, says: str):
    assert told(tmp_path, planned(1, 2), ends, running) == [says]


def test_of_many_failed_trials_a_few_are_named(tmp_path: Path):
    (line,) = told(tmp_path, planned(1, 9), [DIVERGED] * 9)
    assert line.startswith("all 9 trials failed: ")
    assert (line.count("job 0 diverged"), "; … (" in line) == (table.MOST_SHOWN, True)
