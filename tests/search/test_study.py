"""The journal of a search: what it draws does not depend on how often the command was cut off."""

import io
import json
import os
import pickle
from pathlib import Path

import pytest

from vaex.errors import InputError
from vaex.search import objectives, samplers, space
from vaex.search.settings import Settings
from vaex.search.study import JOURNAL, Study, Trial

SPACE = space.parameters(["x=interval(0,1)", "y=tag(log,interval(1e-3,1))", "n=range(1,9)", "kind=choice(a,b)"])
LISTED = space.parameters(["n=range(1,9)", "kind=choice(a,b)"])


def settings(sampler: str, startup: int = 3) -> Settings:
    return Settings(30, ("valid/elbo",), None, sampler, startup, 1, 7, False, None)  # pyright: ignore[reportArgumentType]


def opened(directory: Path, sampler: str, keys: list[space.Parameter], startup: int = 3) -> Study:
    return Study(directory, settings(sampler, startup), ("maximize",), keys)


def value(trial: Trial) -> float:
    """Planted: best at x = 0.3, n = 5."""
    numbers = {"x": 0.3, "n": 5.0} | {k: float(v) for k, v in trial.parameters.items() if isinstance(v, int | float)}
    return -((numbers["x"] - 0.3) ** 2) - (numbers["n"] - 5) ** 2 / 64


def searched(directory: Path, sampler: str, reopened: int, trials: int = 8) -> list[Trial]:
    directory.mkdir()
    keys = LISTED if sampler == "grid" else SPACE
    study = opened(directory, sampler, keys)
    for number in range(trials):
        if number % reopened == reopened - 1:
            study = opened(directory, sampler, keys)
        trial = study.ask()
        study.tell(trial.number, "complete", [value(trial)], [], "")
    return study.trials()


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc", "grid"])
def test_a_study_that_was_opened_again_draws_what_it_would_have_drawn(sampler: str, tmp_path: Path):
    trials = 16 if sampler == "cmaes" else 8  # two generations
    whole, cut = searched(tmp_path / "whole", sampler, 100, trials), searched(tmp_path / "cut", sampler, 3, trials)
    assert whole == cut
    assert len({tuple(trial.parameters.items()) for trial in whole}) == trials  # none is drawn twice


def test_tpe_comes_closer_to_a_planted_best_than_its_start(tmp_path: Path):
    trials = searched(tmp_path / "study", "tpe", 100, trials=25)
    assert max(trial.values[0] for trial in trials[3:]) > max(trial.values[0] for trial in trials[:3])
    assert sum(trial.values[0] for trial in trials[-8:]) / 8 > sum(trial.values[0] for trial in trials[:8]) / 8


def test_a_failed_trial_has_no_value_and_is_not_the_best(tmp_path: Path):
    study = opened(tmp_path, "random", LISTED)
    for state, values in (("complete", [1.0]), ("failed", []), ("stopped", [5.0])):
        study.tell(study.ask().number, state, values, [0.5] if values else [], "job 1 diverged" if not values else "")
    states = [(trial.state, trial.values, trial.reason) for trial in study.trials()]
    assert states == [("complete", (1.0,), ""), ("failed", (), "job 1 diverged"), ("stopped", (5.0,), "")]
    assert [trial.number for trial in study.best()] == [0]


def test_a_pareto_front(tmp_path: Path):
    study = Study(tmp_path, settings("random"), ("maximize", "minimize"), LISTED)
    for values in ([1.0, 1.0], [2.0, 2.0], [0.5, 1.5], [2.0, 3.0]):
        study.tell(study.ask().number, "complete", values, [], "")
    assert [trial.number for trial in study.best()] == [0, 1]


def test_half_a_line_and_a_lock_of_a_killed_command_are_no_obstacle(tmp_path: Path):
    study = opened(tmp_path, "random", LISTED)
    first = study.ask()
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    (tmp_path / f"{JOURNAL}.lock").write_text("")
    again = opened(tmp_path, "random", LISTED)
    assert again.trials() == [first]
    again.tell(0, "complete", [1.0], [], "")
    assert opened(tmp_path, "random", LISTED).trials()[0].state == "complete"


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_whose_drawing_was_cut_off_gets_the_rest(sampler: str, tmp_path: Path):
    whole = opened(tmp_path, sampler, SPACE).ask()
    journal = tmp_path / JOURNAL
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-2]))
    study = opened(tmp_path, sampler, SPACE)
    assert 0 < len(study.trials()[0].parameters) < 4
    completed = study.completed(0)
    assert completed.parameters == whole.parameters
    assert study.trials() == [completed]


