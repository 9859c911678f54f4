"""`vaex status`: runs and sweeps as their files show them, beside a process that trains, and after one was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.made_runs import row
from tests.support.processes import ENDLESS, begun, until
from vaex import files
from vaex.commands import status
from vaex.disk.metrics import as_line
from vaex.errors import InputError
from vaex.live import place, run
from vaex.live.locks import Locks
from vaex.terminal import status as terminal_status
from vaex.terminal.tables import brief

CONFIG = {"training": {"epochs": 4}, "dataset": {"name": "digits"}, "likelihood": {"name": "bernoulli"}}


def plant(directory, rows=(), summary=None, epochs=4, tail=""):
    """A run's files, less what nothing here reads."""
    directory.mkdir(parents=True)
    (directory / ".lock").touch()
    (directory / "config.yaml").write_text(f"training:\n  epochs: {epochs}\n")
    (directory / "metrics.jsonl").write_text("".join(as_line(row(n, elbo)) for n, elbo in enumerate(rows, 1)) + tail)
    if summary is not None:
        (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def plant_sweep(directory, jobs, config=CONFIG, **more):
    """sweep.json of so many jobs, whose directories are planted by whoever wants them."""
    directory.mkdir(parents=True, exist_ok=True)
    entries = [
        {"job": n, "directory": str(n), "overrides": ["a=1", f"seed={n}"], "identity": "x", "config": config}
        for n in range(jobs)
    ]
    (directory / "sweep.json").write_text(json.dumps({"format": 1, "threads": 2, "jobs": entries} | more))
    return directory


def finished(best, epoch=4, **more):
    return {
        "status": "finished",
        "epoch": epoch,
        "best/epoch": 2,
        "best/valid/elbo": best,
        "valid/elbo": best - 1,
    } | more


def told(capsys, *arguments):
    assert status.main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_run_that_was_killed(tmp_path, capsys):
    """Best, last and speed come from the rows, the half-written one left out; null is no value."""
    plant(tmp_path / "run", [-9.0, None, -5.25, -7.0], epochs=10, tail='{"epoch": 5, "valid/elbo": -1.0, "sec')
    live = run.read(tmp_path / "run", Locks())
    assert (live.status, live.epoch, live.epochs, live.step) == ("interrupted", 4, 10, 40)
    assert (live.best, live.best_epoch, live.valid, live.seconds, live.left) == (-5.25, 3, -7.0, 2.0, None)
    text = told(capsys, tmp_path / "run")
    assert text.startswith("interrupted at epoch 4 of 10, step 40\n")
    assert "to go on: vaex resume" in text


def test_a_row_longer_than_what_is_read_at_first_is_read_whole(tmp_path):
    directory = plant(tmp_path / "run", [-9.0, -5.25], epochs=10)
    with (directory / "metrics.jsonl").open("a") as file:
        file.write(as_line(row(3, -4.0) | {"kl": [0.125] * (run.TAIL // 2)}))
    live = run.read(directory, Locks())
    assert (live.epoch, live.valid, live.best) == (3, -4.0, -4.0)


@pytest.mark.parametrize(
    ("summary", "shown"),
    [
        (
            {"status": "diverged", "epoch": 2, "first_nonfinite_step": 9, "culprit": "kl"},
            "diverged at epoch 2 of 4: at step 9 (kl)",
        ),
        ({"status": "stopped", "epoch": 2, "stopped": {"rule": "asha"}}, "stopped at epoch 2 of 4: by asha"),
        ({"status": "failed", "epoch": 1, "error": "no \x1b[31m space"}, r"failed at epoch 1 of 4: no \x1b[31m space"),
        ({"status": "finished", "epoch": 4}, "finished at epoch 4 of 4"),
        ({"status": "interrupted", "epoch": 3}, "interrupted at epoch 3 of 4"),
    ],
)  # fmt: skip
def test_how_a_run_ended(tmp_path, capsys, summary, shown):
    plant(tmp_path / "run", [-9.0], summary)
    assert told(capsys, tmp_path / "run").splitlines()[0] == shown
    assert place.is_over(run.read(tmp_path / "run", Locks())) == (summary["status"] != "interrupted")


def test_a_run_whose_lock_is_held_trains_whatever_an_earlier_summary_says(tmp_path):
    """And one that is being made, without a configuration yet; the look itself takes no lock."""
    plant(tmp_path / "run", [-9.0, -8.0], {"status": "interrupted", "epoch": 1})
    (tmp_path / "new").mkdir()
    for name, epoch, left in (("run", 2, 4.0), ("new", 0, None)):
        with files.locked(tmp_path / name):
            live = run.read(tmp_path / name, Locks())
            assert (live.status, live.epoch, live.left) == ("running", epoch, left)
        assert run.read(tmp_path / name, Locks()).status == "interrupted"


def test_without_a_list_of_locks_a_run_is_alive_while_its_files_are_fresh(tmp_path, monkeypatch):
    monkeypatch.setattr("vaex.live.locks.LIST", tmp_path / "no such file")
    plant(tmp_path / "run", [-9.0])
    assert run.read(tmp_path / "run", Locks()).status == "running"
    os.utime(tmp_path / "run" / "metrics.jsonl", (time.time() - 61,) * 2)
    assert run.read(tmp_path / "run", Locks()).status == "interrupted"


def test_a_run_of_another_machine_is_alive_while_its_files_are_fresh(tmp_path):
    """Its lock is not in this kernel's list; that of a run of this machine would be."""
    plant(tmp_path / "run", [-9.0])
    for host, shown in (("elsewhere", "running"), (os.uname().nodename, "interrupted")):
        (tmp_path / "run" / "manifest.json").write_text(json.dumps({"segments": [{"host": host}]}))
        assert run.read(tmp_path / "run", Locks()).status == shown


def test_a_lock_is_known_where_the_list_names_another_device(tmp_path, monkeypatch):
    """As it does for files of btrfs: then the holder's open files tell; of an inode of somebody else's they do not."""
    inode = (plant(tmp_path / "run") / ".lock").stat().st_ino
    copy = tmp_path / "locks"
    monkeypatch.setattr("vaex.live.locks.LIST", copy)
    copy.write_text(f"1: FLOCK  ADVISORY  WRITE {os.getpid()} 00:01:{inode} 0 EOF\n")
    assert Locks().held(tmp_path / "run") is False
    with (tmp_path / "run" / ".lock").open():
        assert Locks().held(tmp_path / "run") is True


def test_a_sweep(tmp_path, capsys):
    """One of each status: counts, the best, the running job's line, the time left by what is to come."""
    sweep = plant_sweep(tmp_path / "sweep", 8)
    plant(sweep / "0", [-9.0] * 4, finished(-4.5))
    plant(sweep / "1", [-9.0], {"status": "diverged", "epoch": 1, "best/valid/elbo": -3.0, "best/epoch": 1})
    plant(sweep / "2", [-9.0], {"status": "stopped", "epoch": 1, "best/valid/elbo": -9.0, "best/epoch": 1})
    plant(sweep / "3", [-9.0], {"status": "failed", "error": "no space"})
    plant(sweep / "4", [-9.0, -8.0, -7.0], epochs=4)
    plant(sweep / "5", [-9.0, -6.0], epochs=4)
    (sweep / "6" / ".hydra").mkdir(parents=True)  # opened by Hydra, not begun
    with files.locked(sweep), files.locked(sweep / "5"):
        (found,) = place.look(sweep)
        text = told(capsys, sweep)
    counts = {"finished": 1, "diverged": 1, "stopped": 1, "failed": 1, "interrupted": 1, "running": 1, "waiting": 2}
    assert found.counts == counts
    assert found.left == 2.0 * (2 + 1 + 4 + 4)  # seconds an epoch; of job 5, 4, 6 and 7
    assert found.best.number == 1
    assert text.startswith(
        "4/8 jobs ended: 1 running, 2 waiting, 1 finished, 1 diverged, 1 stopped, 1 failed, 1 interrupted\n"
        "best   elbo -3.00 (job 1: seed=1, epoch 1)\n"
    )
    assert "  job 5  epoch 2 of 4  elbo -6.00, best -6.00  4 s left, about " in text
    assert "  seed=5\n" in text
    assert "22 s left, about " in text
    dead = told(capsys, sweep)
    assert "\nnobody trains here\n" in dead
    assert f"to go on: vaex resume {sweep}\n" in dead


def test_bounds_that_are_not_one_quantity_have_no_best(tmp_path, capsys):
    sweep = plant_sweep(tmp_path / "sweep", 2)
    content = json.loads((sweep / "sweep.json").read_text())
    content["jobs"][1]["config"] = CONFIG | {"likelihood": {"name": "gaussian"}}
    (sweep / "sweep.json").write_text(json.dumps(content))
    plant(sweep / "0", [-9.0], finished(-4.5))
    assert "best   – (the jobs' ELBOs are not one quantity)" in told(capsys, sweep)


def test_a_search(tmp_path, capsys):
    """Trials by state and the best one by the objective's direction; jobs that it has not asked for yet are to come."""
    search = {"trials": 6, "repeats": 2, "objective": "valid/kl", "direction": "minimize"}
    search |= {"space": {"loss": "choice(gamma,sigma)"}}
    sweep = plant_sweep(tmp_path / "sweep", 4, search=search)
    lines = [
        "0,complete,gamma,4.0,0.5,0 1",
        "1,complete,sigma,3.25,0.125,2 3",
        "2,failed,sigma,,,4",
        "3,running,gamma,,,5",
    ]
    (sweep / "trials.csv").write_text("\n".join(["trial,state,loss,value,spread,jobs", *lines]) + "\n")
    plant(sweep / "0", [-9.0, -8.0])
    with files.locked(sweep / "0"):
        (found,) = place.look(sweep)
        text = told(capsys, sweep)
    assert "trials 4 of 6: 2 complete, 1 failed, 1 running\nbest trial 1: valid/kl 3.25 ± 0.12  loss=sigma\n" in text
    assert found.left == 2.0 * (2 + 3 * 4 + (6 - 4) * 2 * 4)
    for number in range(4):
        (sweep / str(number)).mkdir(exist_ok=True)
        (sweep / str(number) / "summary.json").write_text(json.dumps(finished(-5.0)))
    assert not place.is_over(place.look(sweep)[0])
    assert told(capsys, sweep).splitlines()[-1] == f"to go on: vaex resume {sweep}"
    (sweep / "trials.csv").write_text('trial,"sta')
    assert "not as it should be: " in told(capsys, sweep)
    (sweep / "trials.csv").unlink()  # as before the first trials have been asked for
    assert "trials 0 of 6: –\n" in told(capsys, sweep)


def test_a_search_is_over_when_each_of_its_trials_has_ended(tmp_path):
    """By the seeds that are listed; a refused trial has no jobs; a grid is as large as it is, its last trials asked."""
    search = {"trials": 9, "in_all": 3, "repeats": 1, "seeds": [0, 1], "sampler": "grid"}
    sweep = plant_sweep(tmp_path / "sweep", 4, search=search)
    content = json.loads((sweep / "sweep.json").read_text())
    for number in range(4):
        content["jobs"][number]["trial"] = 2 * (number // 2)
        plant(sweep / str(number), [-9.0] * 4, finished(-4.5))
    (sweep / "sweep.json").write_text(json.dumps(content))
    (sweep / "trials.csv").write_text("trial,state,value,spread,jobs\n0,complete,-4.5,0.25,0 1\n")
    (found,) = place.look(sweep)
    assert found.trials == {"complete": 1, "interrupted": 1}  # the table does not have trial 2 yet
    with files.locked(sweep):
        assert place.look(sweep)[0].trials == {"complete": 1, "running": 1}
    assert "best trial 0: valid/elbo -4.50 ± 0.25  " in terminal_status.line(found, tmp_path).plain
    table = "trial,state,value,jobs\n0,complete,-4.5,0 1\n1,failed,,2 3\n"
    for more, over in (("", False), ("2,running,,4 5\n", False), ("2,complete,-4.5,4 5\n", True)):
        (sweep / "trials.csv").write_text(table + more)
        (found,) = place.look(sweep)
        assert (found.search.wanted, place.is_over(found)) == (3, over)


def test_a_member_that_is_put_aside_between_two_rounds_waits(tmp_path):
    """While its population's process lives; afterwards it was interrupted, as of any sweep."""
    sweep = plant_sweep(tmp_path / "sweep", 2)
    plant(sweep / "0", [-9.0], {"status": "interrupted", "epoch": 1})
    plant(sweep / "1", [-9.0])
    (sweep / "population.json").write_text("{}")
    with files.locked(sweep), files.locked(sweep / "1"):
        (found,) = place.look(sweep)
    assert (found.counts, found.left) == ({"waiting": 1, "running": 1}, 2.0 * (3 + 3))
    assert place.look(sweep)[0].counts == {"interrupted": 2}


def test_a_folder_of_several_and_what_is_damaged(tmp_path, capsys):
    """A line each; a damaged file is its own run's line, and others are shown all the same."""
    plant(tmp_path / "a", [-9.0] * 4, finished(-4.5))
    for number in (10, 9):  # jobs of a sweep that has no record: by number
        plant(tmp_path / str(number), [-9.0])
    plant(tmp_path / "b", [-9.0])
    (tmp_path / "b" / "summary.json").write_text("{not JSON")
    plant_sweep(tmp_path / "deep" / "c", 2)
    plant(tmp_path / "deep" / "c" / "0", [-9.0])
    (tmp_path / "deep" / "c" / "0" / "summary.json").write_text("[]")
    plant_sweep(tmp_path / "d", 1)
    (tmp_path / "d" / "sweep.json").write_text("{}")
    plant(tmp_path / "e", [], {"status": "\u202ewhat"})
    (tmp_path / "e" / "metrics.jsonl").write_bytes(b"\xff\0\n[1]\n{}\n" + b"9" * 5000 + b"\n")
    os.mkfifo(plant(tmp_path / "f") / "pipe")
    (tmp_path / "f" / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "f" / "metrics.jsonl")
    lines = dict(line.removeprefix(f"{tmp_path}/").split("  ", 1) for line in told(capsys, tmp_path).splitlines())
    assert list(lines) == ["a", "b", "d", "deep/c", "e", "f", "9", "10"]
    assert lines["a"].startswith("finished at epoch 4 of 4")
    assert lines["b"].startswith("damaged: ")
    assert "cannot be read as JSON" in lines["b"]
    assert "not the record of a sweep" in lines["d"]
    assert lines["deep/c"].startswith("sweep, 0/2 jobs ended: 1 waiting, 1 damaged  best –")
    assert lines["e"].startswith("interrupted at epoch 0 of 4")
    assert lines["f"] == "damaged: not a regular file  "


def test_what_is_neither_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=r"holds neither a run \(config.yaml\) nor a sweep|no such run or sweep"):
            status.main([str(path)])
    for wrong in ("-1", "0", "nan", "x"):
        with pytest.raises(InputError, match=r"--watch: expected a number of seconds"):
            status.main([str(tmp_path), f"--watch={wrong}"])
    with pytest.raises(InputError, match=r"--watch: expected a number of seconds from 0.1 to 86400, got '-1'"):
        status.main([str(tmp_path), "--watch", "-1"])


@pytest.mark.parametrize("typed", [[], ["--json"], ["--watch"], ["--watch", "--json"], ["--watch", "2"]])
def test_without_a_directory_it_is_one_line(typed):
    with pytest.raises(InputError, match=r"vaex status: the following arguments are required: DIR; `vaex status"):
        status.main(typed)


def test_json_has_every_number(tmp_path, capsys):
    sweep = plant_sweep(tmp_path / "sweep", 2)
    plant(sweep / "0", [-9.0] * 4, finished(-4.5))
    ((found,),) = [json.loads(told(capsys, "--json", sweep))]
    assert found["counts"] == {"finished": 1, "waiting": 1}
    assert found["best"] == {"job": 0, "value": -4.5, "epoch": 2}
    assert [job["status"] for job in found["jobs"]] == ["finished", "waiting"]


def test_a_look_leaves_everything_as_it_is(tmp_path):
    plant(plant_sweep(tmp_path / "sweep", 2) / "0", [-9.0, -8.0])
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    place.look(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == {
        p: s.st_mtime_ns for p, s in before.items()
    }


def test_beside_a_process_that_trains_and_after_it_was_killed(tmp_path, capsys):
    """A real process: running, then further, then interrupted the moment it is dead."""
    directory = tmp_path / "run"
    training = begun(directory, ENDLESS)
    first = run.read(directory, Locks())
    assert (first.status, first.epochs) == ("running", 100_000)
    assert first.epoch >= 3
    assert first.left > 0
    later = until(lambda: (found := run.read(directory, Locks())).epoch > first.epoch and found)
    assert later.best >= first.best
    assert "running at epoch" in told(capsys, directory)
    training.kill(signal.SIGKILL)
    training.wait()
    assert run.read(directory, Locks()).status == "interrupted"


def test_watching_ends_with_what_is_watched(tmp_path, capsys, monkeypatch):
    """Of an ended run at once; of one that nobody trains, when patience is over; nothing is said twice."""
    plant(tmp_path / "a", [-9.0] * 4, finished(-4.5))
    assert told(capsys, "--watch", tmp_path / "a").count("finished at epoch") == 1
    plant(tmp_path / "b", [-9.0])
    monkeypatch.setattr(status, "PATIENCE", 0.3)
    assert told(capsys, tmp_path / "b", "--watch", "0.1").count("interrupted at epoch") == 1
    assert told(capsys, tmp_path / "b", "--watch=0.1").count("interrupted at epoch") == 1


def test_it_imports_no_jax():
    """Nor anything else that takes longer than a look."""
    line = "import sys; from vaex.commands import status; print({'jax', 'pandas', 'hydra', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_thousand_jobs_are_read_by_their_summaries(tmp_path, monkeypatch):
    """Of a job that has ended neither its configuration nor its rows."""
    sweep = plant_sweep(tmp_path / "sweep", 1000)
    for number in range(1000):
        (sweep / str(number)).mkdir()
        (sweep / str(number) / "summary.json").write_text(json.dumps(finished(-5.0 - number)))
    opened: list[Path] = []
    real = files.open_regular
    monkeypatch.setattr(files, "open_regular", lambda path: (opened.append(path), real(path))[1])
    (found,) = place.look(sweep)
    assert found.counts == {"finished": 1000}
    assert found.best.number == 0
    assert {path.name for path in opened} == {"sweep.json", "summary.json"}
    assert len(opened) <= 1002


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("optimizer.learning_rate=0.0011781448719376517 loss=gamma", "optimizer.learning_rate=0.00118 loss=gamma"),
        ("kl_weight.beta=0.934714,-12.3456789", "kl_weight.beta=0.935,-12.3"),
        ("rate=1.23456789e-05", "rate=1.23e-05"),
        ("optimizer.learning_rate=0.00025 v1.2.3 name=a.0000001b 3.1.0000000", None),
    ],
)
def test_numbers_of_many_digits_are_short_where_there_is_no_room(text, short):
    assert brief(text) == (text if short is None else short)


def test_a_narrow_terminal_shows_how_far_how_good_and_how_long(tmp_path):
    """What a search of one job has in all its jobs is no part of a label."""
    search = {"trials": 1, "objective": "valid/elbo", "direction": "maximize", "fixed": ["a=1"]}
    sweep = plant_sweep(tmp_path / "sweep", 1, search=search)
    plant(sweep / "0", [-9.0, -8.0, -8.5])
    with files.locked(sweep / "0"):
        (found,) = place.look(sweep)
        (line,) = [str(each) for each in terminal_status.lines(found) if str(each).startswith("  job 0")]
    assert line.startswith("  job 0  epoch 3 of 4  elbo -8.50, best -8.00  2 s left, about ")
    assert len(line.partition("  seed=0")[0]) < 80
    assert line.endswith("  seed=0")


def test_a_sweep_whose_tasks_are_in_slurms_queue_goes_on_by_itself(tmp_path, capsys, monkeypatch):
    """Nobody trains at the moment, and `vaex resume` would be refused."""
    sweep = plant_sweep(tmp_path / "sweep", 2)
    (tmp_path / "squeue").write_text("#!/bin/sh\nprintf '40_0\\n40_1\\n'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (sweep / ".slurm").mkdir()
    assert "nobody trains here" in told(capsys, sweep)
    (sweep / ".slurm" / "tasks.json").write_text('{"tasks": ["40_0", "40_1"]}')
    text = told(capsys, sweep)
    assert "2 tasks are in Slurm's queue: squeue -j 40" in text
    assert "to go on" not in text
    (sweep / ".slurm" / "tasks.json").write_text("{")
    text = told(capsys, sweep)
    assert "0/2 jobs ended" in text
    assert f"not as it should be: {sweep / '.slurm' / 'tasks.json'}" in text.replace("\n", "")
