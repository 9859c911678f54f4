"""What refilling lanes saves: epochs of packs and seconds of an ASHA sweep in vmapped packs, with and without it.

.venv/bin/python -m tests.benchmarks.refill [JOBS LANES EPOCHS ROUNDS]

Both ways in one process, in turn, after a round that compiles; digits, seeds and learning rates from 1e-4 to 1e-2.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.configurations import make
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.engines.engine import Here
from vaex.sweeping import task
from vaex.training import loop, packs, run

JOBS, LANES, EPOCHS, ROUNDS = (*map(int, sys.argv[1:]), *(24, 8, 27, 5)[len(sys.argv) - 1 :])


@contextlib.contextmanager
def counting(refills: bool) -> Iterator[list[int]]:
    """How many epochs packs have trained, in a list of one number; without refills no lane is ever cheaper."""
    count, epoch = [0], loop._Pack._epoch

    def counted(pack: Any, state: Any) -> Any:
        count[0] += 1
        return epoch(pack, state)

    rule = packs.cheaper if refills else lambda *_: False
    with mock.patch.object(loop._Pack, "_epoch", counted), mock.patch.object(packs, "cheaper", rule):
        yield count


def swept(refills: bool) -> tuple[int, float, dict[str, int]]:
    """Epochs of packs, seconds, and how the jobs ended."""
    config = make(
        "dataset=digits", f"training.epochs={EPOCHS}", "tracking.mode=disabled", "sweep.figures_up_to=0",
        "pack.strategy=vmap", f"pack.max_runs={LANES}", "sweep.stop=asha",
    )  # fmt: skip
    rates = [10 ** (-2 - 2 * (5 * n % JOBS) / JOBS) for n in range(JOBS)]
    configs = [
        replace(config, seed=n, optimizer=replace(config.optimizer, learning_rate=rate)) for n, rate in enumerate(rates)
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        place = Path(folder)
        sweep.write(place, [sweep.noted(n, Path(str(n)), (), each) for n, each in enumerate(configs)])
        jobs = [Job(each, place / str(n), f"job {n}", "", figures=False, number=n) for n, each in enumerate(configs)]
        with counting(refills) as count:
            started = time.perf_counter()
            outcome = task.train_sweep(place, run.group(jobs), 0, Here())
            seconds = time.perf_counter() - started
    ends = [*outcome.statuses.values()]
    return count[0], seconds, {status: ends.count(status) for status in sorted({*ends})}


def main() -> None:
    """A line each way, and the ratio of the medians."""
    swept(refills=True)
    taken: dict[bool, list[tuple[int, float, dict[str, int]]]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for refills, found in taken.items():
            found.append(swept(refills))
    for refills, found in taken.items():
        seconds = [each[1] for each in found]
        print(
            f"{'with' if refills else 'without'} refills: {found[0][0]} pack-epochs, "
            f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {found[0][2]}"
        )
    epochs, seconds = (statistics.median(a[n] / b[n] for a, b in zip(*taken.values(), strict=True)) for n in (0, 1))
    print(f"without / with: {epochs:.2f} of the epochs, {seconds:.2f} of the time")


if __name__ == "__main__":
    main()
