"""One run in several processes on the loopback: alike in all, ended together, gone on with bit for bit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import ROOT, SMALL, epochs_on_disk, results, until
from vaex.device import hosts, meeting
from vaex.device.meeting import Asked
from vaex.errors import InputError

RUN = (*SMALL, "dataset.limit=200", "training.batch_size=64", "training.devices=all", "hydra.run.dir=run")
LONG = "training.epochs=40"
"""Seconds: who kills it after two finds it training."""

WATCHED = """
import sys
from vaex.training.follower import Follower
from vaex.training.member import Member
from vaex.disk.recorder import model_arrays, model_bytes
for kind in (Member, Follower):
    def close(self, state, test, stop, close=kind.close):
        open(f"parameters_{int(isinstance(self, Follower))}", "wb").write(model_bytes(model_arrays(state.parameters)))
        close(self, state, test, stop)
    kind.close = close
from vaex.cli import main
main()
"""
"""The command line, which leaves the parameters that each process has at the end."""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({meeting.ADDRESS: "node1:99", meeting.COUNT: "4", meeting.RANK: "3"}, Asked(4, 3, "node1:99")),
        ({meeting.ADDRESS: "node1:99", meeting.COUNT: "1", meeting.RANK: "0"}, None),
        (dict(zip(meeting.SLURM, ("7", "node[1-2]", "2", "1", "0"), strict=True)), Asked(2, 1, None)),
        (dict(zip(meeting.SLURM, ("7", "node1", "1", "0", "0"), strict=True)), None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"}, None),  # a batch script, which srun has not started
        # the shell of `salloc -n 4`, and a command in it that was not started by srun
        (dict(zip((*meeting.SLURM, meeting.OF_STEP), ("7", "node1", "4", "0", "0", "1"), strict=True)), None),
    ],
)
def test_the_surroundings_name_the_processes(
    variables: dict[str, str], expected: Asked | None, monkeypatch: pytest.MonkeyPatch
):
    for name in (*meeting.SLURM, meeting.OF_STEP, meeting.ADDRESS, meeting.COUNT, meeting.RANK):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert meeting.asked() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("node1:99", "4", None), "JAX_NUM_PROCESSES without JAX_PROCESS_ID: several processes need all three"),
        (("node1:99", "4", "4"), "expected host:port, a number of processes, and one from 0 to below it"),
        (("node1", "4", "0"), "expected host:port"),
        (("node1:99", "many", "0"), "JAX_NUM_PROCESSES: expected a number, got 'many'"),
    ],
)
def test_what_no_processes_can_be_is_one_line(
    values: tuple[str | None, ...], message: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in zip((meeting.ADDRESS, meeting.COUNT, meeting.RANK), values, strict=True):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=message):
        meeting.asked()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(None, None), ("0,1,2,3", None), ("0", [0]), ("GPU-5a1b", [0]), ("GPU-5a1b,GPU-77", None), ("-1", None)],
)
def test_a_task_with_a_gpu_of_its_own_takes_that(
    seen: str | None, expected: list[int] | None, monkeypatch: pytest.MonkeyPatch
):
    """As srun --gpus-per-task=1 gives it, whatever the task's number on its node."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen) if seen else monkeypatch.delenv("CUDA_VISIBLE_DEVICES", False)
    assert meeting._own_device() == expected


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of this host: .*Address already in use"):
            meeting._refuse_taken_port(Asked(2, 0, f"localhost:{port}"))
    meeting._refuse_taken_port(Asked(2, 0, f"localhost:{port}"))


def test_a_process_alone_leads_and_agrees_with_itself():
    assert hosts.leads()
    assert not hosts.several()
    assert (hosts.all_agree(True), hosts.all_agree(False)) == (True, False)
    assert hosts.texts("this") == ["this"]


class Pair:
    """Two processes of one run, each with its output."""

    def __init__(self, cwd: Path, *arguments: str, of_second: tuple[str, ...] = (), slurm: bool = False):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.cwd, self.processes = cwd, []
        for rank in (0, 1):
            variables = {meeting.ADDRESS: address, meeting.COUNT: "2", meeting.RANK: str(rank)}
            if slurm:  # whose tasks JAX knows by these
                tasks = (str(os.getpid()), "localhost", "2", str(rank), str(rank))
                variables = dict(zip(meeting.SLURM, tasks, strict=True))
            with (cwd / f"out{rank}").open("w") as out, (cwd / f"err{rank}").open("w") as err:
                started = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-c", WATCHED, *arguments, *(of_second if rank else ())],
                    cwd=cwd,
                    env=dict(os.environ) | variables | {"PYTHONPATH": str(ROOT)},
                    stdout=out,
                    stderr=err,
                )
            self.processes.append(started)

    def begun(self, epochs: int) -> "Pair":
        """When it has trained so many epochs."""
        until(lambda: epochs_on_disk(self.cwd / "run") >= epochs or self.ended(), pause=0.01)
        return self

    def ended(self) -> bool:
        """Whether one of them has."""
        return any(process.poll() is not None for process in self.processes)

    def wait(self) -> list[int]:
        """The exit codes."""
        return [process.wait(600) for process in self.processes]

    def said(self, name: str) -> list[str]:
        """What each has written: `out` or `err`."""
        return [(self.cwd / f"{name}{rank}").read_text() for rank in (0, 1)]


Made = Callable[..., Pair]


