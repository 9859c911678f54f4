"""Sweeps of the real command line: every job what it would be alone, nothing lost when they are cut off."""

import dataclasses
import json
import re
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vaex
from tests.conftest import command
from tests.support.configurations import make
from tests.support.processes import (
    OF_THE_MACHINE,
    PATIENCE,
    ROOT,
    SMALL,
    epochs_on_disk,
    results,
    server,
    until,
)
from vaex import cli, files
from vaex.commands import resume
from vaex.device import compilation, compiled, memory
from vaex.device.compilation import Choice
from vaex.disk import results as reading
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.errors import InputError
from vaex.figures import gallery
from vaex.terminal.displays import LoneDisplay
from vaex.training import run

GRID = ("loss=sigma,gamma", "model.latent_dim=2,4", "seed=0,1")
SHORT = "training.epochs=3"
BARE = (*SMALL, "sweep.figures_up_to=0")
"""Without figures, which take longer than these runs; conftest's sweep draws them."""


def vaex_m(directory: Path, *overrides: str, **options: Any) -> tuple[int, str]:
    return server().run("-m", *BARE, *overrides, f"hydra.sweep.dir={directory}", **options)


def table(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "sweep.csv").drop(columns=[*OF_THE_MACHINE])


def line(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(start)]
    return found


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight jobs, four programs, by the launcher that nobody has to name. Read only."""
    directory = tmp_path_factory.mktemp("packed") / "sweep"
    code, text = vaex_m(directory, *GRID, SHORT)
    assert code == 0, text
    return directory


def test_every_job_is_what_it_is_by_the_basic_launcher_and_alone(packed: Path, tmp_path: Path):
    code, text = vaex_m(tmp_path / "basic", *GRID, SHORT, "hydra/launcher=basic")
    assert code == 0, text
    for number in range(8):
        assert results(packed / str(number)) == results(tmp_path / "basic" / str(number))
    pd.testing.assert_frame_equal(table(packed), table(tmp_path / "basic"), check_exact=True)
    alone = ("loss=gamma", "model.latent_dim=4", "seed=1", SHORT)
    assert server().run(*SMALL, *alone, f"hydra.run.dir={tmp_path / 'alone'}")[0] == 0
    assert results(packed / "7") == results(tmp_path / "alone")


def test_each_job_has_its_own_log(packed: Path):
    for number in range(8):
        lines = (packed / str(number) / "vaex.log").read_text().splitlines()
        run_id = files.read_json(packed / str(number) / "summary.json")["run_id"]
        first, placed, last = (text.split("INFO ")[1] for text in lines)
        assert (first, last) == (f"run {run_id} starts after epoch 0", f"run {run_id} is finished")
        assert re.fullmatch(r"[\d.e+-]+ MB of images, .*: in its memory", placed)


@pytest.mark.slow
def test_a_vmapped_sweep_has_the_same_jobs_within_the_spread_of_seeds(packed: Path, tmp_path: Path):
    code, text = vaex_m(
        tmp_path, "loss=softplus,gamma", "model.latent_dim=2,4", "seed=0,1", SHORT, "pack.strategy=vmap"
    )
    assert code == 0, text
    assert "8 jobs, 1 packs" in text
    together, alone = vaex.load_sweep(tmp_path), vaex.load_sweep(packed)
    gamma = [2, 3, 6, 7]  # the jobs of both whose loss it is
    for number in gamma:
        one, other = (vaex.load(place / str(number)) for place in (tmp_path, packed))
        np.testing.assert_allclose(one.steps["loss"][:5], other.steps["loss"][:5], rtol=1e-5)
        assert len(one.metrics["valid/kl_per_latent"].iloc[0]) == one.config["model"]["latent_dim"]
    elbos = alone["test/elbo"][gamma]
    assert (together["test/elbo"][gamma] - elbos).abs().max() < elbos.max() - elbos.min()
    record = files.read_json(tmp_path / "6" / "manifest.json")["pack"]
    assert (record["index"], record["runs"], record["differ"]["seed"]) == (6, 8, [0, 1] * 4)
    code, text = server().run("reproduce", tmp_path / "6", f"hydra.run.dir={tmp_path / 'again'}")
    assert (code, line(text, "reproduce:")) == (0, "reproduce: identical"), text


def trained(directory: Path, jobs: int, epochs: int) -> bool:
    """Whether so many jobs have begun and one has trained so many epochs."""
    counts = [epochs_on_disk(path.parent) for path in directory.glob("*/metrics.jsonl")]
    return len(counts) >= jobs and max(counts) >= epochs


LONG = "training.epochs=60"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight jobs, uninterrupted. Read only."""
    directory = tmp_path_factory.mktemp("whole") / "sweep"
    code, text = vaex_m(directory, *GRID, LONG)
    assert code == 0, text
    return directory


