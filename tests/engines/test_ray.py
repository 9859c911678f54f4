"""`hydra/launcher=ray` on a real local cluster: the packed launcher's bytes, whatever happens to workers."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.support import BARE, GRID, LONG, assert_same, done, holder, stopped_by_ctrl_c, table, training, vaex
from tests.support.processes import epochs_on_disk, until

pytestmark = [pytest.mark.slow, pytest.mark.engines]
pytest.importorskip("ray", reason='needs Ray: pip install "vaex-experiments[ray]"')

RAY = ("hydra/launcher=ray", "hydra.sweep.dir=sweep")


def test_twelve_jobs_are_the_packed_launchers(tmp_path: Path, twelve: Path) -> None:
    code, output, errors = done(tmp_path, "-m", *GRID, *RAY)
    assert (code, errors) == (0, "")
    assert output.count("finished at epoch 2") == 12
    assert_same(tmp_path / "sweep", twelve)
    assert not list((tmp_path / "sweep").glob(".shared-*"))


def test_batches_of_a_sweep_have_a_cluster_each_of_which_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = ("training.epochs=1", "seed=0,1", "hydra.sweeper.max_batch_size=1")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # a short name: of sockets
        monkeypatch.setenv("RAY_TMPDIR", place)
        code, output, errors = done(tmp_path, "-m", *BARE, *batches, *RAY)
        assert (code, errors) == (0, "")
        assert not list(Path(place).iterdir())
    assert output.count("finished at epoch 1") == 2


def test_a_killed_worker_costs_nothing(tmp_path: Path, two: Path) -> None:
    run = vaex(tmp_path, "-m", *LONG, *RAY)
    os.kill(training(tmp_path / "sweep" / "0"), signal.SIGKILL)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert errors == "vaex: job 0: seed=0: lost its worker (WorkerCrashedError); going on with another\n"
    assert_same(tmp_path / "sweep", two)
    assert len(json.loads((tmp_path / "sweep" / "0" / "manifest.json").read_text())["segments"]) == 2


def test_a_pack_whose_workers_are_lost_too_often_has_failed_and_can_go_on(tmp_path: Path, two: Path) -> None:
    run = vaex(tmp_path, "-m", *LONG, *RAY, "hydra.launcher.repeats=0")
    os.kill(training(tmp_path / "sweep" / "0"), signal.SIGKILL)
    _, errors = run.communicate()
    assert (run.returncode, errors) == (1, "vaex: job 0: seed=0: its worker was lost once (WorkerCrashedError)\n")
    assert [row["status"] for row in table(tmp_path / "sweep")] == ["failed", "finished"]
    code, _, errors = done(tmp_path, "resume", "sweep", "hydra/launcher=ray")
    assert (code, errors) == (0, "")
    assert_same(tmp_path / "sweep", two)


def test_ctrl_c_leaves_what_goes_on_to_the_same(tmp_path: Path, two: Path) -> None:
    stopped_by_ctrl_c(tmp_path, *RAY)
    assert {row["status"] for row in table(tmp_path / "sweep")} == {"interrupted"}
    assert done(tmp_path, "resume", "sweep")[0] == 0
    assert_same(tmp_path / "sweep", two)


def test_a_killed_command_takes_its_workers_along(tmp_path: Path, two: Path) -> None:
    run = vaex(tmp_path, "-m", *LONG, *RAY)
    training(tmp_path / "sweep" / "0")
    run.kill()
    run.communicate()
    until(lambda: holder(tmp_path / "sweep" / "0") == 0)
    assert done(tmp_path, "resume", "sweep")[0] == 0
    assert_same(tmp_path / "sweep", two)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a cluster that does not see what is in `hidden`, and where its temporary files are."""
    (tmp_path / "hidden").mkdir()
    scratch = Path(tempfile.mkdtemp(dir="/tmp"))  # a short name: below it lie sockets
    for name, value in {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }.items():
        monkeypatch.setenv(name, value)
    hide = f"mount -t tmpfs tmpfs {tmp_path}/hidden && exec {sys.executable} -m vaex.engines.ray_head 2"
    head = subprocess.Popen(
        ["unshare", "-m", "bash", "-c", hide],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_TMPDIR": str(scratch)},
    )
    assert head.stdout is not None
    address = head.stdout.readline().strip()
    if not address:
        pytest.skip("mounts a file system, which is refused")
    yield address, scratch
    head.communicate()
    assert list(scratch.iterdir()) == []  # all of them go with it
    scratch.rmdir()


def test_results_come_back_from_another_disk(tmp_path: Path, elsewhere: tuple[str, Path], two: Path) -> None:
    address, scratch = elsewhere
    there = ("hydra/launcher=ray", f"hydra.launcher.address={address}")
    run = vaex(tmp_path, "-m", *LONG, *there, "hydra.sweep.dir=hidden/sweep")
    until(lambda: [each for each in scratch.glob("*/vaex-*/0") if epochs_on_disk(each) >= 3], pause=0.1)
    run.send_signal(signal.SIGINT)
    run.communicate()
    assert run.returncode == 130
    summary = json.loads((tmp_path / "hidden" / "sweep" / "0" / "summary.json").read_text())
    assert (summary["status"], summary["epoch"] >= 3) == ("interrupted", True)
    code, _, errors = done(tmp_path, "resume", "hidden/sweep", *there)  # what came back goes out again
    assert (code, errors) == (0, "")
    assert_same(tmp_path / "hidden" / "sweep", two)
