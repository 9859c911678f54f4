"""What tracking, checkpoints and figures cost a whole run: each switched off in turn, whole commands interleaved.

    .venv/bin/python tests/benchmarks/overheads.py [--rounds 2] [--epochs 25] [--results DIR]

The share of a part is (time with all on − time without it) / time with all on, taken within each round. `checkpoints
off` still writes the last one; `figures off` replaces the module that draws by an empty one.
"""

import argparse
import json
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
sys.modules["vaex.figures"] = types.SimpleNamespace(draw=lambda *_, **__: {{}})
{DRAW}
"""


def seconds(variant: str, epochs: int) -> float:
    """Of one command, from start to exit."""
    code = DRAW_NOTHING if variant in ("figures off", "all off") else DRAW
    with tempfile.TemporaryDirectory() as folder:
        words = [*VARIANTS[variant], f"training.epochs={epochs}", f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def main() -> None:
    """Print a markdown table; write overheads.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks"))
    args = parser.parse_args()
    seconds("all on", 1)  # fills the cache of compiled programs
    rounds = [{name: seconds(name, args.epochs) for name in VARIANTS} for _ in range(args.rounds)]
    print(f"| {args.epochs} epochs | seconds | share of the whole run |\n|---|---|---|")
    for name in VARIANTS:
        median = statistics.median(row[name] for row in rounds)
        shares = sorted(1 - row[name] / row["all on"] for row in rounds)
        print(f"| {name} | {median:.1f} | {statistics.median(shares):.1%} ({shares[0]:.1%}–{shares[-1]:.1%}) |")
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "overheads.json").write_text(json.dumps({"epochs": args.epochs, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
