"""What a job costs a sweep beside its training, by each engine: sweeps of short jobs, a few and many, in turns.

    python tests/benchmarks/many_jobs.py [packed] [ray] [slurm] [--jobs 100 400] [--rounds 1] [--json FILE]

A job is one epoch of a small model on 200 images, so that nearly all of its time is what surrounds training: Hydra
composes it, its directory is made, written and closed. Of each size the seconds and, of the command itself, the seconds
of the cores and the largest resident memory; bytes and files on disk; then what one further job adds, and what a sweep
takes besides (`besides`: start, Ray's or Slurm's first worker, the tables). Ray and Slurm need their extras, Slurm also
SLURM_CONF (tests/engines/slurm.sh starts one). Nothing is asserted.
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
from typing import Any

JOB = ("dataset=digits", "dataset.limit=200", "training.epochs=1", "model.hidden=[16]", "tracking.mode=disabled",
       "sweep.figures_up_to=0")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What a job costs a sweep beside its training.")
    parser.add_argument("launchers", nargs="*", default=["packed"])
    parser.add_argument("--jobs", type=int, nargs=2, default=[100, 400])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/many_jobs.json"))
    args = parser.parse_args()
    taken: dict[str, list[dict[str, Any]]] = {launcher: [] for launcher in args.launchers}
    with tempfile.TemporaryDirectory() as folder:
        sweep(Path(folder) / "first", 4, "packed")  # compiles
        for number in range(args.rounds):
            for launcher, found in taken.items():
                few, many = (sweep(Path(folder) / f"{launcher}{number}_{n}", n, launcher) for n in args.jobs)
                found.append(compared(few, many, *args.jobs))
                print(launcher, json.dumps(found[-1]["a_job"]), json.dumps(found[-1]["besides"]), flush=True)
    medians = {launcher: {part: median(found, part) for part in found[0]} for launcher, found in taken.items()}
    print(json.dumps(medians, indent=1))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"date": time.strftime("%Y-%m-%d"), "jobs": args.jobs, "rounds": args.rounds} | medians
    args.json.write_text(json.dumps(content, indent=1) + "\n")


def compared(few: dict[str, float], many: dict[str, float], fewer: int, more: int) -> dict[str, dict[str, float]]:
    """Both sizes, what a further job adds, and what is left where jobs would add nothing."""
    a_job = {key: (many[key] - few[key]) / (more - fewer) for key in few}
    return {"few": few, "many": many, "a_job": a_job, "besides": {key: few[key] - fewer * a_job[key] for key in few}}


def median(found: list[dict[str, Any]], part: str) -> dict[str, float]:
    """Over the rounds."""
    return {key: round(statistics.median(each[part][key] for each in found), 5) for key in found[0][part]}


def sweep(directory: Path, jobs: int, launcher: str) -> dict[str, float]:
    """A sweep of so many jobs as a shell command, measured."""
    line = [
        sys.executable, "-m", "vaex", "-m", *JOB, f"seed=range(0,{jobs})", f"hydra/launcher={launcher}",
        f"hydra.sweep.dir={directory}", *(("hydra.launcher.packs_per_task=8",) if launcher == "slurm" else ()),
    ]  # fmt: skip
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
