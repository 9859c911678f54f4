"""What is refused of `hydra/launcher=ray` and `slurm` before anything is made, and packs as text and back."""

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from tests.support.configurations import make
from vaex.config import identity
from vaex.config.validation import validate
from vaex.disk import sweep, threads
from vaex.disk.directory import Job
from vaex.engines import engine, parcel, ray_head, ray_tasks, settings, slurm_tasks, worker
from vaex.engines.engine import Here
from vaex.engines.ray_tasks import RayTasks
from vaex.errors import ConfigError, VaexError
from vaex.sweeping import going_on

SLURM: dict[str, Any] = {
    "partition": None, "time": 60, "mem_gb": 4, "cpus_per_task": 1, "gpus": 0, "setup": [], "sbatch": [],
    "array_parallelism": 256, "packs_per_task": 1, "grace": 90, "timeouts": 9, "repeats": 3, "wait": True,
}  # fmt: skip
RAY = {"_target_": "hydra_plugins.vaex.RayLauncher", "address": None, "num_cpus": 1, "num_gpus": 0, "repeats": 3}


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_installed", lambda package: False)
    with pytest.raises(ConfigError) as told:
        engine.of(RAY)
    assert str(told.value) == 'hydra/launcher=ray needs Ray: pip install "vaex-experiments[ray]"'


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_cpu": 2}, "hydra.launcher.num_cpu: unknown key; did you mean 'hydra.launcher.num_cpus'?"),
        ({"num_gpus": -1}, "hydra.launcher.num_gpus: "),
        ({"repeats": "often"}, "hydra.launcher.repeats: "),
        ({"num_gpus": 1.5}, "hydra.launcher.num_gpus: expected a share of one GPU, or whole ones, got 1.5"),
        ({"num_cpus": 1e-5}, "hydra.launcher.num_cpus: expected 0, or 0.0001 or more, got 1e-05"),
        ({"num_cpus": 9999}, f"hydra.launcher.num_cpus: expected at most the {threads.cores()} cores here"),
    ],
)
def test_a_wrong_key_is_one_line(changed: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_installed", lambda package: True)
    with pytest.raises(ConfigError) as error:
        engine.of(RAY | changed)
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"time": 1}, "hydra.launcher: a task of time=1 minutes is told to end grace=90 seconds before, at once"),
        ({"sbatch": ["-A vision"]}, "hydra.launcher.sbatch[0]: expected --option or --option=value, got '-A vision'"),
        ({"mem_gb": 0}, "hydra.launcher.mem_gb: expected greater than 0, got 0"),
    ],
)
def test_a_task_that_cannot_be_is_one_line(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.read({"_target_": "hydra_plugins.vaex.SlurmLauncher"} | SLURM | changed)
    assert str(error.value).startswith(told)


def _slurm(**changed: object) -> settings.Slurm:
    return validate(settings.SECTION, settings.Slurm, {settings.SECTION: SLURM | changed})


def test_memory_may_be_left_to_slurm_or_asked_for_by_core() -> None:
    """Some clusters take --mem-per-cpu alone, which sbatch refuses beside --mem."""
    asked = slurm_tasks._parameters(_slurm(mem_gb=None, sbatch=["--mem-per-cpu=2G", "--exclusive"]))
    assert "mem" not in asked
    assert asked["additional_parameters"] == {"requeue": True, "mem-per-cpu": "2G", "exclusive": True}
    assert slurm_tasks._parameters(_slurm(mem_gb=0.5))["mem"] == "512M"


def test_a_task_is_submitted_as_from_outside_of_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    of_task = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_NODE": "100", "SLURM_CPU_BIND": "mask_cpu:0x1"}
    for name, value in (of_task | {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "vision"}).items():
        monkeypatch.setenv(name, value)
    with slurm_tasks._as_outside():
        assert sorted(set(os.environ) & {*of_task, "SLURM_CONF", "SBATCH_ACCOUNT"}) == ["SBATCH_ACCOUNT", "SLURM_CONF"]
    assert of_task.items() <= os.environ.items()


def test_a_place_that_slurm_would_read_as_a_pattern_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.dir: .* a % in a path, got /runs/50%_j"):
        slurm_tasks._refuse_pattern(Path("/runs/50%_j/.slurm"))


def test_ray_keeps_its_sockets_where_their_paths_are_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in (("/scratch/user", "/scratch/user"), ("/scratch/" + "job" * 20, "/tmp")):
        monkeypatch.setenv("RAY_TMPDIR", given)
        assert ray_head._place() == expected


def test_a_pack_that_no_node_can_take_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Ray itself waits without a word."""
    nodes = [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}, {"Alive": False, "Resources": {"GPU": 9.0}}]
    ray = SimpleNamespace(nodes=lambda: nodes)
    asked = settings.Ray(address=None, num_cpus=1, num_gpus=2, repeats=3)
    with pytest.raises(VaexError) as told:
        ray_tasks._say_where_nothing_fits(ray, asked)
    said = "each pack asks for 1 cores and 2 GPUs, and no node of Ray's has as much (here are 8 cores and 1 GPUs)"
    assert str(told.value) == f"hydra.launcher.num_gpus: {said}"
    ray_tasks._say_where_nothing_fits(ray, dataclasses.replace(asked, num_gpus=0.5))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("auto", "no Ray cluster at 127.0.0.1:1 ("),  # which RAY_ADDRESS says
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1 ("),
        ("node", "expected HOST:PORT of a Ray cluster, or auto, got 'node'"),
        ("ray://node:10001", "expected HOST:PORT of a Ray cluster, or auto, got 'ray://node:10001'"),
        ("node:99999", "expected HOST:PORT of a Ray cluster, or auto, got 'node:99999'"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(address: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: Ray tries for minutes."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConfigError) as error:
        RayTasks(settings.Ray(address=address, num_cpus=1, num_gpus=0, repeats=3))
    assert str(error.value).startswith(f"hydra.launcher.address: {told}")
    assert "\n" not in str(error.value)


def test_tasks_without_a_gpu_do_not_share_the_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="gpu")])
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.num_gpus: expected more than 0"):
        RayTasks(settings.Ray(address=None, num_cpus=1, num_gpus=0, repeats=3)).check()
    RayTasks(settings.Ray(address=None, num_cpus=1, num_gpus=1, repeats=3)).check()


def test_a_sweep_that_stops_jobs_early_goes_on_here_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_installed", lambda package: True)
    config = make("dataset=digits", "training.epochs=9", "sweep.stop=asha")
    sweep.write(tmp_path, [sweep.noted(0, Path("0"), (), config)])
    with pytest.raises(ConfigError, match="a sweep that stops jobs early goes on in this process only"):
        going_on.resume(tmp_path, ["hydra/launcher=ray"])


@pytest.mark.parametrize(
    ("noted", "told"),
    [("127.0.0.1:1", "hydra.launcher.address: no Ray cluster at 127.0.0.1:1 ("), (None, "no Ray cluster runs here")],
)
def test_a_cluster_that_is_gone_is_not_waited_for(
    noted: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray leaves a note of a cluster behind, and tries it for minutes."""
    (tmp_path / "ray").mkdir()
    if noted:
        (tmp_path / "ray" / "ray_current_cluster").write_text(noted)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_tasks, "_runs_here", lambda: False)  # somebody else's may run
    with pytest.raises(ConfigError) as error:
        RayTasks(settings.Ray(address="auto", num_cpus=1, num_gpus=0, repeats=3))
    assert told in str(error.value)