@pytest.fixture
def pair(tmp_path: Path) -> Made:
    """Start a pair in this test's directory."""
    return lambda *arguments, **options: Pair(tmp_path, *arguments, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A run in two processes."""
    made = Pair(tmp_path_factory.mktemp("pair"), *RUN, LONG)
    assert made.wait() == [0, 0], made.said("err")
    return made


@pytest.mark.slow
def test_two_processes_have_the_same_parameters_and_the_numbers_of_one_device(undisturbed: Pair):
    one, other = ((undisturbed.cwd / f"parameters_{rank}").read_bytes() for rank in (0, 1))
    assert one == other == (undisturbed.cwd / "run/model.safetensors").read_bytes()
    assert undisturbed.said("err") == ["", ""]
    assert undisturbed.said("out")[1] == ""
    environment = json.loads((undisturbed.cwd / "run/manifest.json").read_text())["environment"]
    assert (environment["devices"], environment["processes"]) == (["cpu", "cpu"], 2)
    lone = [sys.executable, "-m", "vaex", *RUN, LONG, "training.devices=1", "hydra.run.dir=lone"]
    subprocess.run(lone, cwd=undisturbed.cwd, check=True, capture_output=True)
    steps = [np.load(undisturbed.cwd / name / "steps.npz")["loss"] for name in ("run", "lone")]
    np.testing.assert_allclose(steps[0][:5], steps[1][:5], rtol=1e-5)
    first = [
        json.loads((undisturbed.cwd / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("run", "lone")
    ]
    for name in ("train/elbo", "valid/elbo"):
        assert first[0][name] == pytest.approx(first[1][name], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_other_and_both_go_on_to_the_same_bits(
    victim: int, pair: Made, undisturbed: Pair
):
    killed = pair(*RUN, LONG).begun(2)
    killed.processes[victim].kill()
    started = time.monotonic()
    codes = killed.wait()
    assert time.monotonic() - started < 60  # what is promised, and no measure of speed
    assert (codes[victim], codes[1 - victim]) == (-signal.SIGKILL, hosts.GONE)
    (line,) = killed.said("err")[1 - victim].splitlines()
    beginning = f"vaex: process {1 - victim} of 2: another process of this run is gone; to go on: `vaex resume"
    assert line.startswith(beginning)
    asked = [sys.executable, "-m", "vaex", "status", "run"]
    status = subprocess.run(asked, cwd=killed.cwd, capture_output=True, text=True, check=True)
    assert "to go on: vaex resume run" in status.stdout
    gone_on = pair("resume", "run")
    assert gone_on.wait() == [0, 0], gone_on.said("err")
    assert results(killed.cwd / "run") == results(undisturbed.cwd / "run")


@pytest.mark.slow
def test_a_process_that_falls_silent_is_taken_for_dead(pair: Made):
    """As a host whose network is gone: its connections stay open."""
    silent = pair(*RUN, "training.epochs=5000").begun(2)
    silent.processes[1].send_signal(signal.SIGSTOP)
    try:
        assert silent.processes[0].wait(60) == hosts.GONE
        (line,) = silent.said("err")[0].splitlines()
        assert "another process of this run is gone; to go on: `vaex resume run` in all of them" in line
    finally:
        silent.processes[1].kill()
        silent.processes[1].wait()


@pytest.mark.slow
def test_tasks_of_slurm_find_each_other(pair: Made):
    tasks = pair(*RUN, "training.epochs=1", slurm=True)
    assert tasks.wait() == [0, 0], tasks.said("err")
    assert json.loads((tasks.cwd / "run/manifest.json").read_text())["environment"]["processes"] == 2


@pytest.mark.slow
def test_processes_do_not_meet_by_a_proxy(pair: Made, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    beside = pair(*RUN, "training.epochs=1")
    assert beside.wait() == [0, 0], beside.said("err")
    assert beside.said("err") == ["", ""]


@pytest.mark.slow
def test_a_signal_to_one_ends_both_at_the_same_epoch(pair: Made):
    stopped = pair(*RUN, "training.epochs=5000").begun(2)
    stopped.processes[1].send_signal(signal.SIGTERM)
    assert stopped.wait() == [130, 143]
    assert stopped.said("err")[0] == ""
    one, other = ((stopped.cwd / f"parameters_{rank}").read_bytes() for rank in (0, 1))
    assert one == other == (stopped.cwd / "run/model.safetensors").read_bytes()
    assert json.loads((stopped.cwd / "run/summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_processes_that_were_given_different_runs_say_what_differs_and_leave_nothing(pair: Made):
    apart = pair(*RUN, "training.epochs=2", of_second=("seed=3",))
    assert apart.wait() == [2, 2]
    for said in apart.said("err"):
        assert said == (
            "vaex: process 1 was started with another command or data than process 0: seed: 0 in process 0, 3 there\n"
        )
    assert not (apart.cwd / "run").exists()


@pytest.mark.slow
def test_what_is_refused_to_the_first_ends_the_other(pair: Made):
    made = pair(*RUN, "training.epochs=1")
    assert made.wait() == [0, 0]
    refused = pair(*RUN, "training.epochs=1")
    assert refused.wait() == [2, hosts.GONE]
    assert "holds a run already" in refused.said("err")[0]
    (line,) = refused.said("err")[1].splitlines()
    assert "another process of this run is gone" in line
