"""Speed of the book's VAE on the CPU of one machine: vaex against Keras, PyTorch and Flax's own way, and the limit.

    python tests/benchmarks/epoch_time.py --peers-python PATH [--rounds 2] [--epochs 4] [--only vaex,torch-eager]
                                          [--commands 2,25] [--results DIR]

Each measurement is a process of its own, and the frameworks take turns (A B C A B C), so that a machine that slows
down slows all of them. Nothing here is asserted: the table is read by a person. See README.md beside this file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import summary
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from summary import Measurement

from vaex.config.compose import conf_directory
from vaex.datasets import fashion_mnist

SUMMARY = "Speed of the book's VAE: vaex against its peers, on the CPU of one machine."
HERE = Path(__file__).parent
PEERS = HERE / "peers"
SCRIPTS = {
    "keras-tensorflow": ("keras_vae.py", "--plain"),
    "keras-tensorflow-tuned": ("keras_vae.py",),
    "keras-jax": ("keras_vae.py",),
    "torch-eager": ("torch_vae.py",),
    "torch-compile": ("torch_vae.py", "--compile"),
    "flax": ("flax_vae.py",),
}
FRAMEWORKS = ("vaex", *SCRIPTS)
SLOW = ("keras-tensorflow", "keras-tensorflow-tuned")
"""Not trained for 25 epochs unless --all: minutes of their own."""
BUSY = 0.05
CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


def main() -> None:
    args = arguments()
    measurements: list[Measurement] = []
    limits: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "fashion_mnist.npz", train=training_images())

        def take(framework: str, epochs: int, number: int) -> None:
            measurements.append(measure(framework, epochs, number, args, folder))
            report(measurements[-1])

        for number in range(1, args.rounds + 1):
            for framework in args.only:
                take(framework, args.epochs, number)
            limits += limit(number)
        for epochs in args.commands:
            for framework in args.only:
                if epochs < 10 or args.all or framework not in SLOW:
                    take(framework, epochs, 0)
            if "vaex" in args.only:
                take("vaex, programs cached", epochs, 0)
    content = summary.content(measurements, limits)
    print(summary.table(content))
    summary.write(content, args.results)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=SUMMARY)
    parser.add_argument("--peers-python", help="python of the environment of requirements-peers.txt")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4, help="epochs a process; the first one is dropped")
    parser.add_argument("--only", default=",".join(FRAMEWORKS), help=f"some of {','.join(FRAMEWORKS)}")
    parser.add_argument("--commands", default="2,25", help="epochs of the whole commands that are timed once; or none")
    parser.add_argument("--all", action="store_true", help="time 25 epochs of the slow ones too")
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks"), help="where the files go")
    args = parser.parse_args()
    args.only = args.only.split(",")
    args.commands = [int(word) for word in args.commands.split(",") if word.isdigit()]
    unknown = [name for name in args.only if name not in FRAMEWORKS]
    if unknown:
        parser.error(f"--only: unknown {unknown[0]!r} (choose from {', '.join(FRAMEWORKS)})")
    if args.epochs < 2 or args.rounds < 1:
        parser.error("at least one round of two epochs: the first epoch is dropped")
    if args.peers_python is None and not set(args.only) <= {"vaex", "flax"}:
        parser.error("--peers-python is needed for every framework but vaex and flax")
    return args


def training_images() -> np.ndarray:
    """The 55 000 training images, uint8, as vaex itself loads them."""
    options = OmegaConf.load(conf_directory() / "dataset" / "fashion_mnist.yaml")
    config = TypeAdapter(fashion_mnist.Config).validate_json(json.dumps(OmegaConf.to_container(options)))
    return fashion_mnist.load(config).train.images[..., 0]


def measure(framework: str, epochs: int, number: int, args: argparse.Namespace, folder: Path) -> Measurement:
    own = folder / f"{number}-{framework.replace(', ', '-').replace(' ', '-')}-{epochs}"
    own.mkdir()
    cold = framework == "vaex" and number == 0  # the rounds before have filled the cache of compiled programs
    environment = os.environ | CPU_ONLY | {"VAEX_CACHE": "" if cold else str(folder / "programs")}
    if framework.startswith("keras-"):
        environment |= {"KERAS_BACKEND": framework.split("-")[1]}
    start, busy = time.perf_counter(), busy_seconds()
    usage = run(command(framework, epochs, args, folder, own), environment, own)
    seconds, others = time.perf_counter() - start, busy_seconds() - busy - usage.ru_utime - usage.ru_stime
    rows = vaex_rows(own / "run") if framework.startswith("vaex") else peer_rows(own / "stdout")
    if len(rows) != epochs:
        sys.exit(f"{framework}: {len(rows)} epochs were reported, {epochs} expected")
    share = max(0.0, others / (seconds * (os.cpu_count() or 1)))
    versions = {} if framework.startswith("vaex") else peer_versions(own / "stdout")
    return Measurement(framework, number, epochs, rows, usage.ru_maxrss * 1024, seconds, share, versions)


def limit(number: int) -> list[dict]:
    """The rounds of products.py, which takes turns with the epoch in one process."""
    command = [sys.executable, str(HERE / "products.py"), "--rounds", "5"]
    lines = subprocess.run(command, env=os.environ | CPU_ONLY, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    print(f"round {number}  products: an epoch takes {rows[-1]['median']['epoch_over_products']:.2f} times as long",
          file=sys.stderr, flush=True)  # fmt: skip
    return rows[:-1]


def busy_seconds() -> float:
    """CPU time that the whole machine has spent so far on anything but idling or waiting (Linux)."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def command(framework: str, epochs: int, args: argparse.Namespace, folder: Path, own: Path) -> list[str]:
    if framework.startswith("vaex"):
        overrides = ["dataset=fashion_mnist", f"training.epochs={epochs}", "tracking.mode=disabled"]
        return [sys.executable, "-m", "vaex", *overrides, f"hydra.run.dir={own / 'run'}"]
    script, *flags = SCRIPTS[framework]
    python = sys.executable if framework == "flax" else args.peers_python
    return [python, str(PEERS / script), *flags, "--data", f"{folder}/fashion_mnist.npz", "--epochs", str(epochs)]


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


def peer_versions(stdout: Path) -> dict[str, str]:
    """Of the last line that a peer prints."""
    return json.loads(stdout.read_text().splitlines()[-1])["versions"]


def report(measurement: Measurement) -> None:
    speed = f"{measurement.speed:>9,.0f} examples/s, {measurement.process_seconds:.1f} s with its start"
    line = f"round {measurement.round}  {measurement.framework:<23}{measurement.epochs:>3} epochs  {speed}"
    if measurement.others_share > BUSY:
        line += f"  (not alone: others took {measurement.others_share:.0%} of the machine)"
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
