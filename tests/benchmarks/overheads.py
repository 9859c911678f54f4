"""What tracking, checkpoints and figures cost a whole run: each switched off in turn, whole commands in random order.

    .venv/bin/python tests/benchmarks/overheads.py [--rounds 6] [--epochs 6] [--results DIR]

Epochs vary by more from one process to the next than all of this costs, so whole runs of 25 epochs cannot resolve it.
A run is therefore timed in parts: from the start to the end of the first epoch, the second epoch (beside which the
figures' library is imported), the time between the epochs that follow, and from the last row to the exit. The cost in a
run of 25 epochs is the first, second and last part's difference and 23 times the difference of the time between two
epochs. What runs beside an epoch (a checkpoint's writing) is timed by checkpoint_cost.py. `checkpoints off` still
writes the last one; `figures off` replaces the module that draws by an empty one.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OFF = ("tracking.mode=disabled", "checkpoint.every=1000000")
VARIANTS = {
    "all on": ("tracking.mode=offline",),
    "tracking off": (OFF[0],),
    "checkpoints off": ("tracking.mode=offline", OFF[1]),
    "figures off": ("tracking.mode=offline",),
    "all off": OFF,
}
DRAW = "from vaex.cli import main; main()"
DRAW_NOTHING = f"""
import sys, types
sys.modules["vaex.trained.pictures"] = types.SimpleNamespace(at_the_end=lambda *_, **__: {{}})
{DRAW}
"""
PARTS = ("first", "second", "between", "end")
WHOLE = 25
"""Epochs of the run of which the share is told."""


def parts(variant: str, epochs: int) -> dict[str, float]:
    """Seconds of one command: to its first row, in its second epoch, between two later ones, to its exit; an epoch."""
    code = DRAW_NOTHING if variant in ("figures off", "all off") else DRAW
    with tempfile.TemporaryDirectory() as folder:
        words = [*VARIANTS[variant], f"training.epochs={epochs}", f"hydra.run.dir={folder}/run"]
        path, ends, size = Path(folder, "run/metrics.jsonl"), [], 0
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL)
        while len(ends) < epochs and process.poll() is None:
            time.sleep(0.002)
            if path.exists() and path.stat().st_size > size:
                size = path.stat().st_size
                ends.append(time.perf_counter() - start)
        if process.wait() or len(ends) < epochs:
            raise SystemExit(f"vaex {' '.join(words)}: exit code {process.returncode}, {len(ends)} epochs seen")
        whole = time.perf_counter() - start
        seconds = [json.loads(line)["seconds"] for line in path.read_text().splitlines()]
    between = (ends[-1] - ends[1] - sum(seconds[2:])) / (epochs - 2)
    epoch = statistics.median(seconds[2:])
    return {"first": ends[0], "second": ends[1] - ends[0], "between": between, "end": whole - ends[-1], "epoch": epoch}


def main() -> None:
    """Print a markdown table; write overheads.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks"))
    args = parser.parse_args()
    parts("all on", 3)  # fills the cache of compiled programs
    rounds = []
    for _ in range(args.rounds):
        order = random.sample(list(VARIANTS), len(VARIANTS))
        rounds.append({name: parts(name, args.epochs) for name in order})
    all_on = {part: statistics.median(row["all on"][part] for row in rounds) for part in (*PARTS, "epoch")}
    whole = all_on["first"] + all_on["end"] + (WHOLE - 1) * all_on["epoch"]
    print(
        f"| | first row, s | second epoch, s | between epochs, ms | end, s | share of {WHOLE} epochs ({whole:.1f} s) |"
    )
    print("|---|---|---|---|---|---|")
    for name in VARIANTS:
        first, second, between, end = (statistics.median(row[name][part] for row in rounds) for part in PARTS)
        costs = sorted(cost(row["all on"], row[name]) / whole for row in rounds)
        share = f"{statistics.median(costs):.1%} ({costs[0]:.1%}–{costs[-1]:.1%})"
        print(f"| {name} | {first:.2f} | {second:.2f} | {1000 * between:.1f} | {end:.2f} | {share} |")
    args.results.mkdir(parents=True, exist_ok=True)
    record = {"epochs": args.epochs, "rounds": rounds}
    (args.results / "overheads.json").write_text(json.dumps(record, indent=1) + "\n")


def cost(on: dict[str, float], off: dict[str, float]) -> float:
    """Seconds of a whole run that are saved; the second epoch counts by its excess over the later ones of its run."""
    saved = {part: on[part] - off[part] for part in ("first", "between", "end")}
    second = (on["second"] - on["epoch"]) - (off["second"] - off["epoch"])
    return saved["first"] + second + (WHOLE - 2) * saved["between"] + saved["end"]


if __name__ == "__main__":
    main()
