"""`vaex` in processes of its own: as a user starts it, or forked from one that has imported everything already.

A start costs seconds, most of it imports; tests that kill hundreds of runs fork them. A forked run is a process like
any other: its own JAX backend, threads, files and lock, and it can be killed.
"""

import atexit
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COLUMNS_OF_THE_MACHINE = ("seconds", "examples_per_second")
SMALL = ("dataset=digits", "model.hidden=[32]", "model.latent_dim=4")


def environment(scratch: Path, **more: str) -> dict[str, str]:
    """The environment of a test's run: nothing is sent, nothing is written outside `scratch`, compilations are kept."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "NPROC", "HYDRA_"))}
    wandb = {f"WANDB_{name}_DIR": str(scratch / "wandb") for name in ("CONFIG", "DATA", "CACHE", "ARTIFACT")}
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return kept | wandb | cache | {"WANDB_MODE": "disabled", "NPROC": "2", "PYTHONPATH": str(ROOT)} | more


def start(*arguments: object, cwd: Path, env: Mapping[str, str], before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`python -m vaex`, perhaps behind another command, in a process group of its own as from a shell."""
    command = [*before, sys.executable, "-m", "vaex", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be so, watching closely."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


class Forked:
    """One run, forked."""

    def __init__(self, server: "ForkServer", pid: int, output: Path):
        self._server, self.pid, self._output = server, pid, output
        self._code: int | None = None

    def wait(self) -> int:
        """Its exit code, negative for the signal that killed it."""
        if self._code is None:
            self._code = int(self._server.ask({"wait": self.pid}))
        return self._code

    def kill(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def text(self) -> str:
        """What it has written to stdout and stderr."""
        return self._output.read_text()


class ForkServer:
    """A process that has imported vaex and forks a copy of itself for every run; it never starts JAX's backend."""

    def __init__(self, scratch: Path, **more: str):
        self.scratch = scratch
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.processes"],
            cwd=ROOT,
            env=environment(scratch, OPENBLAS_NUM_THREADS="1", **more),
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
        self._count += 1
        output = self.scratch / f"output_{self._count}.txt"
        request = {"arguments": [*map(str, arguments)], "cwd": str(cwd or self.scratch), "output": str(output)}
        return Forked(self, int(self.ask(request | {"env": dict(env or {})})), output)

    def run(self, *arguments: object, **options: Any) -> tuple[int, str]:
        """Run `vaex arguments…` to its end; exit code and output."""
        run = self.start(*arguments, **options)
        return run.wait(), run.text()

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@functools.cache
def server() -> ForkServer:
    """The one fork server of a test session."""
    scratch = Path(tempfile.mkdtemp(prefix="vaex-tests-"))
    forks = ForkServer(scratch)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    atexit.register(forks.close)
    return forks


@functools.cache
def finished(*overrides: str) -> Path:
    """The directory of an uninterrupted run of a small model, made once; not to be written to."""
    name = f"finished_{finished.cache_info().currsize}"
    code, text = server().run(*SMALL, *overrides, f"hydra.run.dir={name}")
    assert code == 0, text
    return server().scratch / name


def results(directory: Path) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """All of a run that must not depend on how often it was cut off."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [
        {key: value for key, value in json.loads(line).items() if key not in COLUMNS_OF_THE_MACHINE} for line in lines
    ]
    return rows, (directory / "steps.npz").read_bytes(), (directory / "model.safetensors").read_bytes()


def _child(request: dict[str, Any]) -> None:
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    sys.argv = ["vaex", *request["arguments"]]
    from vaex.cli import main

    main()


def _serve() -> None:
    for name in (
        "matplotlib.pyplot",
        "vaex.compare",
        "vaex.figures",
        "vaex.report",
        "vaex.reproduce",
        "vaex.train",
        "wandb",
    ):
        importlib.import_module(name)
    importlib.import_module("tests.configurations").make("dataset=digits")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _child(request)
        print(pid, flush=True)


if __name__ == "__main__":
    _serve()
