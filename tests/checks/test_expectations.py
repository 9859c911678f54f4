"""What is expected of a run or sweep: the grammar, when it stands, and whether it holds, on runs of known content."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.config.test_config import command
from tests.conftest import Finished
from tests.support.configurations import make
from tests.support.made_runs import write_run
from vaex.checks import expectations
from vaex.config import compose, expect
from vaex.disk import sweep
from vaex.errors import ConfigError
from vaex.study import comparing, runs
from vaex.study.run import OTHER_LENGTH, STATUSES

DIGITS = "dataset=digits"


def rows(value: object) -> tuple[expect.Row, ...]:
    return expect.parse({"expect": value})


def held(value: object, directory: Path) -> list[str]:
    return [str(line) for line in expectations.check(directory, rows(value))]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"train/los": 3}, "expect.train/los: unknown key; did you mean 'train/loss'?"),
        ({"status": "finishd"}, "expect.status: expected .* got \"finishd\"; did you mean 'finished'?"),
        ({"valid/elbo": [3, 1]}, r"expect.valid/elbo: expected \[low, high\], got \[3, 1\]"),
        ({"valid/elbo": "x"}, 'expect.valid/elbo: expected a number, got "x"'),
        ({"valid/elbo": float("inf")}, "expect.valid/elbo: expected a finite number"),
        ({"valid/elbo": [3, 1]}, "low is above high"),
        ({"valid/elbo": [3, 1, 2]}, r"expected \[low, high\], got \[3, 1, 2\]$"),
        ({"valid/elbo": ".nan"}, "expect.valid/elbo: expected a finite number, got the text '.nan'"),
        ({}, "expect: is empty; expected keys"),
        ({"diverged": 1.5}, "expect.diverged: expected an integer, got 1.5"),
        ([{"epoch": 1}, {"diverged": [-1, 2]}], r"expect\[1\].diverged\[0\]: expected greater than or equal to 0"),
        ([{"where": {"loss": "sigma"}}], r"expect\[0\]: says of what, and not what is expected of it"),
        ([{"where": {"loss": ["a", "b"]}, "epoch": 1}], r"expect\[0\].where.loss: expected one value"),
        ([{"verdict": "loss_spikes", "answer": "more"}], r"expect\[0\].variant: missing"),
        ([{"verdict": "a", "variant": "b", "answr": "more"}], "answr: unknown key; did you mean 'answer'?"),
        ([{"verdict": "a", "variant": "b", "answer": "mor"}], "answer: expected .*; did you mean 'more'?"),
        ([3], r"expect\[0\]: expected a section of keys, got 3"),
        (3, "expect: expected keys with what they should be, or a list of such rows, got 3"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(value, message):
    with pytest.raises(ConfigError, match=message):
        rows(value)


def test_a_variant_that_is_a_number_is_named_as_compare_names_it():
    row, other = rows([{"verdict": "a", "variant": given, "answer": "more"} for given in (10, 3e-4)])
    assert (row.verdict.variant, other.verdict.variant) == (runs.text(10), runs.text(3e-4)) == ("10", "0.0003")


def test_a_row_survives_its_way_through_a_file():
    value = [
        {"status": "finished", "train/loss": [1.0, 2.5], "epoch": 2.0},
        {"where": {"loss": "sigma", "model.latent_dim": 2}, "diverged": [1, 3], "eval/nll": 3.0},
        {"verdict": "steps_to_target", "variant": "sigma", "by": "loss", "answer": "more", "estimate": [1.4, 2.4]},
    ]
    assert expect.dump(rows(value)) == value
    assert rows(json.loads(json.dumps(value))) == rows(value)
    assert rows(value[0]) == rows(value[:1])
    assert rows(None) == ()
    assert expect.dump(()) is None


def test_every_value_that_a_run_has_can_be_expected_and_no_other(digits_run: Finished):
    summary = json.loads((digits_run.directory / "summary.json").read_text())
    of_the_machine = {"seconds", "examples_per_second", "wall_seconds", "run_id"}
    digests = {key for key in summary if key == "identity" or key.endswith("_sha256")}
    lists = {key for key, value in summary.items() if isinstance(value, list)}
    assert set(expect.OF_RUN) == set(summary) - of_the_machine - digests - lists
    assert {*expect.COUNTED, OTHER_LENGTH} == {*STATUSES}


def test_every_number_of_a_verdict_that_can_be_expected_is_there(sweep_of_two: Path):
    questions = comparing.compare(runs.read([sweep_of_two]))["questions"]
    assert set(expect.OF_VERDICT) <= {key for question in questions for key in question["comparisons"][0]}


@pytest.mark.parametrize(
    ("typed", "stands"),
    [
        ((), True),
        (("tracking.mode=disabled", "hydra.run.dir=x", "+plugins=[]", "hydra/launcher=basic"), True),
        (("training.epochs=1",), False),
        (("loss=sigma",), False),
        (("evaluation.metrics=[]",), False),  # what is measured may be what is expected
        (("training.epochs=1", "++expect={epoch: 1}"), True),
    ],
)
def test_an_override_that_makes_other_numbers_leaves_no_expectation(typed, stands):
    assert bool(make("experiment=book", *typed).expect) is stands


def test_a_check_asks_it_all_the_same_and_needs_no_m_for_a_sweep():
    arguments = command_line("experiment=sigma_vs_gamma_quick", "training.epochs=1", "seed=0,1")
    found = compose.compose(arguments, checked=True)
    assert found.multirun
    assert found.checked
    assert len(found.jobs) == 8
    assert all(job.expect for job in found.jobs)
    with pytest.raises(ConfigError, match="dataset=digits: nothing to check"):
        compose.compose(command_line(DIGITS), checked=True)


def command_line(*overrides: str):
    from hydra._internal.utils import get_args_parser

    arguments = get_args_parser().parse_args([*overrides])
    arguments.multirun = None
    return arguments


def test_what_an_experiment_expects_is_added_to():
    assert len(make("experiment=book", "++expect={epoch: 25}").expect[0].wanted) == 4
    with pytest.raises(ConfigError, match=r"expect: has keys of its own already, .*; write \+\+expect={epoch: 25}"):
        make("experiment=book", "expect={epoch: 25}")


def test_a_key_that_no_job_has_is_found_before_anything_is_trained():
    with pytest.raises(ConfigError, match=r"where: no job has the key 'model.latent_dimm'; did you mean"):
        make(DIGITS, "expect=[{where: {model.latent_dimm: 2}, epoch: 1}]")
    in_one = "expect=[{where: {optimizer.beta1: 0.9}, epoch: 1}]"
    assert command("-m", DIGITS, "optimizer=adam,rmsprop", in_one).jobs[1].expect


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("lone") / "run", [-300.0, -250.0], summary={"kl_weight": None})


def test_of_a_lone_run_each_is_ok_or_says_by_how_much_not(lone: Path):
    wanted = {"status": "finished", "epoch": 2, "valid/elbo": [-251, -249], "train/loss": [255, 260]}
    assert held(wanted, lone) == [
        "ok      status: finished, expected finished",
        "ok      epoch: 2, expected 2",
        "ok      valid/elbo: -250, expected -251 to -249",
        "not ok  train/loss: 250, expected 255 to 260, 5 below",
    ]
    assert held({"train/loss": [240, 249.5]}, lone) == ["not ok  train/loss: 250, expected 240 to 249.5, 0.5 above"]
    assert held({"train/loss": 250.25}, lone) == ["not ok  train/loss: 250, expected 250.25, 0.25 below"]
    assert held({"status": "diverged"}, lone) == ["not ok  status: finished, expected diverged"]


def test_what_a_run_lacks_is_not_ok(lone: Path):
    assert held({"eval/nll": [1, 2]}, lone) == ["not ok  eval/nll: is not there, expected 1 to 2"]
    assert held({"kl_weight": 1}, lone) == ["not ok  kl_weight: is no finite number, expected 1"]


@pytest.fixture(scope="module")
def sweep_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two losses, five seeds: σ ends 10 nats lower, and diverges at seed 4."""
    directory = tmp_path_factory.mktemp("made") / "sweep"
    noted = []
    for number, (loss, seed) in enumerate((loss, seed) for loss in ("gamma", "sigma") for seed in range(6)):
        elbo = [-400.0, -300.0, (-250.0 if loss == "gamma" else -260.0 + 0.2 * seed) - 0.1 * seed**2]
        status = "diverged" if (loss, seed) == ("sigma", 4) else "finished"
        write_run(directory / str(number), elbo, f"loss={loss}", f"seed={seed}", status=status)
        config = dataclasses.replace(make(DIGITS, f"loss={loss}"), seed=seed)
        noted.append(sweep.noted(number, Path(str(number)), [f"loss={loss}", f"seed={seed}"], config))
    sweep.write(directory, noted)
    return directory


