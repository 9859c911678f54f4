"""Sweeps whose runs are stopped: bits of those that are not, files of those that are, taken to their end, and words."""

import json
import os
import resource
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import DIGITS
from tests.support.configurations import make
from tests.support.processes import results
from vaex import files
from vaex.commands import evaluate, resume
from vaex.config import Config
from vaex.disk import checkpoint, saved, stops, sweep
from vaex.disk.directory import Job
from vaex.disk.results import load_sweep
from vaex.engines.engine import Here
from vaex.errors import ConfigError
from vaex.stopping.judge import Judge
from vaex.sweeping import going_on, task
from vaex.training import run

EPOCHS = 4
SMALL = (
    *DIGITS[:1], "dataset.limit=200", "model.hidden=[8]", f"training.epochs={EPOCHS}", "tracking.mode=disabled",
    "sweep.figures_up_to=0", "sweep.lanes=1", "checkpoint.every=3", "sweep.stop.min_epochs=2", "sweep.stop.factor=2",
)  # fmt: skip
STOPPING = "sweep.stop=asha"


class Swept(NamedTuple):
    """A sweep that has ended, what each job came to, and what a rule said."""

    directory: Path
    statuses: list[str]
    decisions: list[stops.Decision]

    @property
    def stopped(self) -> list[int]:
        return [number for number, status in enumerate(self.statuses) if status == "stopped"]


def grid(*overrides: str) -> list[Config]:
    """Four learning rates; in one program two of them, and two sizes."""
    config = make(*SMALL, *overrides)
    if config.pack.strategy == "lone":  # each size is a program to compile
        return [replace(config, optimizer=replace(config.optimizer, learning_rate=10.0**-n)) for n in (2, 3, 4, 5)]
    return [
        replace(
            config, optimizer=replace(config.optimizer, learning_rate=rate), model=replace(config.model, latent_dim=k)
        )
        for rate in (1e-2, 1e-4)
        for k in (2, 5)
    ]


def noted_in(directory: Path, configs: Sequence[Config]) -> list[tuple[sweep.Noted, Config]]:
    directory.mkdir()
    noted = [sweep.noted(n, Path(str(n)), (), config) for n, config in enumerate(configs)]
    sweep.write(directory, noted)
    return list(zip(noted, configs, strict=True))


def swept(directory: Path, configs: Sequence[Config]) -> Swept:
    noted_in(directory, configs)
    jobs = [
        Job(config, directory / str(n), f"job {n}", "group", figures=False, number=n)
        for n, config in enumerate(configs)
    ]
    outcome = task.train_sweep(directory, run.group(jobs), 0, Here())
    return Swept(directory, [outcome.statuses[job.directory] for job in jobs], stops.read(directory))


@pytest.fixture(scope="module", params=["lone", pytest.param("vmap", marks=pytest.mark.slow)])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, Swept]:
    """One sweep to its end and the same one with a rule, on a CPU's lanes and in one program."""
    folder = tmp_path_factory.mktemp(request.param)
    strategy = f"pack.strategy={request.param}"
    return swept(folder / "full", grid(strategy)), swept(folder / "stopped", grid(strategy, STOPPING))


def rows(directory: Path) -> list[dict[str, Any]]:
    return results(directory)[0]


def test_runs_that_are_not_stopped_have_the_bits_of_a_sweep_without_a_rule(both: tuple[Swept, Swept]):
    full, early = both
    assert full.statuses == ["finished"] * 4
    assert set(early.statuses) == {"finished", "stopped"}
    assert early.stopped == [each.job for each in early.decisions if each.stopped]
    assert full.decisions == []
    for number in range(4):
        if number not in early.stopped:
            assert results(early.directory / str(number)) == results(full.directory / str(number))


def test_a_stopped_run_has_whole_files_and_says_why(both: tuple[Swept, Swept]):
    """Its checkpoint too, of an epoch that had no turn; no test value, which only the end has."""
    full, early = both
    for number in early.stopped:
        directory = early.directory / str(number)
        summary = files.read_json(directory / "summary.json")
        (decision,) = [each for each in early.decisions if each.job == number]
        assert (summary["status"], summary["epoch"], decision.epoch) == ("stopped", 2, 2)
        assert summary["stopped"] == decision.in_summary()
        assert summary["valid/elbo"] == decision.value
        assert decision.threshold is not None
        assert decision.value is not None
        assert decision.value < decision.threshold
        assert "test/elbo" not in summary
        assert files.sha256_of_file(directory / "model.safetensors") == summary["parameters_sha256"]
        assert checkpoint.load(checkpoint.path_of(directory, 2))[1]["epoch"] == 2
        assert rows(directory) == rows(full.directory / str(number))[:2]
    table = load_sweep(early.directory)
    assert table["status"].tolist() == early.statuses
    assert "stopped" not in table


