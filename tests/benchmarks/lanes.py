"""A sweep's loop: epochs side by side in threads, as `vaex -m` trains on a CPU, against one at a time and the limit.

    .venv/bin/python tests/benchmarks/lanes.py [--rounds 7] [--json FILE]

Four things take turns in one process, each the same number of epochs in all: the epoch in one thread, the epoch in a
thread a core, and the bare matrix products (`products.py`) both ways. Ratios of neighbours count.
"""

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import products

from vaex.disk import provenance, threads

EPOCHS = 6
"""Of each kind in a round, shared out among the threads."""


def seconds_of(function: Callable[[], Any], side_by_side: int) -> float:
    """Wall time of `EPOCHS` calls, shared out among so many threads."""

    def work() -> None:
        for _ in range(EPOCHS // side_by_side):
            jax.block_until_ready(function())

    workers = [threading.Thread(target=work) for _ in range(side_by_side)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - start) / (EPOCHS // side_by_side * side_by_side)


def main() -> None:
    """A table of medians with their spread, and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/lanes.json"))
    args = parser.parse_args()
    threads.set_count()
    cores = len(os.sched_getaffinity(0))
    functions = products.prepare()
    rows = []
    for _ in range(args.rounds + 1):  # the first round warms up
        times = {(name, n): seconds_of(run, n) for name, run in functions.items() for n in (1, cores)}
        alone, lanes = times["epoch", 1], times["epoch", cores]
        rows.append(
            {
                "epoch alone, s": alone,
                "epoch in lanes, s a run": lanes,
                "products alone, s": times["products", 1],
                "products in lanes, s a run": times["products", cores],
                "lanes / alone, examples a second": alone / lanes,
                "lanes / products on all cores": times["products", cores] / lanes,
                "epoch / products, alone": alone / times["products", 1],
            }
        )
    print("| | median (rounds) |\n|---|---|")
    for name in rows[0]:
        values = [row[name] for row in rows[1:]]
        print(f"| {name} | {statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f}) |")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"date": time.strftime("%Y-%m-%d"), "cores": cores, "cpu": provenance.environment()["cpu"]}
    args.json.write_text(json.dumps(content | {"rounds": rows[1:]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
