"""Does population based training find what chance does not, for as many optimizer steps?

    python tests/benchmarks/population.py [--repetitions 6] [--members 8] [--epochs 12] [--every 2]

The same members, with the same seeds and values, once as a population and once each to its end on its own (random
search), each repetition with seeds of its own: the best valid/elbo, differences by repetition with a 95 % interval
(Student's t). All in this process, on one lane. Nothing here is asserted: the table is read by a person. See README.md
beside this file.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hydra._internal.utils import get_args_parser
from scipy import stats

from vaex import files
from vaex.config.compose import compose
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.search import lineage
from vaex.sweeping import pbt, rounds
from vaex.training import run

SPACE = ("optimizer.learning_rate=tag(log,interval(1e-4,3e-2))", "kl_weight.beta=interval(0.5,2)")
SMALL = ("dataset=digits", "model.hidden=[32]", "model.latent_dim=4", "tracking.mode=disabled", "sweep.lanes=1")


def main() -> None:
    args = arguments()
    best: dict[str, list[float]] = {"population": [], "random": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.repetitions):
            for name, values in best.items():
                values.append(best_of(args, seed, Path(folder) / f"{name}{seed}", alone=name == "random"))
            print(seed, {name: values[-1] for name, values in best.items()}, flush=True)
    content = {"date": time.strftime("%Y-%m-%d"), "best": best} | difference(best)
    print(json.dumps(content, indent=1))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(content, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A population against random search.")
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/population.json"))
    return parser.parse_args()


def best_of(args: argparse.Namespace, seed: int, directory: Path, alone: bool) -> float:
    """The largest valid/elbo at the end, of the members as a population or each alone."""
    own = ["hydra/sweeper=pbt", f"hydra.sweeper.population={args.members}", f"hydra.sweeper.every={args.every}"]
    seeds = [f"hydra.sweeper.seed={seed}", f"seed={100 * seed}", f"training.epochs={args.epochs}"]
    command = compose(get_args_parser().parse_args(["-m", *SMALL, *SPACE, *own, *seeds]))
    asked = pbt.asked(command)
    assert asked
    configs = pbt.with_members(command, asked).jobs
    directory.mkdir()
    jobs = [Job(config, directory / str(number), str(number), figures=False) for number, config in enumerate(configs)]
    if alone:
        run.run([[job] for job in jobs])
    else:
        lineage.write(directory, asked)
        sweep.write(directory, [sweep.noted(n, Path(str(n)), (), config) for n, config in enumerate(configs)])
        rounds.train(directory, jobs)
    found = (files.read_json(job.directory / "summary.json").get("valid/elbo") for job in jobs)
    return max(value for value in found if value is not None)


def difference(best: dict[str, list[float]]) -> dict[str, Any]:
    """The population's best above that of chance, with its interval."""
    apart = np.subtract(best["population"], best["random"])
    low, high = stats.t.interval(0.95, len(apart) - 1, apart.mean(), stats.sem(apart))
    return {"population_above_random": [apart.mean(), low, high], "p": float(stats.ttest_1samp(apart, 0.0).pvalue)}


if __name__ == "__main__":
    main()