def test_a_stopped_run_taken_to_its_end_is_the_run_that_never_stopped(
    both: tuple[Swept, Swept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    full, early = both
    directory = Path(shutil.copytree(early.directory, tmp_path / "sweep")) / str(early.stopped[-1])
    assert resume.main([str(directory)]) == 0
    assert f"training.epochs={EPOCHS}` takes it to its end" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="more than the 2 epochs after which the run was stopped, got 2"):
        resume.main([str(directory), "training.epochs=2"])
    config = saved.read_saved(directory, [])
    job = Job(config, directory, "", resumed=True)
    outcome = run.run([run.with_its_pack(job, files.read_json(directory / "manifest.json"))])
    assert list(outcome.statuses.values()) == ["finished"]
    reference = full.directory / directory.name
    assert results(directory) == results(reference)
    ends = [files.read_json(each / "summary.json") for each in (directory, reference)]
    for end in ends:
        for key in ("run_id", "wall_seconds", "seconds", "examples_per_second"):
            del end[key]
    assert ends[0] == ends[1]


def test_a_sweep_goes_on_with_what_was_decided(both: tuple[Swept, Swept], tmp_path: Path):
    """Killed before a stopped job could say so: it stops again, by the old decision; the others stay as they are."""
    _, early = both
    directory = Path(shutil.copytree(early.directory, tmp_path / "sweep"))
    number = early.stopped[0]
    (directory / str(number) / "summary.json").unlink()
    with (directory / stops.NAME).open("a") as file:
        file.write('{"job": 1, "epo')
    strategy = f"pack.strategy={early.directory.parent.name.rstrip('0123456789')}"
    noted = sweep.read(directory)[1]
    packs = going_on.packs_of(directory, list(zip(noted, grid(strategy, STOPPING), strict=True)))
    assert [job.number for jobs in packs for job in jobs if not job.ghost] == [number]
    outcome = task.train_sweep(directory, packs, 3, Here())
    assert list(outcome.statuses.values()) == ["stopped"]
    assert stops.read(directory) == early.decisions
    assert results(directory / str(number)) == results(early.directory / str(number))


def test_stops_jsonl_is_read_as_data(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A cut last line is nobody's; a line that is no decision is left out with a warning."""
    decision = stops.Decision(3, 1, 0, None, "asha", "valid/elbo", -1.5, None, 1, stopped=False)
    stops.append(tmp_path, [decision, decision._replace(job=4)])
    path = tmp_path / stops.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    assert [each.job for each in stops.read(tmp_path)] == [3, 4]
    stops.cut_back(tmp_path)
    assert path.read_bytes() == whole
    for line in (
        "[]",
        "{}",
        json.dumps(decision._asdict() | {"job": "3"}),
        json.dumps(decision._asdict() | {"value": "x"}),
    ):
        path.write_bytes(line.encode() + b"\n" + whole)
        caplog.clear()
        assert [each.job for each in stops.read(tmp_path)] == [3, 4]
        assert "stops.jsonl: 1 lines are no decisions; they are left out" in caplog.text
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(files.InputError, match=r"stops.jsonl: .*not a regular file"):
        stops.cut_back(tmp_path)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A write of which only a part fits is taken back; later ones are lines of their own."""
    decision = stops.Decision(3, 1, 0, None, "asha", "valid/elbo", -1.5, None, 1, stopped=False)
    stops.append(tmp_path, [decision])
    whole = (tmp_path / stops.NAME).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))
    try:
        stops.append(tmp_path, [decision._replace(job=4)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "stops.jsonl: cannot be written" in caplog.text
    assert (tmp_path / stops.NAME).read_bytes() == whole
    stops.append(tmp_path, [decision._replace(job=5)])
    assert [each.job for each in stops.read(tmp_path)] == [3, 5]


def test_damaged_and_foreign_runs_are_left_out_of_the_comparison(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The sweep goes on without them; and a rule without rungs does not decide again where a run went on before."""
    configs = grid("sweep.stop=median", "pack.strategy=lone")
    noted = noted_in(tmp_path / "sweep", configs)
    for n, (each, _) in enumerate(noted):
        directory = tmp_path / "sweep" / str(n)
        directory.mkdir()
        lines = [json.dumps({"epoch": epoch, "valid/elbo": -100.0 - n}) for epoch in (1, 2, 3)]
        identity = "another" if n == 3 else each.identity
        (directory / "metrics.jsonl").write_text("\n".join(["{"] * (n == 1) + lines) + "\n")
        (directory / "manifest.json").write_text(json.dumps({"segments": [{"identity": identity}]}))
    judge = Judge(tmp_path / "sweep", configs[0].sweep.stop)
    assert "line 1 is not JSON; no other run" in caplog.text
    assert "holds another run than job 3" in caplog.text
    (histories,) = judge._histories.values()
    assert {job: len(scores) for job, scores in histories.items() if scores} == {0: 3, 2: 3}
    assert {job: judge._told_before.get(job) for job in range(4)} == {0: 3, 1: None, 2: 3, 3: None}


def test_rules_without_rungs_note_only_whom_they_stop(tmp_path: Path):
    config = make(*SMALL, "sweep.stop=median")
    judge = Judge(tmp_path, config.sweep.stop)
    jobs = [Job(config, tmp_path / str(n), "", number=n) for n in range(12)]
    for epoch in (1, 2, 3):
        for n, job in enumerate(jobs):
            judge.tell(job, {"epoch": epoch, "valid/elbo": -100.0 + n}, diverged=False)
        said = [judge.ask(job, epoch) for job in jobs]
    stopped = [each for each in said if each]
    assert [each.job for each in stopped] == list(range(6))
    assert {each.job for each in stops.read(tmp_path)} == set(range(6))
    assert all(each.stopped for each in stops.read(tmp_path))


def test_stopped_jobs_of_a_sweep_are_not_evaluated(
    both: tuple[Swept, Swept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """They are counted in one line, and no error; a sweep of nothing else has nothing to evaluate."""
    _, early = both
    directory = Path(shutil.copytree(early.directory, tmp_path / "sweep"))
    left = [directory / str(number) for number in range(4) if number not in early.stopped]
    assert evaluate._left_to_evaluate(directory) == left
    assert f"{len(early.stopped)} jobs were stopped early and are not evaluated" in capsys.readouterr().out
    for each in left:
        shutil.rmtree(each)
    sweep.write(directory, [job for job in sweep.read(directory)[1] if job.number in early.stopped])
    with pytest.raises(files.InputError, match="no job is left to evaluate: all were stopped early"):
        evaluate.main([str(directory), "evaluation.metrics=[elbo]"])
