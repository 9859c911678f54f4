"""The GPU path, checked and measured in one go: `make gpu`. On a CPU the same, in small, so that this file is tested.

    .venv/bin/python -m tests.gpu.check [PART ...] [--json FILE] [--small]

Needs jax for the device, flax, optax and the other dependencies, Fashion-MNIST where `vaex data` finds it, no network.
Prints what holds and what was measured, writes both as JSON, and ends with 1 where something does not hold.
"""

import argparse
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import load_file

from tests.support.configurations import make
from vaex import files
from vaex.device import compilation, compiled
from vaex.device.compiled import Compiled
from vaex.device.datasets import load, on_device
from vaex.vae import objective, pack

BAND = {"train": (0.3105, 0.3125), "valid": (0.312, 0.318)}
"""Negative ELBO a pixel of the book's VAE after 25 epochs: the published run and five seeds."""


class Check:
    """What was found so far, and a folder for runs."""

    def __init__(self, small: bool, folder: Path):
        self.small, self.folder = small, folder
        self.holds: dict[str, bool] = {}
        self.measured: dict[str, float | str] = {}

    def hold(self, name: str, holds: bool) -> None:
        """Something that must be so."""
        self.holds[name] = bool(holds)
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {name}", flush=True)

    def measure(self, name: str, value: float | str) -> None:
        """A number for the table."""
        self.measured[name] = value
        print(f"{name}: {value if isinstance(value, str) else f'{value:,.4g}'}", flush=True)

    def vaex(self, *arguments: str, fails: Sequence[int] = (), **variables: str) -> float:
        """Run a command; returns its seconds. Raises what it says where it fails, but with the codes that may come."""
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "vaex", *arguments], cwd=self.folder, capture_output=True, text=True,
            env=self.environment(**variables),
        )  # fmt: skip
        if done.returncode not in (0, *fails):
            raise RuntimeError(f"vaex {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return time.perf_counter() - started

    def environment(self, **variables: str) -> dict[str, str]:
        """Of the commands: this checkout's code, a cache of their own, nothing sent."""
        own = {"PYTHONPATH": str(Path(__file__).parents[2]), "VAEX_CACHE": str(self.folder / "programs")}
        return os.environ | own | {"WANDB_MODE": "disabled"} | variables

    def results(self, name: str) -> dict[str, Any]:
        """What decides whether two runs are the same: parameters and rows."""
        summary = files.read_json(self.folder / name / "summary.json")
        return {key: summary.get(key) for key in ("status", "parameters_sha256", "steps_sha256", "epoch_sha256")}


def book(check: Check) -> None:
    """The book's run: in its band; the whole command cold and with cached programs; the same bits without a cache."""
    size = ("dataset.limit=2000", "training.epochs=2") if check.small else ()
    check.measure("book, whole command, cold, s", check.vaex(*size, "hydra.run.dir=cold"))
    check.measure("book, whole command, cached, s", check.vaex(*size, "hydra.run.dir=cached"))
    summary = files.read_json(check.folder / "cold" / "summary.json")
    check.measure("book, examples/s", summary["examples_per_second"])
    for split, (low, high) in BAND.items():
        loss = -summary[f"{split}/elbo_per_pixel"]
        check.measure(f"book, {split}, nats a pixel", loss)
        if not check.small:
            check.hold(f"book in its band: {split} {low} to {high}", low <= loss <= high)
    check.hold("the same bits from the cache", check.results("cold") == check.results("cached"))
    short = ("dataset.limit=2000", "training.epochs=2")
    for autotune in ("off",) if check.small else ("off", "full"):
        names = [f"{autotune}{number}" for number in range(2)]
        for name in names:
            check.vaex(*short, f"compile.autotune={autotune}", f"hydra.run.dir={name}", VAEX_CACHE="")
        same = check.results(names[0]) == check.results(names[1])
        if autotune == "off":
            check.hold("the same bits twice without a cache", same)
        else:
            check.measure("the same bits twice without a cache, kernels timed", "yes" if same else "no")


def packs(check: Check) -> None:
    """A vmapped sweep: killed and resumed, a member reproduced, padded weights."""
    jobs = 4 if check.small else 30  # in 32 lanes
    grid = (
        "-m", "dataset.limit=2000", f"seed=range(0,{jobs // 2})", "model.latent_dim=2,3", "pack.strategy=vmap",
        "training.epochs=6", "sweep.figures_up_to=0",
    )  # fmt: skip
    check.measure(f"sweep of {jobs}, whole command, s", check.vaex(*grid, "hydra.sweep.dir=whole"))
    line = [sys.executable, "-m", "vaex", *grid, "hydra.sweep.dir=killed"]
    process = subprocess.Popen(
        line, cwd=check.folder, env=check.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not [*(check.folder / "killed").glob("*/checkpoints/epoch_000002.ckpt")]:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    check.vaex("resume", "killed")
    same = [check.results(f"killed/{number}") == check.results(f"whole/{number}") for number in range(jobs)]
    check.hold(f"kill -9 and resume: the same bits in {sum(same)} of {jobs}", all(same))
    check.vaex("reproduce", "whole/1", "hydra.run.dir=again")  # ends with 1 unless it is the same
    check.hold("a member reproduces as identical", check.results("again") == check.results("whole/1"))
    sizes = {array.shape for array in load_file(check.folder / "whole" / "0" / "model.safetensors").values()}
    check.hold("a run of two latents has two", (100, 2) in sizes and (100, 3) not in sizes)


def refills(check: Check) -> None:
    """Lanes of a vmapped pack that the next jobs take when a run is stopped: nobody's bits change."""
    jobs, epochs, at_once = (9, 4, 3) if check.small else (24, 9, 8)
    rates = ",".join(f"{10 ** (-2 - number / 4):.3g}" for number in range(jobs // 3))
    grid = (
        "-m", "dataset.limit=2000", f"optimizer.learning_rate={rates}", "seed=0,1,2", "pack.strategy=vmap",
        f"pack.max_runs={at_once}", f"training.epochs={epochs}", "sweep.figures_up_to=0",
    )  # fmt: skip
    check.measure(f"sweep of {jobs} in packs of {at_once}, to the end, s", check.vaex(*grid, "hydra.sweep.dir=full"))
    stopping = ("sweep.stop=asha", "sweep.stop.min_epochs=1", "hydra.sweep.dir=asha")
    check.measure(f"sweep of {jobs} in packs of {at_once}, asha, s", check.vaex(*grid, *stopping))
    ends = {n: check.results(f"asha/{n}")["status"] for n in range(jobs)}
    manifests = {n: files.read_json(check.folder / "asha" / str(n) / "manifest.json") for n in range(jobs)}
    taken = [n for n, manifest in manifests.items() if manifest["pack"].get("refilled")]
    check.measure("jobs that took a lane", f"{len(taken)}; {sum(end == 'stopped' for end in ends.values())} stopped")
    to_the_end = [n for n, end in ends.items() if end == "finished"]
    same = [check.results(f"asha/{n}") == check.results(f"full/{n}") for n in to_the_end]
    check.hold(f"refilled: the same bits in {sum(same)} of {len(to_the_end)} that came to the end", all(same))
    both = [n for n in taken if n in to_the_end]
    if both:
        check.vaex("reproduce", f"asha/{both[0]}", "hydra.run.dir=refilled_again")
        again = check.results("refilled_again") == check.results(f"asha/{both[0]}")
        check.hold("a run that took a lane reproduces as identical", again)
    stopped = [n for n in taken if n not in to_the_end] or [n for n in ends if n not in to_the_end]
    if stopped:
        check.vaex("resume", f"asha/{stopped[0]}", f"training.epochs={epochs}")
        same_end = check.results(f"asha/{stopped[0]}") == check.results(f"full/{stopped[0]}")
        check.hold("a stopped run is taken to the end that it would have had", same_end)


def streams(check: Check) -> None:
    """Packed images, all on the device and chunk by chunk: the same bits; what streaming costs."""
    images = load(make("dataset=fashion_mnist").dataset).train.images
    images = images[:2500] if check.small else np.tile(images, (10, 1, 1, 1))
    np.save(check.folder / "x.npy", images)
    check.measure(f"pack {images.nbytes / 1e6:.3g} MB, s", check.vaex("data", "pack", "x.npy", "packed"))
    few, many = (1, 2) if check.small else (4, 8)
    for model, options in (("book", ()), ("16 hidden units", ("model.hidden=[16]", "training.batch_size=512"))):
        for placement in ("device", "stream"):
            name = f"{placement}_{model[:4]}"
            check.vaex(
                "dataset=shards", "dataset.path=packed", f"dataset.placement={placement}", *options,
                f"training.epochs={few if model == 'book' else many}", f"hydra.run.dir={name}",
            )  # fmt: skip
            rows = (check.folder / name / "metrics.jsonl").read_text().splitlines()
            rates = [json.loads(row)["examples_per_second"] for row in rows]
            check.measure(f"{model}, {placement}: examples/s, median of epochs", sorted(rates)[len(rates) // 2])
        same = check.results(f"device_{model[:4]}") == check.results(f"stream_{model[:4]}")
        check.hold(f"{model}: the same bits, streamed or not", same)


def deaths(check: Check) -> None:
    """A run that diverges on the device is replayed there bit for bit, and its death named."""
    check.vaex(
        "dataset=digits", "optimizer.learning_rate=1", "training.epochs=3", "hydra.run.dir=dead", fails=(1,)
    )  # fmt: skip
    check.hold("the run has diverged", check.results("dead")["status"] == "diverged")
    check.measure("vaex diagnose, s", check.vaex("diagnose", "dead", fails=(1,)))
    found = files.read_json(check.folder / "dead" / "diagnose.json")
    check.hold("replayed bit for bit", found["replay"]["identical"])


def lanes(check: Check) -> None:
    """Epochs of packs of some sizes: compile time, examples a second, and those of their products alone."""
    for count in (1, 2) if check.small else (1, 8, 64, 256, 1024):
        _lanes(check, count)
        if not check.small and count in (1, 64):
            _lanes(check, count, autotuned=False)
    most = 2 if check.small else 256
    _lanes(check, most, "precision.matmul=tf32")
    _lanes(check, most, "precision.network=bfloat16")


def _lanes(check: Check, count: int, *overrides: str, autotuned: bool = True) -> None:
    options = {} if autotuned or jax.devices()[0].platform == "cpu" else compilation.Choice("off", 1, 1).options
    limit = ("dataset.limit=2000",) if check.small else ()
    configs = [make("dataset=fashion_mnist", *limit, *overrides, f"seed={seed}") for seed in range(count)]
    dataset, device = load(configs[0].dataset), jax.devices()[0]
    programs = [objective.program(config, dataset.shape) for config in configs]
    program, hyper = pack.joined(programs, [objective.hyper(config) for config in configs])
    hyper = jax.device_put(hyper, device)
    images, held_out = on_device(dataset, device)
    states = [compiled.init(each, objective.hyper(config).seed) for each, config in zip(programs, configs, strict=True)]
    state = jax.device_put(pack.stack(program, states) if count > 1 else states[0], device)
    started = time.perf_counter()
    functions = Compiled(program, hyper, images, held_out, device, options)
    train, order = functions.train, functions.order
    name = " ".join((f"{count} lanes", *overrides, *(("without autotuning",) if options else ())))
    check.measure(f"{name}: compile, s", time.perf_counter() - started)
    numbers = jnp.zeros(count if count > 1 else (), jnp.int32)
    seconds = []
    for _ in range(4):  # the first warms up
        started = time.perf_counter()
        state, steps = train(hyper, state, order(hyper.seed, numbers), images)
        jax.block_until_ready(steps)
        seconds.append(time.perf_counter() - started)
    rate = count * len(images) / min(seconds[1:])
    check.measure(f"{name}: examples/s", rate)
    if not overrides and not options:
        alone = count * len(images) / _products(count, len(images))
        check.measure(f"{name}: examples/s of the products alone", alone)
        check.measure(f"{name}: share of the products", rate / alone)


def _products(count: int, rows: int, batch: int = 128) -> float:
    """Seconds of the book's products of an epoch for so many lanes, batched, in float32: nothing else."""
    sizes = ((784, 150), (150, 100), (100, 20), (10, 100), (100, 150), (150, 784))
    rng = np.random.default_rng(0)
    kernels = [jnp.asarray(rng.normal(size=(count, *size)).astype(np.float32) / size[0]) for size in sizes]
    inputs = jnp.asarray(rng.uniform(size=(count, batch, 784)).astype(np.float32))
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def body(total: Any, _: Any) -> tuple[Any, None]:
        h, into = inputs + total, []
        for kernel in kernels:
            into.append(h[..., : kernel.shape[1]])
            h = product(into[-1], kernel)
        gradients, g = [], h
        for kernel, x in zip(reversed(kernels), reversed(into), strict=True):
            if g.shape[-1] < kernel.shape[2]:  # that of z goes to both heads
                g = jnp.concatenate([g, 2 * g], axis=-1)
            gradients.append(product(jnp.swapaxes(x, 1, 2), g))
            g = product(g, jnp.swapaxes(kernel, 1, 2))
        kept = lax.optimization_barrier(tuple(gradients))
        return total + 1e-30 * sum(each[0, 0, 0] for each in kept), None

    run = jax.jit(lambda: lax.scan(body, jnp.float32(0), None, length=-(-rows // batch))[0]).lower().compile()
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        run().block_until_ready()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def peers(check: Check) -> None:
    """The same epoch in PyTorch, where there is one: eager, compiled, and a CUDA graph a step."""
    here = Path(__file__).parents[2]
    theirs = here / ".venv-peers" / "bin" / "python"
    python = str(theirs) if theirs.exists() else sys.executable
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        check.measure("PyTorch", "not measured: not installed")
        return
    dataset = load(make("dataset=fashion_mnist", *(("dataset.limit=2000",) if check.small else ())).dataset)
    data, script = check.folder / "train.npz", here / "tests" / "benchmarks" / "peers" / "torch_vae.py"
    np.savez(data, train=dataset.train.images)
    device = "cpu" if jax.devices()[0].platform == "cpu" else "cuda"
    for flags in ((), ("--compile",), ("--graph",)):
        line = [python, str(script), "--data", str(data), "--epochs", "3", "--device", device, *flags]
        done = subprocess.run(line, capture_output=True, text=True)
        rows = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
        rates = [row["examples_per_second"] for row in rows if "examples_per_second" in row]
        name = f"PyTorch {' '.join(flags).removeprefix('--') or 'eager'}: examples/s"
        failed = done.stderr.strip().splitlines() or ["no reason given"]
        check.measure(name, max(rates[1:]) if len(rates) == 3 else f"not measured: {failed[-1]}")


def beginnings(check: Check) -> None:
    """Initial weights come from the CPU, whatever trains."""
    config = make("dataset=digits")
    program = objective.program(config, load(config.dataset).shape)
    started = time.perf_counter()
    state = compiled.init(program, objective.hyper(config).seed)
    check.measure("init, compile and run, s", time.perf_counter() - started)
    check.hold(
        "initial weights are made on the CPU",
        all(leaf.devices() == {jax.devices("cpu")[0]} for leaf in jax.tree.leaves(state)),
    )
    on_device_too = jax.tree.leaves(jax.device_put(state, jax.devices()[0]))
    same = [np.array_equal(a, b) for a, b in zip(jax.tree.leaves(state), on_device_too, strict=True)]
    check.hold("and are the same on the device", all(same))


PARTS: Mapping[str, Callable[[Check], None]] = {
    part.__name__: part for part in (beginnings, book, packs, refills, streams, deaths, lanes, peers)
}


def main() -> int:
    """Everything, in order; a part that fails is said, and the others go on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="; ".join(PARTS))
    parser.add_argument("--json", type=Path, default=Path("outputs/benchmarks/gpu.json"))
    parser.add_argument("--small", action="store_true", help="small sizes (always so on a CPU)")
    args = parser.parse_args()
    device = jax.devices()[0]
    with tempfile.TemporaryDirectory() as folder:
        check = Check(args.small or device.platform == "cpu", Path(folder))
        check.measure("device", f"{device.device_kind} ({device.platform}), jax {jax.__version__}")
        for name in args.parts or PARTS:
            try:
                PARTS[name](check)
            except Exception as error:
                check.hold(f"{name}: {type(error).__name__}: {error}", False)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"holds": check.holds, "measured": check.measured}, indent=1) + "\n")
    return 0 if all(check.holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
