"""Seconds from the start of `vaex` to its first optimizer step: without and with the cache of compiled programs.

    .venv/bin/python tests/benchmarks/first_step.py [--rounds 3] [--results DIR]

The moment that the first epoch's row is on disk, less the seconds that the row says the epoch took (so a wait for the
evaluation's compiler after that epoch counts as well). Everything is as by default, W&B included (offline). `vaex
--help` is timed beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def first_step(cache: str) -> float:
    """Of a run of one epoch on the book's data."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "run" / "metrics.jsonl"
        words = [sys.executable, "-m", "vaex", "training.epochs=1", f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        process = subprocess.Popen(words, env=os.environ | {"VAEX_CACHE": cache}, stdout=subprocess.DEVNULL)
        while not (rows.exists() and rows.stat().st_size):
            if process.poll() is not None:
                sys.exit(f"{' '.join(words)}: exit status {process.returncode}, and no epoch")
            time.sleep(0.002)
        seconds = time.perf_counter() - start - json.loads(rows.read_text().splitlines()[0])["seconds"]
        process.wait()
        return seconds


def help_seconds() -> float:
    """Of `vaex --help`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vaex", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print a markdown table; write first_step.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks"))
    args = parser.parse_args()
    rows: dict[str, list[float]] = {"first step, nothing cached": [], "first step, programs cached": [], "--help": []}
    with tempfile.TemporaryDirectory() as cache:
        first_step(cache)  # fills it
        for _ in range(args.rounds):
            for values, seconds in zip(rows.values(), (first_step(""), first_step(cache), help_seconds()), strict=True):
                values.append(seconds)
    print("| | seconds, median (spread) |\n|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f}) |")
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "first_step.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