def test_killed_in_the_middle_and_resumed_it_ends_as_if_nothing_had_happened(whole: Path, tmp_path: Path):
    directory = tmp_path / "sweep"
    running = server().start("-m", *BARE, *GRID, LONG, f"hydra.sweep.dir={directory}")
    until(lambda: trained(directory, jobs=5, epochs=10))
    running.kill(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    ended = [path.parent for path in directory.glob("*/summary.json")]
    assert 0 < len(ended) < 8
    assert "finished" in set(pd.read_csv(directory / "sweep.csv")["status"])  # it has grown meanwhile
    before = {path: path.stat().st_mtime_ns for job in ended for path in job.rglob("*")}
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pd.testing.assert_frame_equal(table(directory), table(whole), check_exact=True)
    without = [drop_columns(path) for path in (directory / "sweep.csv", whole / "sweep.csv")]
    assert without[0] == without[1]
    for number in range(8):
        assert results(directory / str(number)) == results(whole / str(number))


def drop_columns(path: Path) -> list[list[str]]:
    """The cells of a sweep.csv as they stand in the file, less those of the machine."""
    rows = [text.split(",") for text in path.read_text().splitlines()]
    kept = [index for index, name in enumerate(rows[0]) if name not in OF_THE_MACHINE]
    return [[row[index] for index in kept] for row in rows]


def test_ctrl_c_saves_every_running_job_and_the_same_line_goes_on(whole: Path, tmp_path: Path):
    directory = tmp_path / "sweep"
    running = server().start("-m", *BARE, *GRID, LONG, f"hydra.sweep.dir={directory}")
    until(lambda: trained(directory, jobs=3, epochs=20))
    running.kill(signal.SIGINT)
    assert running.wait() == 130
    text = running.text()
    assert line(text, "to go on:") == f"to go on: vaex resume {directory}"
    assert not (directory / "report.html").exists()
    statuses = [files.read_json(path)["status"] for path in directory.glob("*/summary.json")]
    assert 1 <= statuses.count("interrupted") <= 2
    for path in directory.glob("*/summary.json"):
        epochs = files.read_json(path).get("epoch", 0)  # a run that the signal met before its first epoch has none
        assert not epochs or (path.parent / "checkpoints" / f"epoch_{epochs:06d}.ckpt").exists()
    code, text = vaex_m(directory, *GRID, LONG)
    assert code == 0, text
    pd.testing.assert_frame_equal(table(directory), table(whole), check_exact=True)


def test_a_finished_sweep_stays_as_it_is_and_another_one_is_refused(packed: Path, tmp_path: Path):
    directory = Path(shutil.copytree(packed, tmp_path / "sweep"))
    before = {path: path.stat().st_mtime_ns for path in directory.glob("*/**/*.*")}
    for code, text in (server().run("resume", directory), vaex_m(directory, *GRID, SHORT)):
        assert code == 0, text
        assert "all 8 jobs have ended; nothing to do" in text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    code, text = vaex_m(directory, *GRID, "training.epochs=4")
    assert (code, text) == (2, f"vaex: {directory} holds another sweep: choose another directory, "
                               "or go on with `vaex resume`\n")  # fmt: skip
    code, text = server().run("resume", directory, "training.epochs=4")
    assert (code, text.count("\n")) == (2, 1)
    assert "training.epochs: cannot change in a sweep" in text


def test_only_one_process_works_on_a_sweep(packed: Path, tmp_path: Path):
    directory = Path(shutil.copytree(packed, tmp_path / "sweep"))
    with files.locked(directory):
        code, text = server().run("resume", directory)
    assert (code, text) == (2, f"vaex: {directory}: another process is training here; wait for it or stop it\n")


BREAKABLE = """
import os
import re
from typing import Literal
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.losses import gamma

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["breakable"]
    breaks: bool

def posterior(config, mu, raw):
    if config.breaks and os.environ.get("BREAK") and "ghost" not in os.environ:
        raise RuntimeError("it broke")
    return gamma.posterior(gamma.Config("gamma"), mu, raw)
"""


def test_a_failed_job_is_retried_and_the_others_are_left_alone(tmp_path: Path):
    (tmp_path / "breakable.py").write_text(BREAKABLE)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "breakable.yaml").write_text("name: breakable\nbreaks: false\n")
    plugin, directory = "plugins=[./breakable.py]", tmp_path / "sweep"
    options = {"cwd": tmp_path, "env": {"BREAK": "1"}}
    grid = ("--config-dir", "conf", plugin, "loss=breakable", "loss.breaks=true,false", SHORT)
    code, text = vaex_m(directory, *grid, **options)
    assert code == 1, text
    assert pd.read_csv(directory / "sweep.csv")["status"].tolist() == ["failed", "finished"]
    before = (directory / "1" / "summary.json").stat().st_mtime_ns
    code, text = server().run("resume", directory, cwd=tmp_path)
    assert code == 2
    assert "if you trust them, add plugins=" in text
    code, text = server().run("resume", directory, plugin, cwd=tmp_path)
    assert code == 0, text
    assert pd.read_csv(directory / "sweep.csv")["status"].tolist() == ["finished", "finished"]
    assert (directory / "1" / "summary.json").stat().st_mtime_ns == before
    assert results(directory / "0") == results(directory / "1")