def test_other_launchers_train_here() -> None:
    assert isinstance(engine.of({"_target_": "hydra_plugins.vaex.PackedLauncher"}), Here)
    assert isinstance(engine.of({}), Here)


def _jobs(folder: Path) -> list[Job]:
    config = make("dataset=digits", "dataset.limit=200", "training.epochs=2")
    places = [(seed, folder / str(seed)) for seed in range(3)]
    return [Job(dataclasses.replace(config, seed=seed), place, f"job {seed}", number=seed) for seed, place in places]


def test_packs_are_the_same_after_the_way_as_text(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path)
    longest = dataclasses.replace(jobs[2].config.training, epochs=9)
    jobs[2] = dataclasses.replace(jobs[2], config=dataclasses.replace(jobs[2].config, training=longest))
    parcels = parcel.of_sweep(tmp_path, [[job] for job in jobs], together=2, lanes=1, token="t")
    assert [parcel.read(each.as_text()) for each in parcels] == parcels
    assert [each.packs for each in parcels] == [((jobs[2],), (jobs[0],)), ((jobs[1],),)]  # the longest first
    assert [each.steps for each in parcels] == [(18, 8), (8,)]  # those of all packs of a program


def test_what_slurm_takes_in_part_is_taken_back_and_what_it_does_not_take_later_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of tasks a user, as clusters have it; and a Slurm that is restarted while others train."""
    ran: list[list[str]] = []

    def submitted(_: object, numbers: list[int]) -> list[str]:
        if numbers == [1]:
            raise VaexError("Job violates accounting/QOS policy")
        return ["7_0"]

    monkeypatch.setattr(slurm_tasks, "_largest_array", lambda: 1)
    monkeypatch.setattr(slurm_tasks.subprocess, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(slurm_tasks._Tasks, "_submit", submitted)
    parcels = parcel.of_sweep(tmp_path, [[job] for job in _jobs(tmp_path)], together=1, lanes=1, token="t")
    with pytest.raises(VaexError, match="QOS policy"):
        slurm_tasks._Tasks(_slurm(), tmp_path).send(dict(enumerate(parcels)))
    assert ran == [["scancel", "7"]]
    tasks = slurm_tasks._Tasks(_slurm(), tmp_path)
    tasks.send({0: parcels[0]})
    tasks.send({1: parcels[1]})
    assert json.loads((tmp_path / "tasks.json").read_text()) == {"tasks": ["7_0"]}
    monkeypatch.setattr(slurm_tasks, "in_queue", lambda _: {"7_0"})
    monkeypatch.setattr(slurm_tasks, "LOST_AFTER", 0.0)
    assert list(tasks.reports(0.0)) == [1]  # lost, which is sent again


def test_a_job_goes_on_from_what_is_there_of_it(tmp_path: Path) -> None:
    ended, begun, others = jobs = _jobs(tmp_path)
    for job, of in ((ended, ended), (begun, begun), (others, ended)):
        job.directory.mkdir()
        (job.directory / "config.yaml").write_text("")
        manifest = {"segments": [{"identity": identity(of.config)}]}
        (job.directory / "manifest.json").write_text(json.dumps(manifest))
    (ended.directory / "summary.json").write_text('{"status": "finished"}')
    found = worker.as_they_are(jobs)
    assert [(job.resumed, job.ghost) for job in found] == [(True, True), (True, False), (False, False)]


def test_runs_travel_whole_and_stay_where_they_belong(tmp_path: Path) -> None:
    for name in ("config.yaml", ".lock", "checkpoints/epoch_1"):
        path = tmp_path / "here" / "3" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    content = parcel.packed(tmp_path / "here", [Path("3"), Path("4")])
    (tmp_path / "there" / "3").mkdir(parents=True)
    (tmp_path / "there" / "3" / "config.yaml").write_text("older")
    parcel.put_in_place(content, tmp_path / "there")
    found = {
        str(path.relative_to(tmp_path / "there")): path.read_text()
        for path in (tmp_path / "there").rglob("*")
        if path.is_file()
    }
    assert found == {"3/config.yaml": "config.yaml", "3/checkpoints/epoch_1": "checkpoints/epoch_1"}
