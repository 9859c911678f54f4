"""What is refused of `hydra/launcher=ray` and `slurm` before anything is made, and packs as text and back."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from tests.support.configurations import make
from vaex.config import identity
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.engines import engine, parcel, settings, worker
from vaex.engines.engine import Here
from vaex.engines.ray_tasks import RayTasks
from vaex.errors import ConfigError
from vaex.sweeping import going_on

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
    ],
)
def test_a_wrong_key_is_one_line(changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        engine.of(RAY | changed)
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1 ("),
        ("node", "expected HOST:PORT of a Ray cluster, or auto, got 'node'"),
        ("ray://node:10001", "expected HOST:PORT of a Ray cluster, or auto, got 'ray://node:10001'"),
        ("node:99999", "expected HOST:PORT of a Ray cluster, or auto, got 'node:99999'"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(address: str, told: str) -> None:
    """At once: Ray tries for minutes."""
    with pytest.raises(ConfigError) as error:
        RayTasks(settings.Ray(address=address, num_cpus=1, num_gpus=0, repeats=3))
    assert str(error.value).startswith(f"hydra.launcher.address: {told}")
    assert "\n" not in str(error.value)


SLURM = {
    "_target_": "hydra_plugins.vaex.SlurmLauncher", "partition": None, "time": 1, "mem_gb": 4, "cpus_per_task": 1,
    "gpus": 0, "setup": [], "sbatch": [], "array_parallelism": 256, "packs_per_task": 1, "grace": 60, "timeouts": 1000,
    "repeats": 3, "wait": True,
}  # fmt: skip


def test_a_task_that_would_be_asked_to_end_when_it_begins_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_installed", lambda package: True)
    with pytest.raises(ConfigError) as told:
        settings.read(SLURM)
    assert str(told.value) == "hydra.launcher.grace: expected fewer than the 60 s of hydra.launcher.time=1, got 60"
    assert isinstance(settings.read(SLURM | {"grace": 59}), settings.Slurm)


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