@pytest.mark.slow
def test_a_vmapped_pack_that_was_cut_off_is_rebuilt(tmp_path: Path):
    """Killed when one of its runs had written everything: that one rides along, and nothing of it is touched."""
    grid = ("model.latent_dim=2,3", "seed=0,1", "training.epochs=12", "pack.strategy=vmap")
    assert vaex_m(tmp_path / "whole", *grid)[0] == 0
    directory = Path(shutil.copytree(tmp_path / "whole", tmp_path / "cut"))
    for number in (1, 2, 3):
        (directory / str(number) / "summary.json").unlink()
    newest = max((directory / "2" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-7])  # so all go back by one epoch at least
    before = {path: path.stat().st_mtime_ns for path in (directory / "0").rglob("*")}
    code, text = server().run("resume", directory / "1")
    assert (code, text.count("\n")) == (2, 1)
    assert f"have not ended; `vaex resume {directory}` goes on with all of them" in text
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert "damaged" in text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for number in range(4):
        assert results(directory / str(number)) == results(tmp_path / "whole" / str(number))
    code, text = server().run("resume", directory / "3", "training.epochs=14")
    assert code == 0, text
    assert "reproduce" not in text
    code, text = server().run("resume", directory / "3", "training.epochs=16")  # whose configuration is its own now
    assert code == 0, text
    one = Path(shutil.copytree(tmp_path / "whole" / "1", tmp_path / "one"))
    (one / "summary.json").unlink()
    code, text = server().run("resume", one)
    assert (code, text.count("\n")) == (2, 1)
    assert "shared a vmapped program with runs that are not beside it" in text


