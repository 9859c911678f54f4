"""What a checkpoint every epoch costs a run of the book: runs with and without take turns, each a process of its own.

    PYTHONPATH=. .venv/bin/python tests/benchmarks/checkpoint_cost.py [--rounds 5] [--epochs 6]

`every=1` saves after each epoch, `every=1000` only after the last. The ratio of their times is taken within a round, of
the whole process and of the epochs alone (from the first row of metrics.jsonl to the last: no imports, no compilation).
Three epochs with checkpoints and three without also alternate in one process, where less disturbs. The second table
has the pieces: what an epoch waits for, and what the recorder's thread does beside it.
Measure on an idle machine; a ratio of two runs of some seconds has a spread of some per cent even there.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from tests.support.configurations import make
from vaex import files
from vaex.device.datasets import load
from vaex.disk import checkpoint, metrics, threads
from vaex.disk.progress import Progress
from vaex.disk.recorder import Recorder
from vaex.training.member import host_copy
from vaex.vae import objective, step

ROOT = Path(__file__).parents[2]


def timed_run(folder: Path, every: int, epochs: int) -> tuple[float, float]:
    """Seconds of a whole `vaex` process, and of its epochs by the modification of metrics.jsonl: all but the first."""
    name = f"every_{every}_{time.monotonic_ns()}"
    command = [sys.executable, "-m", "vaex", f"training.epochs={epochs}", f"checkpoint.every={every}"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "tracking.mode=disabled", f"hydra.run.dir={name}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    path, first = folder / name / "metrics.jsonl", 0.0
    while process.poll() is None:
        if not first and path.exists():
            first = time.perf_counter()
        if path.exists() and path.read_bytes().count(b"\n") >= epochs:
            break
        time.sleep(0.002)
    last = time.perf_counter()
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, last - first


def alternate(rounds: int, epochs: int) -> dict[int, list[tuple[float, float]]]:
    """Both kinds of run in each round, in alternating order."""
    times: dict[int, list[tuple[float, float]]] = {1: [], 1000: []}
    with tempfile.TemporaryDirectory() as folder:
        timed_run(Path(folder), 1000, 1)  # the data and the code are in the page cache from here on
        for number in range(rounds):
            for every in (1, 1000) if number % 2 else (1000, 1):
                times[every].append(timed_run(Path(folder), every, epochs))
    return times


def seconds_of(function: Callable[[], object], times: int) -> tuple[float, float]:
    """Median wall and processor seconds of a call."""
    wall, processor = [], []
    for _ in range(times):
        before = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - before[0])
        processor.append(time.process_time() - before[1])
    return statistics.median(wall), statistics.median(processor)


def direct(epochs: int) -> tuple[dict[str, tuple[float, float]], list[float]]:
    """The pieces of a checkpoint of the book's state after 25 epochs, and the bare epoch it has to be compared with.

    Also the ratios of three epochs with a checkpoint each, to the last byte, to three without, in one process.
    """
    config = make()
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    images = jax.device_put(dataset.train.images)
    state = step.init(program, hyper.seed)
    order = step.order(hyper.seed, jax.numpy.int32(0), len(images))
    epoch = jax.jit(functools.partial(step.epoch, program))
    state, steps = jax.block_until_ready(epoch(hyper, state, order, images))
    progress = Progress("benchmark")
    row = {"epoch": 1, "step": int(state.step), "valid/elbo": -250.0}
    for number in range(25):
        progress.add(row | {"epoch": number + 1}, jax.device_get(steps))
    arrays = checkpoint.flatten(host_copy(state))
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        path = Path(folder) / "one.ckpt"
        recorder = Recorder(Path(folder), config)
        found = {
            "epoch, training only": seconds_of(
                lambda: jax.block_until_ready(epoch(hyper, state, order, images)), epochs
            ),
            "waits: copy of the state": seconds_of(lambda: checkpoint.flatten(host_copy(state)), 50),
            "waits: handing it over": seconds_of(lambda: recorder.checkpoint(progress, arrays), 8),
            "beside: steps.npz to disk": seconds_of(
                lambda: files.write(path.with_name("steps.npz"), metrics.steps_bytes(progress.steps)), 20
            ),
            "beside: checkpoint to disk": seconds_of(lambda: checkpoint.save(path, arrays, progress.record()), 20),
        }

        def three(save: bool) -> float:
            started = time.perf_counter()
            for _ in range(3):
                jax.block_until_ready(epoch(hyper, state, order, images))
                if save:
                    recorder.checkpoint(progress, checkpoint.flatten(host_copy(state)))
            recorder._wait(0)
            return time.perf_counter() - started

        ratios = [
            three(True) / three(False) if number % 2 else 1 / (three(False) / three(True)) for number in range(10)
        ]
        recorder.close()
    return found, sorted(ratios)


def show_ratios(times: dict[int, list[tuple[float, float]]]) -> None:
    """Medians of both kinds of run and of their ratios, with the extremes."""
    print("| | every=1, s | every=1000, s | ratio: median (rounds) |\n|---|---|---|---|")
    for column, name in enumerate(("whole process", "epochs after the first")):
        one, other = ([pair[column] for pair in times[every]] for every in (1, 1000))
        ratios = sorted(a / b for a, b in zip(one, other, strict=True))
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f})"
        print(f"| {name} | {statistics.median(one):.2f} | {statistics.median(other):.2f} | {spread} |")


def main() -> None:
    """Print two markdown tables and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    chosen = parser.parse_args()
    threads.set_count()
    times = alternate(chosen.rounds, chosen.epochs)
    show_ratios(times)
    pieces, ratios = direct(5)
    spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f})"
    print(f"| in one process, three epochs at a time | | | {spread} |")
    print("\n| piece | wall, ms | processor, ms |\n|---|---|---|")
    for name, (wall, processor) in pieces.items():
        print(f"| {name} | {1000 * wall:.2f} | {1000 * processor:.2f} |")
    print(
        json.dumps(
            {
                "times": times,
                "pieces": pieces,
                "ratios": ratios,
                "cores": len(os.sched_getaffinity(0)),
                "numpy": np.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
