"""What goes wrong with one pack, or with what is seen of it, ends neither the others nor the command."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.configurations import make
from vaex import files
from vaex.disk.directory import Job
from vaex.engines import parcel, ray_head, ray_tasks, slurm_tasks
from vaex.engines.engine import Work
from vaex.engines.following import Following
from vaex.engines.parcel import Parcel, Report
from vaex.engines.sending import Lost, Sending
from vaex.engines.settings import Ray, Slurm
from vaex.errors import VaexError
from vaex.terminal.displays import SweepDisplay
from vaex.training.run import Outcome


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two, whose directories are there."""
    config = make("dataset=digits", "dataset.limit=200", "training.epochs=2")
    places = [(seed, tmp_path / "sweep" / str(seed)) for seed in range(2)]
    for _, place in places:
        place.mkdir(parents=True)
    return [Job(dataclasses.replace(config, seed=seed), place, f"job {seed}", number=seed) for seed, place in places]


class Carried:
    """Takes parcels, and has these reports of them, one look after the other; sends only so many times."""

    def __init__(self, *reports: dict[int, Report | Lost], sends: int = 9):
        self._reports, self._sends = list(reports), sends

    def send(self, parcels: Mapping[int, Parcel]) -> None:
        self._sends -= 1
        if self._sends < 0:
            raise VaexError("cannot submit")

    def reports(self, seconds: float) -> dict[int, Report | Lost]:
        return self._reports.pop(0)

    def cancel(self) -> None: ...


def trained(carrier: Carried, jobs: list[Job], repeats: int) -> Outcome:
    packs = [[job] for job in jobs]
    parcels = parcel.of_sweep(jobs[0].directory.parent, packs, together=1, lanes=1, token="t")
    return Sending(carrier, parcels, packs, SweepDisplay(jobs, 0), repeats).train(lambda: None)


def finished(job: Job) -> Report:
    return Report({str(job.directory): "finished"})


def ends(outcome: Outcome) -> list[str]:
    return list(outcome.statuses.values())


def test_a_lost_run_whose_lock_somebody_holds_ends_itself_only(jobs: list[Job], capsys: pytest.CaptureFixture[str]):
    with files.locked(jobs[0].directory):
        assert ends(trained(Carried({0: Lost("gone")}, {1: finished(jobs[1])}), jobs, 0)) == ["failed", "finished"]
    assert "job 0: that it has failed is not noted: " in capsys.readouterr().err
    assert not (jobs[0].directory / "summary.json").exists()


def test_a_pack_that_cannot_be_sent_again_ends_itself_only(jobs: list[Job]):
    carrier = Carried({0: Lost("gone")}, {1: finished(jobs[1])}, sends=1)
    assert ends(trained(carrier, jobs, 3)) == ["failed", "finished"]
    assert json.loads((jobs[0].directory / "summary.json").read_text())["error"].endswith("(cannot submit)")


def test_a_summary_that_cannot_be_read_ends_its_run_only(jobs: list[Job]):
    (jobs[0].directory / "summary.json").write_text("{")
    assert ends(trained(Carried({0: Report({}), 1: finished(jobs[1])}), jobs, 0)) == ["failed", "finished"]


@pytest.mark.parametrize("status", ["finished", "diverged", "refused", "interrupted"])
def test_an_end_is_told_whose_summary_is_not_seen_yet(status: str, jobs: list[Job], capsys: pytest.CaptureFixture[str]):
    Following(jobs, SweepDisplay(jobs, 0)).end({str(jobs[0].directory): status})
    assert f"job 0  {status} at epoch 0" in capsys.readouterr().out


def test_an_epoch_whose_elbo_was_not_finite_is_followed(jobs: list[Job], capsys: pytest.CaptureFixture[str]):
    following = Following(jobs, SweepDisplay(jobs, 0))
    (jobs[0].directory / "manifest.json").write_text("{}")
    (jobs[0].directory / "metrics.jsonl").write_text('{"epoch": 1, "valid/elbo": null}\n')
    following.look()
    (jobs[0].directory / "summary.json").write_text('{"status": "interrupted", "epoch": 1, "wall_seconds": 1.0}')
    following.end({str(jobs[0].directory): "interrupted"})
    assert "job 0  interrupted at epoch 1" in capsys.readouterr().out


