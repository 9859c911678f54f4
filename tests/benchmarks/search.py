"""Does a search find what a full grid finds, and for how much work; does TPE find it sooner than chance?

    python tests/benchmarks/search.py stopping [--dataset digits|fashion_mnist] [--repetitions 5] [--rule asha]
    python tests/benchmarks/search.py samplers [--repetitions 10] [--trials 30]
    python tests/benchmarks/search.py overhead [--rounds 3] [--epochs 60]

`stopping`: 64 configurations in full, then the same grid with early stopping, each repetition with a seed of its own:
how far the best of those that ran to their end is from the full grid's best, and for what share of its optimizer steps.
`samplers`: TPE and random search, as many trials each, in turns: the best valid/elbo, differences by repetition with a
95 % interval (Student's t).
`overhead`: the same 8 jobs as a grid, as a search whose space is that grid, and as a grid with a rule that never stops;
16 trials of uneven length, told as they end and in the order of asking; all in turns. Of each the seconds and the
seconds of its cores, which other work on the machine changes less.
Nothing here is asserted: the tables are read by a person. See README.md beside this file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vaex.disk import results

EPOCHS = 27
GRID = (
    "model.latent_dim=2,5,10,20",
    "optimizer.learning_rate=3e-4,1e-3,3e-3,1e-2",
    "loss=gamma,softplus",
    "optimizer=rmsprop,adam",
)
"""64 configurations."""

SMALL = {
    "digits": ("dataset=digits",),
    "fashion_mnist": ("dataset=fashion_mnist", "dataset.limit=10000", "model.hidden=[100]"),
}

SPACE = (
    "model.latent_dim=range(2,65)",
    "loss=choice(gamma,softplus,sigma)",
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))",
    "optimizer=choice(rmsprop,adam)",
)


def main() -> None:
    args = arguments()
    os.environ["WANDB_MODE"] = "disabled"
    measure = {"stopping": stopping, "samplers": samplers, "overhead": overhead}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        content = measure(args, Path(folder))
    print(json.dumps(content, indent=1))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "what": args.what} | content, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches against grids and chance.")
    parser.add_argument("what", choices=("stopping", "samplers", "overhead"))
    parser.add_argument("--dataset", choices=tuple(SMALL), default="digits")
    parser.add_argument("--rule", default="asha")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60, help="of each job of `overhead`")
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/search.json"))
    return parser.parse_args()


def sweep(directory: Path, overrides: Sequence[str]) -> tuple[pd.DataFrame, float, float]:
    """A sweep as a shell command: its table, its seconds, and the seconds of its cores."""
    line = [sys.executable, "-m", "vaex", "-m", *overrides, f"hydra.sweep.dir={directory}"]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(line, capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, os.times()
    of_cores = after.children_user + after.children_system - before.children_user - before.children_system
    if done.returncode:
        sys.exit(f"{' '.join(line)}: exit {done.returncode}\n{done.stderr}")
    return results.load_sweep(directory), seconds, of_cores


def best_of(table: pd.DataFrame) -> float:
    """The largest valid/elbo of the runs that came to their end."""
    return float(table.loc[table["status"] == "finished", "valid/elbo"].max())


def stopping(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """For each repetition: the best in full and with stopping, and the share of the steps."""
    rows = []
    for seed in range(args.repetitions):
        common = [*SMALL[args.dataset], *GRID, f"training.epochs={EPOCHS}", f"seed={seed}", "sweep.figures_up_to=0"]
        full, full_seconds, _ = sweep(folder / f"full{seed}", common)
        short, seconds, _ = sweep(folder / f"{args.rule}{seed}", [*common, f"sweep.stop={args.rule}"])
        rows.append(
            {
                "seed": seed,
                "best_in_full": best_of(full),
                "best": best_of(short),
                "nats_worse": best_of(full) - best_of(short),
                "share_of_steps": float(short["step"].sum() / full["step"].sum()),
                "share_of_seconds": seconds / full_seconds,
                "statuses": short["status"].value_counts().to_dict(),
            }
        )
        print(rows[-1], flush=True)
    worst = max(row["nats_worse"] for row in rows)
    return {"dataset": args.dataset, "rule": args.rule, "epochs": EPOCHS, "worst_nats": worst, "repetitions": rows}


def samplers(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The best valid/elbo of each sampler in each repetition, and the mean difference."""
    best: dict[str, list[float]] = {"tpe": [], "random": []}
    for seed in range(args.repetitions):
        for name, values in best.items():
            own = ["hydra/sweeper=optuna", f"hydra.sweeper.sampler={name}", f"hydra.sweeper.seed={seed}"]
            line = [*own, f"hydra.sweeper.trials={args.trials}", "dataset=digits", *SPACE, f"seed={seed}"]
            table, *_ = sweep(
                folder / f"{name}{seed}",
                [*line, "training.epochs=10", "sweep.figures_up_to=0", "hydra.sweeper.ordered=true"],
            )
            values.append(best_of(table))
        print(seed, {name: values[-1] for name, values in best.items()}, flush=True)
    apart = np.subtract(best["tpe"], best["random"])
    low, high = stats.t.interval(0.95, len(apart) - 1, apart.mean(), stats.sem(apart))
    p = float(stats.ttest_1samp(apart, 0.0).pvalue)
    return {"trials": args.trials, "best": best, "tpe_above_random": [apart.mean(), low, high], "p": p}


def overhead(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of each way in each round, and by the cores' seconds its ratio to the way that it is held against."""
    length = f"training.epochs={args.epochs}"
    common = ["dataset=fashion_mnist", "dataset.limit=10000", length, "sweep.figures_up_to=0"]
    grid = [*common, "optimizer.learning_rate=choice(3e-4,6e-4,1e-3,2e-3)", "model.latent_dim=choice(5,10)"]
    searched = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "hydra.sweeper.trials=8"]
    uneven = [*common, "optimizer.learning_rate=tag(log,interval(3e-4,3e-3))", "model.hidden=choice([50],[300,200])"]
    tpe = ["hydra/sweeper=optuna", "hydra.sweeper.trials=16", "hydra.sweeper.startup=4"]
    ways = {
        "grid": grid,
        "search": [*grid, *searched],
        "patience that never stops": [*grid, f"sweep.stop.patience={args.epochs - 1}"],
        "asha that hardly stops": [*grid, "sweep.stop=asha", "sweep.stop.factor=9"],
        "uneven search": [*uneven, *tpe],
        "uneven search in order": [*uneven, *tpe, "hydra.sweeper.ordered=true"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    of_cores: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(args.rounds + 1):  # the first compiles
        for name, line in ways.items():
            _, taken, used = sweep(folder / f"{name.replace(' ', '_')}{number}", line)
            if number:
                seconds[name].append(taken)
                of_cores[name].append(used)
        print(number, seconds, of_cores, flush=True)
    ratios = {}
    for name in ways:
        base = "uneven search" if name.startswith("uneven") else "grid"
        both = {"seconds": seconds, "seconds of cores": of_cores}
        ratios[name] = {what: statistics.median(np.divide(taken[name], taken[base])) for what, taken in both.items()}
    return {"epochs": args.epochs, "seconds": seconds, "seconds_of_cores": of_cores, "ratios": ratios}


if __name__ == "__main__":
    main()