@pytest.mark.slow
def test_a_pack_that_its_device_has_no_room_for_is_trained_in_parts(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Down to lone runs here, where no memory is free at all: those have the bits of a CPU's."""
    monkeypatch.setattr(memory, "free", lambda device: 0)
    grid = (*BARE, "loss=gamma", "model.latent_dim=2,4", SHORT)
    assert cli._guarded(["-m", *grid, "pack.strategy=vmap", f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    (told,) = capfd.readouterr().err.splitlines()
    assert told.startswith("vaex: 2 runs in one program: needs 0.0")
    assert told.endswith("are free; trained as 1 and 1")
    for number, lone in enumerate((2, 6)):
        assert results(tmp_path / "sweep" / str(number)) == results(packed / str(lone))
        assert files.read_json(tmp_path / "sweep" / str(number) / "manifest.json")["pack"] is None


@pytest.mark.slow
def test_a_pack_with_lanes_to_spare_is_made_again_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a GPU would fill it up: resumed and reproduced from what the manifest says, where nothing else would."""
    grid = ("seed=0,1,2", "training.epochs=4", "pack.strategy=vmap", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    with monkeypatch.context() as patch:
        patch.setattr(compilation, "choose", lambda _, runs, sizes, *rest, **spare: Choice(None, runs + 1, max(sizes)))
        assert cli._guarded(["-m", *BARE, *grid]) == 0
    assert files.read_json(tmp_path / "sweep" / "1" / "manifest.json")["program"] == {"lanes": 4}
    assert cli._guarded(["reproduce", str(tmp_path / "sweep" / "1"), f"hydra.run.dir={tmp_path / 'again'}"]) == 0
    assert results(tmp_path / "again") == results(tmp_path / "sweep" / "1")
    assert files.read_json(tmp_path / "again" / "manifest.json")["program"] == {"lanes": 4}
    directory = Path(shutil.copytree(tmp_path / "sweep", tmp_path / "cut"))
    for number in range(3):
        (directory / str(number) / "summary.json").unlink()
        max((directory / str(number) / "checkpoints").iterdir()).unlink()
    assert cli._guarded(["resume", str(directory)]) == 0
    for number in range(3):
        assert results(directory / str(number)) == results(tmp_path / "sweep" / str(number))
    manifest = tmp_path / "sweep" / "1" / "manifest.json"
    files.write_json(manifest, files.read_json(manifest) | {"program": {"lanes": 10**9}})
    assert cli._guarded(["reproduce", str(tmp_path / "sweep" / "1"), f"hydra.run.dir={tmp_path / 'none'}"]) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_each_of_several_devices_gives_the_same_bits(tmp_path: Path):
    """A pack on each; a job that the second one trained is made again on the first."""
    several = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    grid = ("seed=range(0,4)", SHORT, "pack.strategy=vmap", "pack.max_runs=2", "hydra.sweep.dir=sweep")
    done = command(tmp_path, "-m", *BARE, *grid, **several)
    assert done.code == 0, done.stderr
    for number in (1, 3):
        again = command(tmp_path, "reproduce", f"sweep/{number}", f"hydra.run.dir=again{number}")
        assert again.code == 0, again.stderr
        assert "reproduce: identical" in again.stdout


@pytest.mark.slow
def test_hydras_sweep_grammar_and_a_sweeper_that_sends_two_batches(tmp_path: Path):
    grid = ("seed=range(0,3)", "loss=glob(exp*)", "kl_weight.beta=choice(0.5,1.0)")
    batches = ("hydra.sweeper.max_batch_size=4", "sweep.figures_up_to=3")  # of four and two jobs, six in all
    code, text = server().run("-m", *SMALL, *grid, "training.epochs=1", *batches, f"hydra.sweep.dir={tmp_path}")
    assert code == 0, text
    found = pd.read_csv(tmp_path / "sweep.csv")
    assert found["job"].tolist() == list(range(6))
    assert found["seed"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["kl_weight.beta"].tolist() == [0.5, 1.0] * 3
    assert set(found["loss"]) == {"exp_linear"}
    assert not list(tmp_path.glob("*/figures"))
    code, text = server().run("figures", tmp_path / "4")
    assert code == 0, text
    assert {path.stem for path in (tmp_path / "4" / "figures").iterdir()} == set(gallery.UNASKED)
    assert len(text.splitlines()) == len(gallery.UNASKED)


def test_a_sweep_that_a_run_ends_with_raise(tmp_path: Path):
    rates = "optimizer.learning_rate=1e30,1e-3,2e-3,3e-3"
    code, text = vaex_m(tmp_path, rates, LONG, "training.on_nonfinite=raise", "sweep.lanes=1")
    assert code == 1, text
    assert pd.read_csv(tmp_path / "sweep.csv")["status"].tolist() == ["diverged", *["interrupted"] * 3]


def test_lanes_are_no_more_than_threads_of_xla(tmp_path: Path):
    code, text = vaex_m(tmp_path, "seed=0,1", "training.epochs=1", "sweep.lanes=8", env={"NPROC": "1"})
    assert code == 0, text
    assert line(text, "vaex:") == "vaex: sweep.lanes=8: XLA has 1 threads, so 1 runs train at once"


def test_a_record_that_somebody_sent_cannot_leave_its_directory(packed: Path, tmp_path: Path):
    content = json.loads((packed / "sweep.json").read_text())
    for bad in ("../elsewhere", "/tmp/elsewhere", "0/../../elsewhere"):
        content["jobs"][0]["directory"] = bad
        (tmp_path / "sweep.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"sweep\.json: not the record of a sweep"):
            resume.main([str(tmp_path)])
    for bad in ({}, {"jobs": []}, {"jobs": [{}], "threads": 1}, {"jobs": 3, "threads": 1}):
        (tmp_path / "sweep.json").write_text(json.dumps(bad))
        with pytest.raises(InputError, match=r"sweep\.json"):
            resume.main([str(tmp_path)])


def test_a_directory_that_holds_another_run_is_named_and_left_alone(packed: Path, tmp_path: Path):
    directory = Path(shutil.copytree(packed, tmp_path / "sweep"))
    shutil.rmtree(directory / "3")
    shutil.copytree(directory / "2", directory / "3")
    (directory / "3" / "summary.json").unlink()
    code, text = server().run("resume", directory)
    assert code == 1  # job 3 has no result
    assert "sweep/3: holds another run than job 3" in line(text, "vaex:")
    assert (directory / "3" / "metrics.jsonl").read_bytes() == (packed / "2" / "metrics.jsonl").read_bytes()


def test_other_data_than_a_job_was_trained_on(packed: Path, tmp_path: Path):
    directory = Path(shutil.copytree(packed, tmp_path / "sweep"))
    (directory / "3" / "summary.json").unlink()
    manifest = files.read_json(directory / "3" / "manifest.json")
    files.write_json(directory / "3" / "manifest.json", manifest | {"dataset_sha256": "0" * 64})
    with pytest.raises(InputError, match=r"dataset=digits is not what .*sweep/3 was trained on"):
        resume.main([str(directory)])


SWEEPER = """
import json
from pathlib import Path

from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper


class TwoBatches(Sweeper):
    \"\"\"Decides on its second batch when it has seen how the first ended.\"\"\"

    def setup(self, *, hydra_context, task_function, config):
        from hydra.core.plugins import Plugins

        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        first = self.launcher.launch([[*arguments, f"seed={n}"] for n in (5, 6)], initial_job_idx=0)
        assert [job.status for job in first] == [JobStatus.COMPLETED] * 2
        (Path(__file__).parent / "values.json").write_text(json.dumps([job.return_value for job in first]))
        return self.launcher.launch([[*arguments, "seed=7"]], initial_job_idx=2)
"""


SEVERAL = "sweep.objective=[test/elbo,loss_spikes]"

LAUNCHER = """
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.plugins.launcher import Launcher
from joblib import Parallel, delayed
from omegaconf import open_dict


class Processes(Launcher):
    \"\"\"As hydra-joblib-launcher does it.\"\"\"

    def setup(self, *, hydra_context, task_function, config):
        self.given = hydra_context, task_function, config

    def launch(self, job_overrides, initial_job_idx):
        state = Singleton.get_state()
        jobs = [(n, list(overrides)) for n, overrides in enumerate(job_overrides, initial_job_idx)]
        return Parallel(n_jobs=2, backend="loky")(delayed(execute)(*self.given, state, *job) for job in jobs)


def execute(context, task, config, state, number, overrides):
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = f"{job.hydra.job.name}_{number}", number
    keys = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
    return run_job(hydra_context=context, config=job, task_function=task, **keys)
"""


def with_hydras_plugins(folder: Path, *overrides: str) -> None:
    """A sweep into `sweep`, of seconds, with somebody's sweeper `two_batches` and launcher `processes` at hand."""
    (folder / "hydra_plugins").mkdir()
    for kind, name, code in (("sweeper", "TwoBatches", SWEEPER), ("launcher", "Processes", LAUNCHER)):
        (folder / "hydra_plugins" / f"{name}.py").write_text(code)
        (folder / "conf" / "hydra" / kind).mkdir(parents=True)
        chosen = folder / "conf" / "hydra" / kind / f"{name}.yaml"
        chosen.write_text(f"_target_: hydra_plugins.{name}.{name}\n")
    line = ("-m", *SMALL, SHORT, "--config-dir", "conf", "hydra.sweep.dir=sweep", *overrides)
    code, text = server().run(*line, cwd=folder, env={"PYTHONPATH": f"{folder}:{ROOT}"})
    assert code == 0, text


def drawn(directory: Path) -> list[str]:
    """The jobs that have drawn their figures."""
    return sorted(path.parent.name for path in directory.glob("*/figures"))


@pytest.mark.parametrize("launcher", ["packed", pytest.param("basic", marks=pytest.mark.slow)])
def test_a_sweeper_of_somebody_elses_sends_two_batches(tmp_path: Path, launcher: str):
    chosen = [] if launcher == "packed" else ["hydra/launcher=basic"]
    with_hydras_plugins(tmp_path, "hydra/sweeper=TwoBatches", "sweep.figures_up_to=2", SEVERAL, *chosen)
    assert drawn(tmp_path / "sweep") == ["0", "1"]  # nobody knew that there would be a third one
    found = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert (found["job"].tolist(), found["seed"].tolist()) == ([0, 1, 2], [5, 6, 7])
    told = json.loads((tmp_path / "hydra_plugins" / "values.json").read_text())
    assert [elbo for elbo, _ in told] == pytest.approx(found["test/elbo"][:2].tolist())
    assert [spikes for _, spikes in told] == found["loss_spikes"][:2].tolist()
    (tmp_path / "sweep" / "2" / "summary.json").unlink()
    code, text = server().run("resume", tmp_path / "sweep")
    assert code == 0, text
    assert set(pd.read_csv(tmp_path / "sweep" / "sweep.csv")["status"]) == {"finished"}


@pytest.mark.slow
def test_processes_of_another_launcher_know_how_many_jobs_there_are_and_where(tmp_path: Path):
    """Each gets the task pickled: with the number of the jobs, and the directory from which relative paths start."""
    (tmp_path / "breakable.py").write_text(BREAKABLE)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "breakable.yaml").write_text("name: breakable\nbreaks: false\n")
    before = {"breakable.py", "conf", "hydra_plugins"}
    line = ("plugins=[./breakable.py]", "loss=breakable", "seed=0,1", "sweep.figures_up_to=1", "hydra.job.chdir=true")
    with_hydras_plugins(tmp_path, *line, "hydra/launcher=Processes")
    assert {path.name for path in tmp_path.iterdir()} == before | {"sweep"}
    assert pd.read_csv(tmp_path / "sweep" / "sweep.csv")["status"].tolist() == ["finished"] * 2
    assert drawn(tmp_path / "sweep") == []
    assert [job.number for job in sweep.read(tmp_path / "sweep")[1]] == [0, 1]


@pytest.mark.slow
def test_processes_of_another_launcher_leave_no_record_of_one_job_when_nobody_knows_all(tmp_path: Path):
    with_hydras_plugins(tmp_path, "hydra/sweeper=TwoBatches", "hydra/launcher=Processes", "sweep.figures_up_to=1")
    assert not (tmp_path / "sweep" / "sweep.json").exists()
    found = vaex.load_sweep(tmp_path / "sweep")
    assert (found["job"].tolist(), found["seed"].tolist()) == ([0, 1, 2], [5, 6, 7])
    assert drawn(tmp_path / "sweep") == ["0"]


@pytest.mark.parametrize("launcher", ["packed", pytest.param("basic", marks=pytest.mark.slow)])
def test_a_time_in_the_names_of_directories_is_one_for_the_whole_command(tmp_path: Path, launcher: str):
    where = ("hydra.sweep.dir=runs/${now:%M-%S-%f}", "hydra.sweep.subdir=${now:%S-%f}/${hydra.job.num}")
    line = ("-m", *BARE, "training.epochs=1", "seed=0,1", *where, f"hydra/launcher={launcher}")
    code, text = server().run(*line, cwd=tmp_path)
    assert code == 0, text
    (directory,) = (tmp_path / "runs").iterdir()
    assert vaex.load_sweep(directory)["status"].tolist() == ["finished"] * 2
    (folder,) = (path for path in directory.iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]


def seeds_of(folder: Path) -> set[str]:
    """The seeds that a job's folder tells of: by its name, what it ran, and what Hydra noted."""
    noted = files.read_yaml_value(folder / ".hydra" / "overrides.yaml")
    configs = (files.read_yaml(folder / name)["seed"] for name in ("config.yaml", ".hydra/config.yaml"))
    return {folder.name, *(text for text in noted if text.startswith("seed=")), *(f"seed={seed}" for seed in configs)}


@pytest.mark.parametrize("launcher", ["packed", "basic", pytest.param("Processes", marks=pytest.mark.slow)])
def test_a_shuffle_is_drawn_once_in_a_command(tmp_path: Path, launcher: str):
    """Folder, screen, Hydra's records, sweep.json, sweep.csv and the run itself are of one draw."""
    left_out = ",".join(item.partition("=")[0] for item in (*SMALL, SHORT, "sweep.figures_up_to="))
    named = "hydra.sweep.subdir='${hydra.job.override_dirname}'"
    line = (f"hydra.job.config.override_dirname.exclude_keys=[{left_out}]", named, "seed=shuffle(range(0,5))")
    line = (*line, "sweep.figures_up_to=0", f"hydra/launcher={launcher}")
    if launcher == "Processes":
        with_hydras_plugins(tmp_path, *line)
    else:
        code, text = server().run("-m", *SMALL, SHORT, *line, "hydra.sweep.dir=sweep", cwd=tmp_path)
        assert code == 0, text
    noted, found = sweep.read(tmp_path / "sweep")[1], vaex.load_sweep(tmp_path / "sweep")
    for job, seed, elbo in zip(noted, found["seed"], found["valid/elbo"], strict=True):
        folder = tmp_path / "sweep" / f"seed={seed}"
        assert seeds_of(folder) == {f"seed={seed}"}
        assert (job.directory.name, job.config["seed"]) == (folder.name, seed)
        assert files.read_json(folder / "summary.json")["valid/elbo"] == elbo
        assert launcher == "Processes" or f"job {job.number}: seed={seed}  " in text
    assert sorted(found["seed"]) == [*range(5)]
    if launcher == "packed":
        code, text = server().run("-m", *SMALL, SHORT, *line, "hydra.sweep.dir=sweep", cwd=tmp_path)
        assert "all 5 jobs have ended; nothing to do" in text


def test_a_lone_run_in_a_directory_named_by_time_and_quotes(tmp_path: Path):
    code, text = server().run(*SMALL, SHORT, 'hydra.run.dir="runs/it\'s ${now:%S-%f}"', cwd=tmp_path)
    assert code == 0, text
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.startswith("it's ")
    assert files.read_json(directory / "summary.json")["status"] == "finished"


def test_a_narrowed_experiment_is_what_hydra_runs(tmp_path: Path):
    narrower = ("experiment=sigma_vs_gamma_quick", "seed=0,1", "loss=gamma", "optimizer.learning_rate=2e-3")
    code, text = vaex_m(tmp_path, *narrower, "training.epochs=1")
    assert code == 0, text
    found = pd.read_csv(tmp_path / "sweep.csv")
    assert found["seed"].tolist() == [0, 1]
    assert (set(found["loss"]), set(found["optimizer.learning_rate"])) == ({"gamma"}, {2e-3})
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["0", "1"]


def test_ten_thousand_jobs_are_read_back_and_too_many_are_refused(tmp_path: Path):
    one = sweep.noted(0, Path("0"), ("seed=0",), make(*SMALL))
    jobs = [dataclasses.replace(one, number=number, directory=Path(str(number))) for number in range(10_000)]
    sweep.write(tmp_path, jobs)
    assert sweep.read(tmp_path)[1] == jobs
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    wordy = f"# @package _global_\ntracking:\n  name: {'x' * 1_000_000}\n"
    (tmp_path / "conf" / "experiment" / "wordy.yaml").write_text(wordy)
    line = ("-m", *BARE, "--config-dir", "conf", "experiment=wordy", "seed=range(0,40)", "hydra.sweep.dir=here")
    code, text = server().run(*line, cwd=tmp_path)
    assert (code, text.count("\n")) == (2, 1), text
    assert "vaex: 40 jobs are too many for one sweep: sweep.json would have 40 MB, at most 34 MB" in text
    assert not (tmp_path / "here").exists()


def test_a_lone_run_does_not_ask_a_sweeper_that_is_configured(tmp_path: Path):
    (tmp_path / "conf" / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "conf" / "hydra" / "sweeper" / "mine.yaml").write_text("_target_: my_lab.Sweeper\n")
    mine = ("--config-dir", "conf", "hydra/sweeper=mine", "hydra.run.dir=run")
    code, text = server().run(*SMALL, SHORT, *mine, cwd=tmp_path)
    assert code == 0, text
    assert not (tmp_path / "run" / "sweep.json").exists()


def test_jobs_in_folders_of_any_name_and_without_hydras_record(tmp_path: Path):
    where = ("hydra.sweep.subdir='${loss.name}/${seed}'", "hydra.output_subdir=null")
    code, text = vaex_m(tmp_path / "sweep", "loss=sigma,gamma", "seed=3,1", SHORT, *where)
    assert code == 0, text
    found = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert found["job"].tolist() == [0, 1, 2, 3]
    assert found["seed"].tolist() == [3, 1, 3, 1]
    assert (tmp_path / "sweep" / "gamma" / "1" / "summary.json").exists()
    (tmp_path / "sweep" / "gamma" / "1" / "summary.json").unlink()
    assert server().run("resume", tmp_path / "sweep")[0] == 0
    code, text = vaex_m(tmp_path / "other", "seed=3,1", "hydra.sweep.subdir=../${hydra.job.num}")
    assert (code, text.count("\n")) == (2, 1)
    assert "leaves the sweep's directory" in text


@pytest.mark.parametrize("launcher", ["packed", pytest.param("basic", marks=pytest.mark.slow)])
def test_with_chdir_every_job_is_in_its_own_directory(tmp_path: Path, launcher: str):
    line = ("-m", *SMALL, SHORT, "seed=0,1", "hydra.sweep.dir=sweep", "hydra.job.chdir=true")
    code, text = server().run(*line, f"hydra/launcher={launcher}", cwd=tmp_path)
    assert code == 0, text
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}
    assert results(tmp_path / "sweep" / "0") != results(tmp_path / "sweep" / "1")


def test_with_chdir_a_lone_run_is_in_its_directory(tmp_path: Path):
    code, text = server().run(*SMALL, SHORT, "hydra.run.dir=run", "hydra.job.chdir=true", cwd=tmp_path)
    assert code == 0, text
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert files.read_json(tmp_path / "run" / "summary.json")["status"] == "finished"
    assert not (tmp_path / "run" / "run").exists()


def test_the_table_grows_as_jobs_end_and_no_thread_waits_for_another(packed: Path, tmp_path: Path):
    directory = Path(shutil.copytree(packed, tmp_path / "sweep"))
    (directory / "5" / "summary.json").unlink()
    growing = reading.growing_sweep_csv(directory)
    with growing._lock:  # another thread is writing the table
        thread = threading.Thread(target=growing.update)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    growing.update()
    assert pd.read_csv(directory / "sweep.csv")["job"].tolist() == [0, 1, 2, 3, 4, 6, 7]


def test_the_longest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started = []
    start_display = LoneDisplay.start

    def note(display: LoneDisplay, job: Job, epoch: int) -> None:
        started.append(job.config.training.epochs)
        start_display(display, job, epoch)

    monkeypatch.setattr(LoneDisplay, "start", note)
    quiet = (*SMALL, "tracking.mode=disabled")
    jobs = [Job(make(*quiet, f"training.epochs={n}"), tmp_path / str(n), "", figures=False) for n in (1, 9, 4)]
    run.run([[job] for job in jobs])
    assert started == [9, 4, 1]


def test_a_program_is_made_once():
    made = []
    started = threading.Barrier(6)

    def ask() -> None:
        started.wait()
        compiled._once("a program", lambda: made.append(1))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


@pytest.mark.slow
def test_a_mixed_sweep_of_fashion_mnist_byte_for_byte(tmp_path: Path):
    """Twelve jobs, six programs: packed, by the basic launcher, and each by a lone command."""
    grid = ("dataset=fashion_mnist", "seed=0,1", "model.latent_dim=2,5,10", "loss=sigma,gamma", "training.epochs=2")
    for name, more in (("packed", ()), ("basic", ("hydra/launcher=basic",))):
        code, text = server().run("-m", *grid, *more, "sweep.figures_up_to=0", f"hydra.sweep.dir={tmp_path / name}")
        assert code == 0, text
    pd.testing.assert_frame_equal(table(tmp_path / "packed"), table(tmp_path / "basic"), check_exact=True)
    for number in range(12):
        overrides = files.read_yaml_value(tmp_path / "packed" / str(number) / ".hydra" / "overrides.yaml")
        code, text = server().run(*overrides, f"hydra.run.dir={tmp_path / 'lone' / str(number)}")
        assert code == 0, text
        packed = results(tmp_path / "packed" / str(number))
        assert packed == results(tmp_path / "basic" / str(number))
        assert packed == results(tmp_path / "lone" / str(number))


@pytest.mark.slow
def test_a_thousand_jobs_with_few_open_files(tmp_path: Path):
    """W&B offline in each, at `ulimit -n 1024`."""
    limited = ("bash", "-c", 'ulimit -n 1024; exec "$@"', "bash")
    line = ("-m", *SMALL, "training.epochs=1", "seed=range(0,1000)", "hydra.sweep.dir=sweep")
    done = command(tmp_path, *line, before=limited, timeout=4 * PATIENCE, WANDB_MODE="offline")
    assert (done.code, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr
    found = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert found["status"].tolist() == ["finished"] * 1000
    assert len(list((tmp_path / "sweep").glob("*/wandb/offline-run-*"))) == 1000


@pytest.mark.slow
def test_a_vmapped_pack_of_many_runs_with_few_open_files(tmp_path: Path):
    """A hundred runs at once, W&B offline in each: no more than sixty-four of them open there together."""
    limited = ("bash", "-c", 'ulimit -n 700; exec "$@"', "bash")
    line = ("-m", *SMALL, "training.epochs=2", "seed=range(0,100)", "pack.strategy=vmap", "hydra.sweep.dir=sweep")
    done = command(tmp_path, *line, before=limited, WANDB_MODE="offline")
    assert (done.code, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr
    assert set(pd.read_csv(tmp_path / "sweep" / "sweep.csv")["status"]) == {"finished"}
    assert len(list((tmp_path / "sweep").glob("*/wandb/offline-run-*"))) == 100
