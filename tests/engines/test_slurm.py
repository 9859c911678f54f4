"""`hydra/launcher=slurm` on a real Slurm of one node: the packed launcher's bytes, whatever happens to tasks."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.support import GRID, LONG, assert_same, done, holder, stopped_by_ctrl_c, training, vaex
from tests.support.processes import ROOT, until

INSTALL = "needs Slurm, as root: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.engines,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("slurmctld", path="/usr/sbin") is None, reason=INSTALL),
]
pytest.importorskip("submitit", reason='needs submitit: pip install "vaex-experiments[slurm]"')

SLURM = ("hydra/launcher=slurm", "hydra.launcher.mem_gb=2", "hydra.sweep.dir=sweep")


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of this module's own."""
    state, script = tmp_path_factory.mktemp("slurm"), ROOT / "tests" / "engines" / "slurm.sh"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(state / "slurm.conf"))
        subprocess.run([script, "start", state, str(port)], check=True, stdout=subprocess.DEVNULL)
        yield
        subprocess.run([script, "stop", state], check=True)


def tasks(sweep: Path) -> list[str]:
    """Slurm's names of a sweep's tasks, when there are any."""
    path = sweep / ".slurm" / "tasks.json"
    until(path.exists)
    return json.loads(path.read_text())["tasks"]


def test_twelve_jobs_are_the_packed_launchers(tmp_path: Path, twelve: Path) -> None:
    code, output, errors = done(tmp_path, "-m", *GRID, *SLURM, "hydra.launcher.packs_per_task=3")
    assert (code, errors) == (0, "")
    assert output.count("finished at epoch 2") == 12
    assert len(list((tmp_path / "sweep" / ".slurm").glob("report_*.json"))) == 4
    scripts = [path.read_text() for path in (tmp_path / "sweep" / ".slurm").glob("*.sh")]
    arrays = {line for script in scripts for line in script.splitlines() if line.startswith("#SBATCH --array=")}
    assert arrays == {"#SBATCH --array=0-2%3"}  # this Slurm takes no longer ones; the fourth task is none
    assert all("#SBATCH --requeue" in script and "wckey" not in script for script in scripts)
    assert_same(tmp_path / "sweep", twelve)


@pytest.mark.parametrize("how", [("scontrol", "requeue"), ("scancel", "--signal=USR2")], ids=["requeue", "time limit"])
def test_a_task_that_is_queued_again_goes_on(tmp_path: Path, two: Path, how: tuple[str, ...]) -> None:
    run = vaex(tmp_path, "-m", *LONG, *SLURM)
    training(tmp_path / "sweep" / "0")
    task = tasks(tmp_path / "sweep")[0]
    subprocess.run([*how, task], check=True)
    until(lambda: (tmp_path / "sweep" / "0" / "summary.json").exists(), pause=0.1)
    assert json.loads((tmp_path / "sweep" / "0" / "summary.json").read_text())["status"] == "interrupted"

    def goes_on() -> bool:  # Slurm would wait two minutes
        update = ["scontrol", "update", f"JobId={task}", "StartTime=now"]
        subprocess.run(update, capture_output=True)
        return holder(tmp_path / "sweep" / "0") != 0

    until(goes_on, pause=1)
    _, errors = run.communicate()
    assert (run.returncode, errors) == (0, "")
    assert_same(tmp_path / "sweep", two)
    assert len(json.loads((tmp_path / "sweep" / "0" / "manifest.json").read_text())["segments"]) == 2


def test_a_killed_task_costs_nothing(tmp_path: Path, two: Path) -> None:
    run = vaex(tmp_path, "-m", *LONG, *SLURM)
    os.kill(training(tmp_path / "sweep" / "0"), signal.SIGKILL)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert errors == "vaex: job 0: seed=0: lost its worker (it has left Slurm's queue); going on with another\n"
    assert_same(tmp_path / "sweep", two)


def test_ctrl_c_takes_the_tasks_back(tmp_path: Path, two: Path) -> None:
    stopped_by_ctrl_c(tmp_path, *SLURM)
    assert done(tmp_path, "resume", "sweep")[0] == 0
    assert_same(tmp_path / "sweep", two)


def test_a_command_that_does_not_wait(tmp_path: Path, two: Path) -> None:
    code, output, errors = done(
        tmp_path, "-m", *LONG, *SLURM, "hydra.launcher.wait=false", "hydra.launcher.array_parallelism=1"
    )
    last = tasks(tmp_path / "sweep")[1]
    subprocess.run(["scontrol", "hold", last], check=True)
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "submitted: 2 jobs"
    assert not (tmp_path / "sweep" / "sweep.csv").exists()
    training(tmp_path / "sweep" / "0")
    code, _, errors = done(tmp_path, "resume", "sweep")
    assert (code, errors.count("\n")) == (2, 1)
    assert "of its tasks are in Slurm's queue and go on with it: `vaex status sweep`; `scancel " in errors
    assert "waiting" in done(tmp_path, "status", "sweep")[1]
    subprocess.run(["scontrol", "release", last], check=True)
    until(lambda: not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout, pause=0.5)
    assert done(tmp_path, "resume", "sweep")[0] == 0
    assert_same(tmp_path / "sweep", two)


def test_a_task_may_submit_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Path) -> None:
    """Whose memory, cores and binding are another's, and would contradict theirs."""
    of_task = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "3"}
    for name, value in of_task.items():
        monkeypatch.setenv(name, value)
    code, _, errors = done(tmp_path, "-m", *LONG, *SLURM)
    assert (code, errors) == (0, "")
    assert_same(tmp_path / "sweep", two)


def test_what_slurm_does_not_take_is_one_line_before_anything_is_made(tmp_path: Path) -> None:
    code, _, errors = done(tmp_path, "-m", *GRID, *SLURM, "hydra.launcher.partition=none")
    assert (code, errors) == (
        2,
        "vaex: hydra/launcher=slurm: Slurm takes no such task: invalid partition specified: none\n",
    )
    assert list(tmp_path.iterdir()) == []
