"""Runs killed at any moment come back bit for bit; full disks, lost directories and dead trackers cost no checkpoint.

The five kills here are of the kind of which `make faults` does more than a hundred.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import command
from tests.support.configurations import make
from tests.support.disks import small_disk
from tests.support.processes import (
    ENDLESS,
    PATIENCE,
    ROOT,
    SMALL,
    begun,
    finished,
    lines_of_error,
    results,
    server,
    until,
)
from vaex import files
from vaex.disk import checkpoint, metrics
from vaex.disk.recorder import Recorder

EPOCHS = "training.epochs=40"


def seconds_of_training(directory: Path) -> float:
    """From config.yaml, from which on a run can be resumed, to summary.json, after which only figures are drawn."""
    begin, end = ((directory / name).stat().st_mtime for name in ("config.yaml", "summary.json"))
    return end - begin


def stage(directory: Path) -> str:
    """What a run that was killed, or was over before, has been doing."""
    if (directory / "summary.json").exists():
        return "after summary.json"
    if (directory / "model.safetensors").exists():
        return "before summary.json"
    if list((directory / "checkpoints").glob(".*.tmp")):
        return "writing a checkpoint"
    if list(directory.glob(".steps.npz*")):
        return "writing steps.npz"
    return "training" if (directory / "metrics.jsonl").exists() else "compiling"


def resume_and_compare(directory: Path) -> None:
    """It comes back by itself, and as if nothing had happened."""
    code, text = server().run("resume", directory)
    assert code == 0, text
    assert "damaged" not in text
    assert results(directory) == results(finished(EPOCHS))
    assert files.read_json(directory / "summary.json")["status"] == "finished"
    shutil.rmtree(directory)


def killed_when(directory: Path, condition: Callable[[], object]) -> str:
    """Kill a run as soon as something is so; returns what it was doing."""
    run = server().start(*SMALL, EPOCHS, f"hydra.run.dir={directory}")
    until(lambda: condition() or run.poll() is not None)
    run.kill(signal.SIGKILL)
    assert run.wait() in (-signal.SIGKILL, 0), run.text()
    return stage(directory)


def killed_after(directory: Path, share: float, whole: float) -> tuple[str, float]:
    """Kill a run after a share of its whole time; what it was doing, and the whole time as known now.

    A run that is quicker than the one measured is over first: its time counts from then on, and the kill is repeated.
    """
    config = directory / "config.yaml"
    for _ in range(10):
        moment = share * whole
        where = killed_when(
            directory, lambda moment=moment: config.exists() and time.time() - config.stat().st_mtime >= moment
        )
        if where != "after summary.json":
            return where, whole
        whole = min(0.98 * whole, seconds_of_training(directory))
        shutil.rmtree(directory)
    raise AssertionError("ten runs were over before they were killed")


def kill_and_resume(root: Path, moments: int) -> Counter[str]:
    """Kills evenly spread from config.yaml to summary.json; how many hit each stage."""
    whole = seconds_of_training(finished(EPOCHS))
    stages: Counter[str] = Counter()
    for moment in range(moments):
        directory = root / f"killed_{moment}"
        where, whole = killed_after(directory, moment / moments, whole)
        stages[where] += 1
        resume_and_compare(directory)
    return stages


@pytest.mark.slow
def test_five_kills(tmp_path: Path):
    assert kill_and_resume(tmp_path, 5).total() == 5


@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path):
    stages = kill_and_resume(tmp_path, 100)
    for number in range(8):  # and between summary.json and the exit
        directory = tmp_path / f"late_{number}"
        late = directory / ("summary.json" if number < 4 else "figures")
        stages[killed_when(directory, late.exists)] += 1
        resume_and_compare(directory)
    assert stages.total() == 108
    assert len(stages) >= 4
    print(f"\nkilled and resumed, bit for bit: {dict(stages)}")


@pytest.mark.slow
def test_kills_while_files_are_written(tmp_path: Path):
    stages: Counter[str] = Counter()
    for number in range(15):
        directory = tmp_path / f"killed_{number}"
        folder, wanted = directory / "checkpoints", number + 1

        def writing(folder: Path = folder, wanted: int = wanted) -> bool:
            return any(folder.glob(f".epoch_{wanted:06d}*.tmp")) or (folder / f"epoch_{wanted:06d}.ckpt").exists()

        stages[killed_when(directory, writing)] += 1
        resume_and_compare(directory)
    print(f"\nkilled at a checkpoint's writing, and resumed bit for bit: {dict(stages)}")


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path):
    directory = tmp_path / "run"
    killed_after(directory, 0.4, seconds_of_training(finished(EPOCHS)))
    for _ in range(6):
        run = server().start("resume", directory)
        time.sleep(1.2)
        run.kill(signal.SIGKILL)
        if run.wait() == 0:
            break
    resume_and_compare(directory)


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on():
    with small_disk("1m") as folder:
        directory = folder / "run"
        (folder / "ballast").write_bytes(bytes(300_000))
        code, text = server().run(*SMALL, EPOCHS, "checkpoint.keep=20", f"hydra.run.dir={directory}")
        assert code == 3
        assert lines_of_error(text) == [f"vaex: {directory}: cannot write results (No space left on device)"]
        done = checkpoint.latest(directory)
        assert 1 <= done < 40
        assert checkpoint.load(checkpoint.path_of(directory, done))[1]["epoch"] == done
        subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
        resume_and_compare(directory)


def test_a_disk_that_becomes_read_only():
    with small_disk("10m") as folder:
        directory = folder / "run"
        run = begun(directory, ENDLESS)
        # The busy file system refuses a plain remount. A bind mount over the directory only refuses while a file that
        # was reached through it is open for writing: for milliseconds, so it is asked again.
        subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True)
        until(lambda: subprocess.run(["mount", "-o", "remount,ro,bind", str(directory)], check=False).returncode == 0)
        assert run.wait() == 3
        assert lines_of_error(run.text()) == [f"vaex: {directory}: cannot write results (Read-only file system)"]
        code, text = server().run("resume", directory)
        assert (code, text) == (3, f"vaex: {directory}: cannot be written to (Read-only file system)\n")
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        assert len(metrics.read_rows(directory / "metrics.jsonl")) >= checkpoint.latest(directory) >= 1


def test_no_room_from_the_start():
    with small_disk("64k") as folder:
        (folder / "ballast").write_bytes(bytes(16_000))
        directory = folder / "run"
        code, text = server().run(*SMALL, EPOCHS, f"hydra.run.dir={directory}")
        assert code == 3
        assert len(lines_of_error(text)) == 1
        assert "No space left on device" in text


def test_nothing_follows_a_line_that_is_not_whole(tmp_path: Path):
    """What was queued behind a failed write is given up: a resume finds at most one unfinished line, the last."""
    recorder = Recorder(tmp_path, make("dataset=digits"))
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        recorder._unless_broken(recorder._append, "half a line")
    (tmp_path / "metrics.jsonl").rmdir()
    recorder.row({"epoch": 2})
    recorder.close()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_directory_is_deleted_during_the_run(tmp_path: Path):
    directory = tmp_path / "run"
    run = begun(directory, ENDLESS)
    directory.rename(tmp_path / "gone")
    assert run.wait() == 3
    assert lines_of_error(run.text()) == [f"vaex: {directory}: cannot write results (No such file or directory)"]
    assert not directory.exists()


def test_the_tracker_is_killed_during_the_run(tmp_path: Path):
    """W&B's own process dies: one warning, and the run is what it would have been."""
    directory = tmp_path / "run"
    run = server().start(*SMALL, EPOCHS, f"hydra.run.dir={directory}", env={"WANDB_MODE": "offline"})
    (tracker, *_) = until(lambda: trackers(run.pid))
    with contextlib.suppress(ProcessLookupError):  # a busy machine may let us kill it only when it has ended
        os.kill(tracker, signal.SIGKILL)
    assert run.wait() == 0, run.text()
    warnings = lines_of_error(run.text())
    assert len(warnings) <= 1
    assert all("W&B" in line for line in warnings)
    assert results(directory) == results(finished(EPOCHS))