def test_a_task_that_has_not_begun_when_all_are_cancelled_never_does(jobs: list[Job]):
    """It saw no directory, and would have had to be sent again with its runs."""
    unseen = dataclasses.asdict(Report({}, unseen=True))
    sent: list[str] = []

    def remote(text: str, _: bytes | None, named: bool) -> str:
        sent.append(text)
        return "ref"

    remote_function = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=remote))
    kinds = dict.fromkeys(("TaskCancelledError", "RayTaskError", "RayError"), RuntimeError)
    ray = SimpleNamespace(
        remote=lambda _: remote_function,
        wait=lambda refs, timeout: (refs, []),
        get=lambda _: unseen,
        cancel=lambda _, force: None,
        exceptions=SimpleNamespace(**kinds),
    )
    tasks = ray_tasks._Tasks(ray, Ray(address=None, num_cpus=1, num_gpus=0, repeats=3), at_once=2)
    parcels = parcel.of_sweep(jobs[0].directory.parent, [jobs[:1]], together=1, lanes=1, token="t")
    tasks.send(dict(enumerate(parcels)))
    tasks.cancel()
    assert tasks.reports(0.0) == {0: Report({})}
    assert len(sent) == 1


SBATCH = """#!/bin/sh
case "$*" in *--test-only*) exit 0 ;; esac
number=$(ls {told} | wc -l)
[ $number -lt {most} ] || {{ echo "sbatch: error: too many" >&2; exit 1; }}
cp "$1" {told}/$number
echo Submitted batch job 7$number
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Slurm that takes so many submissions, and starts none."""
    pytest.importorskip("submitit", reason='needs submitit: pip install "vaex-experiments[slurm]"')
    (tmp_path / "bin").mkdir()
    (tmp_path / "told").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def takes(most: int) -> None:
        for name in ("sbatch", "srun"):
            (tmp_path / "bin" / name).write_text(SBATCH.format(told=tmp_path / "told", most=most))
            (tmp_path / "bin" / name).chmod(0o755)

    return takes


SETTINGS = Slurm(
    partition=None, time=60, mem_gb=1, cpus_per_task=1, gpus=0, setup=(), array_parallelism=2, packs_per_task=1,
    grace=90, timeouts=3, repeats=0, wait=False, sbatch=(),
)  # fmt: skip


def work(jobs: list[Job]) -> Work:
    return Work(jobs[0].directory.parent, [[job] for job in jobs], SweepDisplay(jobs, 0), lambda: None, None)


def test_a_batch_that_still_waits_keeps_its_parcels(jobs: list[Job], sbatch: Any):
    """`wait=false` with `hydra.sweeper.max_batch_size`: one batch is submitted after the other."""
    sbatch(9)
    engine, folder = slurm_tasks.SlurmTasks(SETTINGS), jobs[0].directory.parent / ".slurm"
    for job in jobs:
        assert ends(engine.train(work([job]))) == ["submitted"]
    sent = [parcel.read((folder / f"parcel_{number}.json").read_text()).jobs for number in range(2)]
    assert [[job.number for job in each] for each in sent] == [[0], [1]]
    assert json.loads((folder / "tasks.json").read_text()) == {"tasks": ["70", "71"]}


def test_tasks_are_known_of_which_not_all_were_taken(jobs: list[Job], sbatch: Any, monkeypatch: pytest.MonkeyPatch):
    sbatch(1)
    monkeypatch.setattr(slurm_tasks, "ARRAY", 1)
    with pytest.raises(VaexError, match="cannot submit"):
        slurm_tasks.SlurmTasks(SETTINGS).train(work(jobs))
    assert json.loads((jobs[0].directory.parent / ".slurm" / "tasks.json").read_text()) == {"tasks": ["70"]}


def test_a_cluster_may_say_much_before_it_is_up_and_has_the_token_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in (*ray_head.LOOPBACK, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ntimeout 3 head -c 200000 /dev/zero >&2 && echo 127.0.0.1:1 && cat > /dev/null\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    tokens = []
    for _ in range(2):
        with ray_head.started(1) as address:
            assert address == "127.0.0.1:1"
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
    assert tokens[0] == tokens[1] != ""


def test_a_run_that_has_ended_stays_so_where_its_pack_cannot_go_on(jobs: list[Job]):
    """Of two packs of a task one had ended when the worker was lost; the next has no data, and can begin none."""
    (jobs[0].directory / "summary.json").write_text('{"status": "finished", "valid/elbo": -1.0, "wall_seconds": 1.0}')
    refused = [Report({str(job.directory): "failed"}) for job in jobs]
    assert ends(trained(Carried(dict(enumerate(refused))), jobs, 0)) == ["finished", "failed"]