def test_a_journal_that_is_no_file_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / JOURNAL)
    with pytest.raises(InputError, match="not a regular file"):
        opened(tmp_path, "random", SPACE)


def test_a_journal_of_another_space_or_elsewhere_is_refused(tmp_path: Path):
    opened(tmp_path, "random", SPACE).ask()
    with pytest.raises(InputError, match="not of this search's space"):
        opened(tmp_path, "random", LISTED)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / JOURNAL).symlink_to(tmp_path / JOURNAL)
    with pytest.raises(InputError, match="is a link"):
        opened(tmp_path / "link", "random", SPACE)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('it ran')",))


def test_what_a_journal_holds_is_not_run(tmp_path: Path):
    with pytest.raises(InputError, match="not loaded"):
        samplers._Arrays(io.BytesIO(pickle.dumps(Evil()))).load()
    study = opened(tmp_path, "cmaes", SPACE, startup=1)
    for _ in range(12):
        trial = study.ask()
        study.tell(trial.number, "complete", [value(trial)], [], "")
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    state = pickle.dumps(Evil()).hex()
    forged = []
    for line in lines:
        record = json.loads(line)
        for key in record.get("system_attr", {}):
            if "optimizer" in key:
                record["system_attr"][key] = state
        forged.append(json.dumps(record))
    assert forged != [json.dumps(json.loads(line)) for line in lines]
    (tmp_path / JOURNAL).write_text("\n".join(forged) + "\n")
    with pytest.raises(InputError, match="not loaded"):
        opened(tmp_path, "cmaes", SPACE, startup=1).ask()


def ended(directory: Path, runs: list[dict[str, object]]) -> dict[int, Path]:
    for number, summary in enumerate(runs):
        (directory / str(number)).mkdir(parents=True)
        (directory / str(number) / "summary.json").write_text(json.dumps(summary))
    return {number: directory / str(number) for number in range(len(runs))}


@pytest.mark.parametrize(
    ("runs", "result"),
    [
        ([("finished", 9, 1.0), ("finished", 9, 3.0)], ("complete", [2.0], [2**0.5], "", 0)),
        ([("stopped", 3, 1.0), ("stopped", 3, 3.0)], ("stopped", [2.0], [2**0.5], "", 3)),
        ([("stopped", 3, None)], ("stopped", [], [], "job 0 has no finite test/elbo", 3)),
        (
            [("stopped", 3, 1.0), ("finished", 9, 3.0)],
            ("stopped", [], [], "job 0 has no finite test/elbo at epoch 3, the last that all its runs have", 3),
        ),
        ([("finished", 9, None)], ("failed", [], [], "job 0 has no finite test/elbo", 0)),
        ([("stopped", 3, 1.0), ("diverged", 2, 1.0)], ("failed", [], [], "job 1 diverged", 0)),
    ],
)
def test_what_a_trial_came_to(
    tmp_path: Path, runs: list[tuple[str, int, float | None]], result: tuple[str, list[float], list[float], str, int]
):
    """A stopped one is no failure for want of what is measured at the end, and has no mean of different epochs."""
    summaries: list[dict[str, object]] = [{"status": s, "epoch": e, "test/elbo": v} for s, e, v in runs]
    found = objectives.of_trial(ended(tmp_path, summaries), ["test/elbo"])
    assert found._replace(spread=pytest.approx(found.spread)) == result  # pyright: ignore[reportArgumentType]


def test_runs_of_a_trial_that_were_stopped_apart_are_held_at_the_last_epoch_they_have_in_common(tmp_path: Path):
    folders = ended(tmp_path, [{"status": "stopped", "epoch": 2}, {"status": "finished", "epoch": 3}])
    for folder, elbos in zip(folders.values(), ([-9.0, -7.0], [-6.0, -4.0, -3.0]), strict=True):
        rows = [json.dumps({"epoch": n, "valid/elbo": elbo}) for n, elbo in enumerate(elbos, start=1)]
        (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    found = objectives.of_trial(folders, ["valid/elbo"])
    assert found == ("stopped", [-5.5], [pytest.approx(4.5**0.5)], "", 2)


def test_a_stopped_trial_is_known_by_the_epoch_at_which_it_was_stopped(tmp_path: Path):
    study = opened(tmp_path, "tpe", SPACE, startup=1)
    for values in ([-3.0], []):
        number = study.ask().number
        study.tell(number, "stopped", values, [], "", 4)
        assert study._study.trials[number].intermediate_values == ({4: -3.0} if values else {})
        assert study.trials()[number].state == "stopped"
    study.ask()