def test_of_a_sweep_jobs_are_chosen_and_counted(sweep_of_two: Path):
    wanted = [
        {"finished": 11, "epoch": 3},
        {"where": {"loss": "sigma"}, "diverged": [1, 3], "valid/elbo": [-263, -259.8]},
        {"where": {"loss": "sigma"}, "failed": 1},
        {"where": {"loss": "gamma", "seed": 2}, "valid/elbo": [-250.5, -250]},
        {"where": {"loss": "gamma"}, "valid/elbo": [-251, -249]},
        {"where": {"loss": "softplus"}, "finished": 0},
    ]
    assert held(wanted, sweep_of_two) == [
        "ok      finished of 12 jobs: 11, expected 11",
        "ok      epoch of 12 runs: 3, expected 3",
        "ok      loss=sigma: diverged of 6 jobs: 1, expected 1 to 3",
        "ok      loss=sigma: valid/elbo of 6 runs: -261.5 to -259.9, expected -263 to -259.8",
        "not ok  loss=sigma: failed of 6 jobs: 0, expected 1, 1 below",
        "ok      loss=gamma, seed=2: valid/elbo: -250.4, expected -250.5 to -250",
        "not ok  loss=gamma: valid/elbo, expected -251 to -249: 2 of 6 runs are not: job 4 -251.6, 0.6 below; "
        "job 5 -252.5, 1.5 below",
        "not ok  loss=softplus: finished: no such job is there (there: gamma, sigma)",
    ]


