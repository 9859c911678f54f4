"""`vaex` in processes of its own, forked from one that has imported everything already; and how tests wait for them.

A start costs seconds, most of it imports; tests that kill hundreds of runs fork them. A forked run is a process like
any other: its own JAX backend, threads, files and lock, and it can be killed.
"""

import atexit
import functools
import gc
import importlib
import itertools
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 600
"""Seconds after which a test gives up waiting. Only what hangs takes so long, on the busiest machine too."""

OF_THE_MACHINE = ("seconds", "examples_per_second", "wall_seconds", "run_id")
"""Columns of metrics.jsonl and summary.json that differ between two runs of one configuration."""

SMALL = ("dataset=digits", "model.hidden=[32]", "model.latent_dim=4")
ENDLESS = "training.epochs=100000"
"""A signal always finds such a run training."""

CHANGING = ("WANDB_", "HYDRA_", "JAX_", "XLA_", "VAEX_", "NPROC", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_")
"""Variables whose names begin so would change what is tested."""


def common(folder: Path) -> Path:
    """The folder that all of pytest's processes have in common, for what one makes and the others use."""
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def environment(scratch: Path, programs: Path, **more: str) -> dict[str, str]:
    """The environment of all tests: nothing is sent, little is written outside `scratch`.

    Compilations are kept in `programs` by vaex's own cache, which half an entry of a killed run does not harm. Not
    unset is VAEX_DATA: datasets are those that the user has already.
    """
    kept = {key: value for key, value in os.environ.items() if key == "VAEX_DATA" or not key.startswith(CHANGING)}
    wandb = {f"WANDB_{name}_DIR": str(scratch / "wandb") for name in ("CONFIG", "DATA", "CACHE", "ARTIFACT")}
    cache = {"VAEX_CACHE": str(programs)}  # one program is compiled once: bit for bit the same with and without it
    return kept | wandb | cache | {"WANDB_MODE": "disabled", "NPROC": "2", "PYTHONPATH": str(ROOT)} | more


def until(condition: Callable[[], Any], pause: float = 0.001) -> Any:
    """Wait for something to be so, watching closely; returns it."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(pause)
    return found


class Forked:
    """One run, forked."""

    def __init__(self, server: "ForkServer", pid: int, output: Path):
        self._server, self.pid, self._output = server, pid, output
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for the signal that killed it; None while it runs."""
        if self._code is None:
            self._code = json.loads(self._server.ask({"poll": self.pid}))
        return self._code

    def wait(self) -> int:
        """Its exit code when it has ended."""
        until(lambda: self.poll() is not None, pause=0.01)
        assert self._code is not None
        return self._code

    def kill(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def text(self) -> str:
        """What it has written to stdout and stderr."""
        return self._output.read_text()


class ForkServer:
    """A process that has imported vaex and forks a copy of itself for every run; it never starts JAX's backend."""

    def __init__(self, scratch: Path, programs: Path, **more: str):
        self.scratch = scratch
        self._numbers = itertools.count()
        self._runs: list[Forked] = []
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.processes"],
            cwd=ROOT,
            env=environment(scratch, programs, OPENBLAS_NUM_THREADS="1", **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> str:
        """One line there, one line back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def start(self, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Forked:
        """Start `vaex arguments…`."""
        output = self.scratch / f"output_{next(self._numbers)}.txt"
        request = {"arguments": [*map(str, arguments)], "cwd": str(cwd or self.scratch), "output": str(output)}
        self._runs.append(Forked(self, int(self.ask(request | {"env": dict(env or {})})), output))
        return self._runs[-1]

    def run(self, *arguments: object, **options: Any) -> tuple[int, str]:
        """Run `vaex arguments…` to its end; exit code and output."""
        run = self.start(*arguments, **options)
        return run.wait(), run.text()

    def kill_all(self) -> None:
        """End what still runs."""
        for run in self._runs:
            run.kill(signal.SIGKILL)
            run.wait()
        self._runs.clear()

    def close(self) -> None:
        """End the server."""
        self.kill_all()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


@functools.cache
def server() -> ForkServer:
    """The one fork server of a test session."""
    scratch = Path(tempfile.mkdtemp(prefix="vaex-tests-"))
    forks = ForkServer(scratch, Path(os.environ["VAEX_CACHE"]))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(forks.close)
    return forks


_numbers = itertools.count()


@functools.cache
def finished(*overrides: str) -> Path:
    """The directory of an uninterrupted run of a small model, made once; not to be written to."""
    directory = server().scratch / f"finished_{next(_numbers)}"
    code, text = server().run(*SMALL, *overrides, f"hydra.run.dir={directory}")
    assert code == 0, text
    return directory


def epochs_on_disk(directory: Path) -> int:
    """How many rows metrics.jsonl has."""
    path = directory / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def begun(directory: Path, *overrides: object, epochs: int = 3, env: Mapping[str, str] | None = None) -> Forked:
    """A run of a small model that has trained so many epochs, and is still at it unless it was quicker than we."""
    run = server().start(*SMALL, *overrides, f"hydra.run.dir={directory}", env=env)
    until(lambda: epochs_on_disk(directory) >= epochs or run.poll() is not None)
    return run


def cut_off(
    directory: Path,
    number: signal.Signals,
    *overrides: object,
    epochs: int = 3,
    env: Mapping[str, str] | None = None,
) -> Forked:
    """A run that a signal has ended after so many epochs; one that was over before the signal came is made again."""
    ends = (-number, None) if number is signal.SIGKILL else (128 + number, "interrupted")
    summary = directory / "summary.json"
    for _ in range(10):
        run = begun(directory, *overrides, epochs=epochs, env=env)
        run.kill(number)
        code, status = run.wait(), json.loads(summary.read_text())["status"] if summary.exists() else None
        if status != "finished":
            assert (code, status) == ends, run.text()
            return run
        shutil.rmtree(directory)
    raise AssertionError("ten runs were over before the signal came")


def results(directory: Path) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """All of a run that must not depend on how often it was cut off."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [{key: value for key, value in json.loads(line).items() if key not in OF_THE_MACHINE} for line in lines]
    return rows, (directory / "steps.npz").read_bytes(), (directory / "model.safetensors").read_bytes()


def lines_of_error(text: str) -> list[str]:
    """What vaex has said on stderr."""
    assert "Traceback" not in text
    return [line for line in text.splitlines() if line.startswith("vaex:")]


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours, and the one for a process. A process that it controls ends with it."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(theirs)
        os.close(ours)


def read_terminal(ours: int, process: subprocess.Popen[Any], end: bytes | None = None) -> bytes:
    """What a process shows on a terminal, until `end` is among it or all that it wrote before it ended has come."""
    shown, started = b"", time.monotonic()
    while end is None or end not in shown:
        assert time.monotonic() - started < PATIENCE, shown
        ended = process.poll() is not None  # asked before looking, for what it wrote last is there by then
        if select.select([ours], [], [], 0 if ended else 0.1)[0]:
            shown += os.read(ours, 65536)
        elif ended:
            break
    return shown


def _child(request: dict[str, Any]) -> None:
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    if "PYTHONPATH" in request["env"]:
        _look_for_plugins_in(request["env"]["PYTHONPATH"].split(":"))
    sys.argv = ["vaex", *request["arguments"]]
    from wandb.sdk.data_types._private import MEDIA_TMP

    MEDIA_TMP.name = request["output"] + ".media"  # W&B's own, of its import, goes with the first child that ends
    Path(MEDIA_TMP.name).mkdir()
    from vaex.cli import main

    main()


def _look_for_plugins_in(path: list[str]) -> None:
    """What Python does with PYTHONPATH when it starts, and Hydra, which has looked for plugins already."""
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton

    sys.path[:0] = path
    Singleton._instances.pop(Plugins, None)


def _serve() -> None:
    from vaex.disk import provenance
    from vaex.tracking import tracker

    provenance._code()  # what git says of the checkout, which each command would ask
    tracker.FINISH_SECONDS = PATIENCE  # a test that demands silence must not hear that W&B took long
    for name in (
        "matplotlib.pyplot",
        "vaex.commands.compare",
        "vaex.figures.gallery",
        "vaex.report.document",
        "vaex.commands.reproduce",
        "vaex.sweeping.start",
        "wandb",
    ):
        importlib.import_module(name)
    importlib.import_module("tests.support.configurations").make("dataset=digits")
    gc.freeze()  # a child's collector then leaves alone what was imported here: a tenth of a small run
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            ended, status = os.waitpid(request["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _child(request)
        print(pid, flush=True)


if __name__ == "__main__":
    _serve()
