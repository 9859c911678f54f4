"""Training speed of the book's VAE: vaex against Keras and PyTorch, on the CPU of one machine.

    python tests/benchmarks/epoch_time.py --peers-python PATH [--rounds 3] [--epochs 6] [--only vaex,torch-eager]

Each measurement is a process of its own, and the frameworks take turns (A B C A B C), so that a machine that slows
down slows all of them. Nothing here is asserted: the table is read by a person. See README.md beside this file.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from vaex.compose import conf_directory
from vaex.datasets import fashion_mnist

SUMMARY = "Training speed of the book's VAE: vaex against Keras and PyTorch, on the CPU of one machine."
PEERS = Path(__file__).parent / "peers"
SCRIPTS = {
    "keras-tensorflow": ("keras_vae.py", "--plain"),
    "keras-tensorflow-tuned": ("keras_vae.py",),
    "keras-jax": ("keras_vae.py",),
    "torch-eager": ("torch_vae.py",),
    "torch-compile": ("torch_vae.py", "--compile"),
}
FRAMEWORKS = ("vaex", *SCRIPTS)
BUSY = 0.05
CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True)
class Measurement:
    """One process: its epochs' rows, and what the operating system says of it."""

    framework: str
    round: int
    rows: list[dict]
    peak_memory_bytes: int
    process_seconds: float
    others_share: float  # of the machine's CPU time, used by other processes meanwhile

    @property
    def speed(self) -> float:
        """Median examples per second; the first epoch, which compiles, is dropped."""
        return statistics.median(row["examples_per_second"] for row in self.rows[1:])


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "fashion_mnist.npz"
        np.savez(data, train=training_images())
        measurements = []
        for number in range(1, args.rounds + 1):
            for framework in args.only:
                measurements.append(measure(framework, number, args, data, Path(folder)))
                report(measurements[-1])
    rows = summary(measurements)
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    content = {"machine": machine, "summary": rows, "measurements": [asdict(m) for m in measurements]}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=SUMMARY)
    parser.add_argument("--peers-python", help="python of the environment of requirements-peers.txt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6, help="epochs a process; the first one is dropped")
    parser.add_argument("--only", default=",".join(FRAMEWORKS), help=f"some of {','.join(FRAMEWORKS)}")
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/epoch_time.json"))
    args = parser.parse_args()
    args.only = args.only.split(",")
    unknown = [name for name in args.only if name not in FRAMEWORKS]
    if unknown:
        parser.error(f"--only: unknown {unknown[0]!r} (choose from {', '.join(FRAMEWORKS)})")
    if args.epochs < 2 or args.rounds < 1:
        parser.error("at least one round of two epochs: the first epoch is dropped")
    if args.peers_python is None and args.only != ["vaex"]:
        parser.error("--peers-python is needed for every framework but vaex")
    return args


def training_images() -> np.ndarray:
    """The 55 000 training images, uint8, as vaex itself loads them."""
    options = OmegaConf.load(conf_directory() / "dataset" / "fashion_mnist.yaml")
    config = TypeAdapter(fashion_mnist.Config).validate_json(json.dumps(OmegaConf.to_container(options)))
    return fashion_mnist.load(config).train.images[..., 0]


def measure(framework: str, number: int, args: argparse.Namespace, data: Path, folder: Path) -> Measurement:
    own = folder / f"{number}-{framework}"
    own.mkdir()
    environment = os.environ | CPU_ONLY
    if framework.startswith("keras-"):
        environment |= {"KERAS_BACKEND": framework.split("-")[1]}
    start, busy = time.perf_counter(), busy_seconds()
    usage = run(command(framework, args, data, own), environment, own)
    seconds, others = time.perf_counter() - start, busy_seconds() - busy - usage.ru_utime - usage.ru_stime
    rows = vaex_rows(own / "run") if framework == "vaex" else peer_rows(own / "stdout")
    if len(rows) != args.epochs:
        sys.exit(f"{framework}: {len(rows)} epochs were reported, {args.epochs} expected")
    share = max(0.0, others / (seconds * (os.cpu_count() or 1)))
    return Measurement(framework, number, rows, usage.ru_maxrss * 1024, seconds, share)


def busy_seconds() -> float:
    """CPU time that the whole machine has spent so far on anything but idling or waiting (Linux)."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def command(framework: str, args: argparse.Namespace, data: Path, own: Path) -> list[str]:
    if framework == "vaex":
        overrides = ["dataset=fashion_mnist", f"training.epochs={args.epochs}", "tracking.mode=disabled"]
        return [sys.executable, "-m", "vaex", *overrides, f"hydra.run.dir={own / 'run'}"]
    script, *flags = SCRIPTS[framework]
    return [args.peers_python, str(PEERS / script), *flags, "--data", str(data), "--epochs", str(args.epochs)]


def run(command: list[str], environment: Mapping[str, str], own: Path) -> resource.struct_rusage:
    """Run to the end; what the process used, measured alike for all frameworks."""
    with (own / "stdout").open("w") as stdout, (own / "stderr").open("w") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join((own / "stderr").read_text().splitlines()[-15:])
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{tail}")
    return usage


def vaex_rows(directory: Path) -> list[dict]:
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    kept = ("epoch", "seconds", "examples_per_second")
    return [{key: row[key] for key in kept} | {"train_loss": row["train/loss"]} for row in rows]


def peer_rows(stdout: Path) -> list[dict]:
    rows = [json.loads(line) for line in stdout.read_text().splitlines() if line.startswith("{")]
    return [row for row in rows if "epoch" in row]


def summary(measurements: list[Measurement]) -> list[dict]:
    """One row a framework. A ratio is taken within each round, then the median: neighbours in time are compared."""
    vaex = {m.round: m.speed for m in measurements if m.framework == "vaex"}
    rows = []
    for framework in dict.fromkeys(m.framework for m in measurements):
        own = [m for m in measurements if m.framework == framework]
        ratios = [vaex[m.round] / m.speed for m in own if m.round in vaex]
        rows.append(
            {
                "framework": framework,
                "examples_per_second": statistics.median(m.speed for m in own),
                "slowest_round": min(m.speed for m in own),
                "fastest_round": max(m.speed for m in own),
                "vaex_over_this": statistics.median(ratios) if ratios else None,
                "process_seconds": statistics.median(m.process_seconds for m in own),
                "train_loss": statistics.median(m.rows[-1]["train_loss"] for m in own),
                "peak_memory_bytes": max(m.peak_memory_bytes for m in own),
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        "| | examples/s, median (rounds) | vaex / this | whole process, s | train loss, nats | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row["vaex_over_this"] is None else f"{row['vaex_over_this']:.2f}"
        speed = f"{row['examples_per_second']:,.0f} ({row['slowest_round']:,.0f}–{row['fastest_round']:,.0f})"
        end = f"{row['process_seconds']:.1f} | {row['train_loss']:.1f} | {row['peak_memory_bytes'] / 1e6:,.0f}"
        lines.append(f"| {row['framework']} | {speed} | {ratio} | {end} |")
    return "\n".join(lines)


def report(measurement: Measurement) -> None:
    line = f"round {measurement.round}  {measurement.framework:<17}{measurement.speed:>9,.0f} examples/s"
    if measurement.others_share > BUSY:
        line += f"  (not alone: others took {measurement.others_share:.0%} of the machine)"
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
