"""Sweeps as whole shell commands, start-up and compilation included: packed against other ways to run the same jobs.

    python tests/benchmarks/sweep_time.py launchers --joblib-python PATH --peers-python PATH [--rounds 3] [--jobs 24]
    python tests/benchmarks/sweep_time.py sizes [--rounds 3]
    python tests/benchmarks/sweep_time.py growth

`launchers`: the same sweep of Fashion-MNIST, 2 epochs a job, by hydra/launcher=packed, by Hydra's basic launcher, by
hydra-joblib-launcher with one process a core, and as a shell loop over a Keras script on TensorFlow; they take turns.
`sizes`: packed and basic taking turns at 1, 2, 4 and 8 jobs of the same kind, with cached programs.
`growth`: 1, 2, 4, … 64 jobs of 25 digits epochs: seconds, peak memory, and the tail: from the last epoch to the end.
Compiled programs are not kept between commands (VAEX_CACHE is empty) unless --cache is given.
Nothing here is asserted: the tables are read by a person. See README.md beside this file.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaex.api.run import load
from vaex.disk import results

LATENTS, LOSSES = (2, 5, 10, 20), ("sigma", "gamma")
KERAS = Path(__file__).parent / "peers" / "keras_vae.py"
SIZES = (1, 2, 4, 8)
GROWTH = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    args = arguments()
    os.environ["WANDB_MODE"] = "disabled"
    measure = {"launchers": launchers, "sizes": sizes, "growth": growth}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VAEX_CACHE"] = f"{folder}/programs" if args.cache or args.what == "sizes" else ""
        content = measure(args, Path(folder))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "what": args.what} | content, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Sweeps as whole shell commands.")
    parser.add_argument("what", choices=("launchers", "sizes", "growth"))
    parser.add_argument("--joblib-python", help="python of an environment with vaex and hydra-joblib-launcher")
    parser.add_argument("--peers-python", help="python of the environment of requirements-peers.txt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras-rounds", type=int, default=1, help="a round of Keras takes minutes")
    parser.add_argument("--jobs", type=int, default=24, help="a multiple of 8")
    parser.add_argument("--cache", action="store_true", help="keep compiled programs between commands")
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/sweep_time.json"))
    return parser.parse_args()


def grid(jobs: int) -> list[str]:
    """A sweep over losses, latent sizes and seeds, eight programs; fewer than eight jobs are seeds of one."""
    if jobs < 8:
        return [f"seed={','.join(map(str, range(jobs)))}"]
    seeds = ",".join(map(str, range(jobs // 8)))
    return [f"seed={seeds}", f"model.latent_dim={','.join(map(str, LATENTS))}", f"loss={','.join(LOSSES)}"]


def launchers(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds of each way in each round."""
    data = folder / "images.npz"
    if args.peers_python:
        from epoch_time import training_images

        np.savez(data, train=training_images())
    ways = {"packed": (sys.executable, ()), "basic": (sys.executable, ("hydra/launcher=basic",))}
    if args.joblib_python:
        cores = len(os.sched_getaffinity(0))
        ways["joblib"] = (args.joblib_python, ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}"))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    if args.cache:
        sweep(sys.executable, folder / "warm", [*grid(args.jobs), "training.epochs=1"])
    for number in range(args.rounds):
        for name, (python, overrides) in ways.items():
            where = folder / f"{name}_{number}"
            seconds[name].append(sweep(python, where, [*grid(args.jobs), "training.epochs=2", *overrides])[0])
            print(f"round {number + 1}  {name:<10}{seconds[name][-1]:8.1f} s", file=sys.stderr, flush=True)
        if args.peers_python and number < args.keras_rounds:
            seconds.setdefault("keras loop", []).append(keras_loop(args, data))
            print(f"round {number + 1}  keras loop{seconds['keras loop'][-1]:8.1f} s", file=sys.stderr, flush=True)
    print(f"| {args.jobs} jobs | seconds, median (rounds) | this / packed |\n|---|---|---|")
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["packed"], strict=False))
        print(f"| {name} | {statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f}) | {ratio:.2f} |")
    return {"jobs": args.jobs, "cache": args.cache, "seconds": seconds}


def sizes(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds of packed and basic at each number of jobs in each round."""
    seconds: dict[int, dict[str, list[float]]] = {jobs: {"packed": [], "basic": []} for jobs in SIZES}
    for number in range(-1, args.rounds):  # the first round fills the cache
        for jobs, ways in seconds.items():
            for name, values in ways.items():
                overrides = [*grid(jobs), "training.epochs=2", f"hydra/launcher={name}"]
                took, _ = sweep(sys.executable, folder / f"{name}_{jobs}_{number}", overrides)
                if number >= 0:
                    values.append(took)
    print("| jobs | packed, s | basic, s | basic / packed |\n|---|---|---|---|")
    for jobs, ways in seconds.items():
        ratios = sorted(basic / packed for packed, basic in zip(*ways.values(), strict=True))
        medians = " | ".join(f"{statistics.median(values):.1f}" for values in ways.values())
        print(f"| {jobs} | {medians} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |")
    return {"seconds": {str(jobs): ways for jobs, ways in seconds.items()}}


def sweep(python: str, directory: Path, overrides: Sequence[str]) -> tuple[float, int]:
    """Wall time and peak memory (bytes) of a `vaex -m` command, which must end well."""
    command = [python, "-m", "vaex", "-m", f"hydra.sweep.dir={directory}", *overrides]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{said.decode()}")
    assert isinstance(usage, resource.struct_rusage)
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def keras_loop(args: argparse.Namespace, data: Path) -> float:
    """Wall time of one Keras process a job, one after the other: what people without a framework do."""
    start = time.perf_counter()
    for _ in range(args.jobs // (len(LATENTS) * len(LOSSES))):
        for latents in LATENTS * len(LOSSES):
            command = [args.peers_python, str(KERAS), "--plain", "--data", str(data), "--epochs", "2"]
            environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
            command += ["--latents", str(latents)]
            subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def growth(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds and memory against the number of jobs, and the tail after the last epoch."""
    rows = []
    for jobs in GROWTH:
        overrides = [f"seed={','.join(map(str, range(jobs)))}", "dataset=digits", "training.epochs=25"]
        seconds, memory = sweep(sys.executable, folder / str(jobs), overrides)
        ended = time.time()
        table = results.load_sweep(folder / str(jobs))
        trained = sum(load(folder / str(jobs) / str(n)).metrics["seconds"].sum() for n in range(jobs))
        rows.append({"jobs": jobs, "seconds": seconds, "peak_bytes": memory, "epochs_seconds": float(trained)})
        last = max(path.stat().st_mtime for path in (folder / str(jobs)).glob("*/metrics.jsonl"))
        rows[-1]["tail_seconds"] = ended - last
        assert set(table["status"]) == {"finished"}
        print(f"{jobs} jobs  {seconds:.1f} s  {memory / 1e6:.0f} MB", file=sys.stderr, flush=True)
    print("| jobs | seconds | a job | peak MB | in epochs, all lanes together | tail |\n|---|---|---|---|---|---|")
    for row in rows:
        each = row["seconds"] / row["jobs"]
        peak = row["peak_bytes"] / 1e6
        tail = f"{row['tail_seconds']:.1f} ({row['tail_seconds'] / row['seconds']:.0%})"
        print(
            f"| {row['jobs']} | {row['seconds']:.1f} | {each:.2f} | {peak:.0f} | {row['epochs_seconds']:.1f} | {tail} |"
        )
    return {"rows": rows}


if __name__ == "__main__":
    main()
