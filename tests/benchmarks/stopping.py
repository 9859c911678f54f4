"""What asking a stopping rule costs after an epoch: microseconds, with so many jobs' histories before it.

.venv/bin/python tests/benchmarks/stopping.py [JOBS]
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.support.configurations import make
from vaex.disk.directory import Job
from vaex.stopping.judge import Judge

JOBS, EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 64, 30


def microseconds(rule: str) -> list[float]:
    """Of telling and asking, after each epoch of each job, the jobs in step."""
    config = make("dataset=digits", f"training.epochs={EPOCHS + 1}", f"sweep.stop={rule}")
    config = replace(config, sweep=replace(config.sweep, stop=replace(config.sweep.stop, patience=EPOCHS)))
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder), config.sweep.stop)
        jobs = [Job(config, Path(folder) / str(n), "", number=n) for n in range(JOBS)]
        for epoch in range(1, EPOCHS + 1):
            for number, job in enumerate(jobs):
                started = time.perf_counter()
                judge.tell(job, {"epoch": epoch, "valid/elbo": -250.0 + (number * 37 % 64) / 8 + epoch}, diverged=False)
                judge.ask(job, epoch)
                spent.append(1e6 * (time.perf_counter() - started))
    return spent


def main() -> None:
    """One line a rule."""
    for rule in ("none", "asha", "hyperband", "median"):
        spent = microseconds(rule)
        most = statistics.quantiles(spent, n=100)[-1]
        mean, last = statistics.fmean(spent), statistics.median(spent[-JOBS:])
        print(f"{rule:<10} mean {mean:6.0f} µs, median of the last epoch {last:6.0f} µs, 99 % below {most:6.0f} µs")


if __name__ == "__main__":
    main()
