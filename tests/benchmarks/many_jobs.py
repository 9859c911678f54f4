"""What a job costs a sweep beside its training: sweeps of short jobs, and the difference between a few and many.

    python tests/benchmarks/many_jobs.py [--jobs 100 400] [--json FILE]

A job is one epoch of a small model on 200 images, so that nearly all of its time is what surrounds training: Hydra
composes it, its directory is made, written and closed. Of each size the seconds, the seconds of the cores, the largest
resident memory, and bytes and files on disk; then what one further job adds. Nothing is asserted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

JOB = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "model.hidden=[16]", "tracking.mode=disabled")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a job costs a sweep beside its training.")
    parser.add_argument("--jobs", type=int, nargs=2, default=[100, 400])
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/many_jobs.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep(Path(folder) / "first", 4)  # compiles
        few, many = (sweep(Path(folder) / str(jobs), jobs) for jobs in args.jobs)
    apart = args.jobs[1] - args.jobs[0]
    a_job = {key: (many[key] - few[key]) / apart for key in few}
    content = {"jobs": args.jobs, "few": few, "many": many, "a_job": a_job}
    print(json.dumps(content, indent=1))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%d")} | content, indent=1) + "\n")


def sweep(directory: Path, jobs: int) -> dict[str, Any]:
    """A sweep of so many jobs as a shell command, measured."""
    line = [sys.executable, "-m", "vaex", "-m", *JOB, f"seed=range(0,{jobs})", f"hydra.sweep.dir={directory}"]
    started = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(line)}: {told}")
    found = [path for path in directory.rglob("*") if path.is_file()]
    return {
        "seconds": seconds,
        "seconds_of_cores": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1e3,
        "mb_on_disk": sum(path.stat().st_blocks * 512 for path in found) / 1e6,
        "files": len(found),
        "mb_sweep_json": (directory / "sweep.json").stat().st_size / 1e6,
        "mb_sweep_csv": (directory / "sweep.csv").stat().st_size / 1e6,
    }


if __name__ == "__main__":
    main()
