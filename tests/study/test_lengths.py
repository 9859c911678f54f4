"""Runs that ended at another epoch than the rest of their sweep: counted, named, in no mean and no pair."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.made_runs import write_run
from vaex.disk import results
from vaex.report import publish
from vaex.report.charts import left_out
from vaex.study import comparing, lengths, runs
from vaex.study.run import OTHER_LENGTH


def plant(folder: Path, epochs: dict[int, int], noted: int = 3) -> Path:
    """A sweep over loss and seed whose record has one length, and whose jobs have those of `epochs`, else the same."""
    jobs = [(loss, seed) for loss in ("gamma", "sigma") for seed in range(3)]
    entries: list[dict[str, Any]] = []
    for job, (loss, seed) in enumerate(jobs):
        length = epochs.get(job, noted)
        curve = [-100.0 + 10 * epoch for epoch in range(length)]
        write_run(folder / str(job), curve, f"loss={loss}", f"seed={seed}", f"training.epochs={length}")
        config = {"training": {"epochs": noted}}
        overrides = [f"loss={loss}", f"seed={seed}", f"training.epochs={noted}"]
        entries.append(
            {"job": job, "directory": str(job), "overrides": overrides, "identity": str(job), "config": config}
        )
    (folder / "sweep.json").write_text(json.dumps({"format": 1, "threads": 2, "jobs": entries}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One job was taken further by itself, one less far."""
    return plant(tmp_path_factory.mktemp("lengths") / "sweep", {1: 5, 3: 2})


def test_runs_of_another_length_are_in_no_mean_and_no_pair(folder: Path):
    found = runs.read([folder])
    comparison = comparing.compare(found)
    for name, other in (("gamma", 1), ("sigma", 1)):
        told = comparison["by_variant"][name]
        assert (told["runs"], told["finished"], told[OTHER_LENGTH], told["divergence"]["total"]) == (3, 2, other, 2)
        assert told["means"]["valid/elbo"] == {"mean": -80.0, "runs": 2}
    (elbo,) = [each for each in comparison["questions"] if each["key"] == "valid/elbo"]
    assert [item["pairs"] for item in elbo["comparisons"]] == [1]
    (line,) = [each for each in comparison["apart"] if "length" in each]
    assert "another length than the rest (3 epochs): job 1 (5), job 3 (2); " in line
    assert line in comparison["verdicts"]


def test_they_are_in_the_table_and_the_charts_say_so(folder: Path):
    found = runs.read([folder])
    console = Console(width=200)
    comparison = comparing.compare(found)
    with console.capture() as told:
        console.print(publish._rows(comparison))
    assert OTHER_LENGTH in told.get()
    assert left_out(found.runs) == " 2 of another length are not in it."


def test_lengths_that_are_compared_are_left_as_they_are(folder: Path, tmp_path: Path):
    by_length = comparing.compare(runs.read([folder], by="training.epochs"))["by_variant"]
    assert {name: row["finished"] for name, row in by_length.items()} == {"2": 1, "3": 4, "5": 1}
    whole = plant(tmp_path / "sweep", dict.fromkeys(range(6), 5))  # all of them, one by one
    assert {run.status for run in runs.read([whole]).runs} == {"finished"}


def test_what_alone_is_of_another_length_is_not_what_is_compared(tmp_path: Path):
    """A sweep over seeds: without `--by` its runs are not held against each other by their epochs."""
    for job, length in enumerate((3, 3, 5)):
        write_run(tmp_path / str(job), [-9.0] * length, f"seed={job}", f"training.epochs={length}")
    entries = [
        {"job": job, "directory": str(job), "overrides": [], "identity": "", "config": {"training": {"epochs": 3}}}
        for job in range(3)
    ]
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "threads": 2, "jobs": entries}))
    assert runs.read([tmp_path]).by == "loss"


@pytest.mark.parametrize(("epoch", "status"), [(3, "diverged"), (5, OTHER_LENGTH)])
def test_a_run_that_diverged_within_the_usual_length_counts(tmp_path: Path, epoch: int, status: str):
    folder = plant(tmp_path / "sweep", {1: 6})
    path = folder / "1" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "diverged", "epoch": epoch}))
    assert [run.status for run in lengths.marked(runs.read([folder]).runs)][1] == status


def test_a_damaged_record_and_lone_runs_have_no_usual_length(folder: Path, tmp_path: Path):
    lone = write_run(tmp_path / "lone", [-9.0] * 4, "training.epochs=4")
    assert [run.status for run in runs.read([lone, folder / "0"]).runs] == ["finished"] * 2
    copy = plant(tmp_path / "damaged", {1: 5})
    (copy / "sweep.json").write_text("{")
    assert OTHER_LENGTH not in [run.status for run in runs.read([copy]).runs]


def test_the_table_of_a_sweep_says_how_long_a_run_is(folder: Path):
    assert results.load_sweep(folder)["training.epochs"].tolist() == [3, 5, 3, 2, 3, 3]