def trackers(pid: int) -> list[int]:
    """The processes of W&B that a run has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        found += [int(path.name)] * (parent == pid and "wandb" in command)
    return found


def test_a_clock_that_goes_backwards(tmp_path: Path):
    """The run's own process reads a clock that loses an hour a second; durations come from another one."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nreal = time.time\nstart = real()\ntime.time = lambda: start - 3600 * (real() - start)\n"
    )
    done = command(tmp_path, *SMALL, EPOCHS, "hydra.run.dir=run", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.code, done.stderr) == (0, ""), done
    assert results(tmp_path / "run") == results(finished(EPOCHS))
    summary = files.read_json(tmp_path / "run" / "summary.json")
    assert 0 < summary["wall_seconds"] < PATIENCE
    assert all(row["seconds"] > 0 for row in metrics.read_rows(tmp_path / "run" / "metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("weight", ["geco", "target_kl"])
def test_a_weight_that_learns_goes_on_from_what_it_had_learned(weight: str, tmp_path: Path):
    directory = Path(shutil.copytree(finished("training.epochs=2", f"kl_weight={weight}"), tmp_path / "run"))
    code, text = server().run("resume", directory, "training.epochs=4")
    assert code == 0, text
    whole = finished("training.epochs=4", f"kl_weight={weight}")
    assert results(directory) == results(whole)
    assert len({row["kl_weight"] for row in metrics.read_rows(whole / "metrics.jsonl")}) == 4