def test_jobs_of_several_experiments_have_their_own_expectations(sweep_of_two: Path, tmp_path: Path):
    copied = shutil.copytree(sweep_of_two, tmp_path / "sweep")
    _, noted = sweep.read(copied)
    rows_of = {"gamma": {"status": "finished"}, "sigma": [{"epoch": 3}]}
    asked = [job.config | {"expect": rows_of[job.config["loss"]["name"]]} for job in noted]
    sweep.write(copied, [dataclasses.replace(job, config=own) for job, own in zip(noted, asked, strict=True)])
    lines = [str(line) for line in expectations.check(copied)]
    assert len(lines) == 2
    assert sorted(re.sub(r" of .*", "", line[8:]) for line in lines) == ["epoch", "status"]
    assert expectations.is_a_job(copied / "1") == copied.absolute()
    assert expectations.is_a_job(copied) is None


def test_of_a_sweep_answers_of_its_comparison_are_expected(sweep_of_two: Path):
    of_sigma = {"verdict": "valid/elbo", "variant": "sigma"}
    lines = held([of_sigma | {"answer": "fewer", "estimate": [-9.6, -9.5], "pairs": 6}], sweep_of_two)
    assert lines == [
        "ok      valid/elbo of sigma against gamma, answer: fewer, expected fewer",
        "ok      valid/elbo of sigma against gamma, estimate: -9.56, expected -9.6 to -9.5",
        "not ok  valid/elbo of sigma against gamma, pairs: 5, expected 6, 1 below",
    ]
    (turned,) = held([of_sigma | {"variant": "gamma", "against": "sigma", "answer": "more"}], sweep_of_two)
    assert turned == "ok      valid/elbo of gamma against sigma, answer: more, expected more"
    (line,) = held([of_sigma | {"verdict": "valid/elb", "answer": "fewer"}], sweep_of_two)
    assert re.match(r"not ok  valid/elb of sigma: no question 'valid/elb'; did you mean 'valid/elbo'\?", line)
    (line,) = held([of_sigma | {"variant": "sigmo", "answer": "fewer"}], sweep_of_two)
    assert "no variant 'sigmo'; did you mean 'sigma'?" in line
    (line,) = held([of_sigma | {"by": "los", "answer": "fewer"}], sweep_of_two)
    assert "--by los: no run has such a key or group; did you mean 'loss'?" in line
