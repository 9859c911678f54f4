"""How time and memory grow with the size of the work: one figure, with the measured exponents.

    .venv/bin/python tests/benchmarks/growth.py [--repeats 3] [--results DIR]

Time is the fastest of a few training epochs; memory what XLA has laid out for the epoch (arguments, results, temporary
arrays), which is exact. For the number of epochs it is a whole command with its largest resident memory. The exponent
is the slope between the two largest sizes in a log-log plot: 1 is linear, 0 does not depend on it.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from hydra._internal.utils import get_args_parser

from vaex.config.compose import compose
from vaex.device import compiled
from vaex.device.datasets import load
from vaex.disk import threads
from vaex.vae import objective, step

SIZES = {
    "epochs": [25, 100, 200, 400],
    "examples": [5000, 10000, 20000, 40000],
    "latent_dim": [10, 80, 320, 1280],
    "width": [64, 256, 1024, 2048],
    "batch_size": [32, 128, 512, 2048],
}
"""Epochs first: a process's largest resident memory counts that of the process which started it."""


def overrides(axis: str, size: int) -> list[str]:
    """The book's run, smaller, with one size changed."""
    return {
        "examples": [f"dataset.limit={size}"],
        "latent_dim": ["dataset.limit=5000", f"model.latent_dim={size}"],
        "width": ["dataset.limit=5000", f"model.hidden=[{size},{size}]"],
        "batch_size": ["dataset.limit=20000", f"training.batch_size={size}"],
        "epochs": ["dataset=digits", "training.batch_size=512", "tracking.mode=disabled", f"training.epochs={size}"],
    }[axis]


def epoch(arguments: list[str], repeats: int) -> tuple[float, float]:
    """Seconds of an epoch, and the bytes that it needs."""
    (config,) = compose(get_args_parser().parse_args(arguments)).jobs
    dataset = load(config.dataset)
    program, hyper = objective.program(config, dataset.shape), objective.hyper(config)
    images, state = jax.device_put(dataset.train.images), compiled.init(program, hyper.seed)
    order = step.order(hyper.seed, jax.numpy.int32(0), len(images))
    function = jax.jit(step.epoch, static_argnums=0).lower(program, hyper, state, order, images).compile()
    memory = function.memory_analysis()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(hyper, state, order, images))
        seconds.append(time.perf_counter() - start)
    names = ("argument", "output", "temp")
    return min(seconds[1:]), float(sum(getattr(memory, f"{name}_size_in_bytes") for name in names))


def command(arguments: list[str]) -> tuple[float, float]:
    """Seconds of a whole command, and the largest resident memory of its process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        words = [sys.executable, "-m", "vaex", *arguments, f"hydra.run.dir={folder}/run"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(words)}: exit status {process.returncode}")
        return time.perf_counter() - start, usage.ru_maxrss * 1024.0


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope between the last two points, both axes logarithmic."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def draw(rows: list[dict], path: Path) -> None:
    """A column an axis: time above, memory below."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(rows), figsize=(2.3 * len(rows), 4.2), layout="constrained")
    for column, row in enumerate(rows):
        for line, (name, unit, scale) in enumerate((("seconds", "s", 1), ("bytes", "MB", 1e6))):
            panel = axes[line][column]
            panel.loglog(row["sizes"], np.asarray(row[name]) / scale, "o-", color="0.2", markersize=3)
            panel.set_title(f"{row['axis']}: exponent {row[f'{name}_exponent']:.2f}", fontsize=8)
            panel.set_ylabel(unit, fontsize=8)
            panel.tick_params(labelsize=7, which="both")
            panel.set_xticks(row["sizes"], labels=map(str, row["sizes"]))
            panel.xaxis.minorticks_off()
            panel.set_ylim(panel.get_ylim()[0] / 2, panel.get_ylim()[1] * 2)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print a markdown table; write growth.json and growth.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks"))
    args = parser.parse_args()
    threads.set_count()
    rows = []
    print("| | sizes | seconds | exponent | MB | exponent |\n|---|---|---|---|---|---|")
    for axis, sizes in SIZES.items():
        taken = [
            command(overrides(axis, size)) if axis == "epochs" else epoch(overrides(axis, size), args.repeats)
            for size in sizes
        ]
        seconds, memory = ([values[part] for values in taken] for part in (0, 1))
        row = {"axis": axis, "sizes": sizes, "seconds": seconds, "bytes": memory}
        row |= {"seconds_exponent": exponent(sizes, seconds), "bytes_exponent": exponent(sizes, memory)}
        rows.append(row)
        shown = [", ".join(map(str, sizes)), ", ".join(f"{value:.2f}" for value in seconds)]
        shown += [f"{row['seconds_exponent']:.2f}", ", ".join(f"{value / 1e6:.0f}" for value in memory)]
        print(f"| {axis} | {' | '.join(shown)} | {row['bytes_exponent']:.2f} |", flush=True)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "growth.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, args.results / "growth.png")


if __name__ == "__main__":
    main()
