"""What streaming costs: a synthetic set four times as large as the memory that a run is allowed, against the same set
in memory without a limit.

    python tests/benchmarks/stream.py [--limit-mb 1200] [--epochs 3] [--folder DIR] [--json FILE]

The limit is a control group's, made below the one that this process is in and removed afterwards; pages of files that
are read count in it. Where none can be made that is said, and only the memory of the process itself is told. The files
are put out of the machine's cache before each run, which otherwise reads them from there. Nothing is asserted.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

VAEX = str(Path(sys.executable).with_name("vaex"))
TIMES = 4
ROW = 28 * 28
TRAINING = ("tracking.mode=disabled", "model.hidden=[16]", "model.latent_dim=2", "training.batch_size=512")
"""A small model: the less it computes an image, the harder it is to keep it in images."""
V1, V2 = ("memory.limit_in_bytes", "memory.max_usage_in_bytes"), ("memory.max", "memory.peak")


@contextlib.contextmanager
def group(limit: int) -> Iterator[tuple[Path | None, str]]:
    """A control group with so many bytes, and the file that says the most that it used; None where none can be made."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    of = next((line for line in lines if line[1] == "memory"), None) or next(line for line in lines if not line[1])
    names = V1 if of[1] else V2
    made = Path("/sys/fs/cgroup") / of[1] / of[2].lstrip("/") / f"vaex-stream-{os.getpid()}"
    try:
        made.mkdir()
        (made / names[0]).write_text(str(limit))
    except OSError as error:
        print(f"no limit: a control group cannot be made here ({error}); only the process's own memory is told")
        yield None, names[1]
        return
    try:
        yield made, names[1]
    finally:
        made.rmdir()


def run(arguments: list[str], limited: Path | None, seen: list[tuple[float, int]]) -> tuple[int, str]:
    """A command in a group; `seen` gets the process's own pages (RssAnon), with the time, twice a second."""
    enter = f"echo $$ > {limited}/cgroup.procs && " if limited else ""
    process = subprocess.Popen(
        ["sh", "-c", f'{enter}exec "$0" "$@"', VAEX, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            size = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
            seen.append((time.time(), size * 1024))
        time.sleep(0.5)
    assert process.stdout is not None
    return process.returncode, process.stdout.read().decode()


def forget(folder: Path) -> None:
    """Put a folder's files out of the machine's cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def make(path: Path, rows: int) -> None:
    """Uniform bytes, written a part at a time."""
    draw = np.random.default_rng(0)
    array: Any = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, 28, 28))
    for start in range(0, rows, 20_000):
        part = array[start : start + 20_000]
        part[:] = draw.integers(0, 256, part.shape, np.uint8)
    array.flush()


def measured(folder: Path, directory: Path, placement: str, epochs: int, limited: Path | None) -> dict[str, Any]:
    """A run: examples a second of each epoch, and the most memory of its own while each trained."""
    seen: list[tuple[float, int]] = []
    where = ("dataset=shards", f"dataset.path={folder}", f"dataset.placement={placement}")
    code, text = run([*where, *TRAINING, f"training.epochs={epochs}", f"hydra.run.dir={directory}"], limited, seen)
    if code:
        return {"code": code, "text": text[-400:]}
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    end, own = (directory / "metrics.jsonl").stat().st_mtime, []
    for row in reversed(rows):
        own.append(max((size for at, size in seen if end - row["seconds"] <= at <= end), default=0))
        end -= row["seconds"]
    speeds = [row["examples_per_second"] for row in rows]
    return {"code": 0, "examples_per_second": speeds, "rss_anon_bytes": own[::-1], "loss": rows[-1]["train/loss"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit-mb", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    limit = chosen.limit_mb * 1_000_000
    found: dict[str, Any] = {"limit_bytes": limit, "set_bytes": TIMES * limit}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch, group(limit) as (limited, peak):
        root = Path(scratch)
        make(root / "x.npy", TIMES * limit // ROW)
        forget(root)
        started = time.perf_counter()
        seen: list[tuple[float, int]] = []
        words = ["data", "pack", str(root / "x.npy"), str(root / "packed"), "dataset.fractions=[0.98,0.01,0.01]"]
        code, text = run(words, limited, seen)
        found["pack"] = {"code": code, "seconds": time.perf_counter() - started, "rss_anon": max(s for _, s in seen)}
        print(text.strip())
        (root / "x.npy").unlink()
        for name, placement, where in (("streamed", "stream", limited), ("in memory", "device", None)):
            forget(root / "packed")
            found[name] = measured(root / "packed", root / name.replace(" ", "_"), placement, chosen.epochs, where)
        found["group_peak_bytes"] = int((limited / peak).read_text()) if limited else None
        if limited:
            found["in memory, limited"] = measured(root / "packed", root / "too_large", "device", 1, limited)
    show(found)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")


def show(found: dict[str, Any]) -> None:
    """The table."""
    table = Table("", "exit", "examples/s an epoch", "MB of its own an epoch")
    for name in ("streamed", "in memory", "in memory, limited"):
        row = found.get(name)
        if row:
            speeds = ", ".join(f"{each:,.0f}" for each in row.get("examples_per_second", []))
            sizes = ", ".join(f"{each / 1e6:.0f}" for each in row.get("rss_anon_bytes", []))
            table.add_row(name, str(row["code"]), speeds, sizes)
    Console().print(table)
    both = [found[name].get("examples_per_second") for name in ("streamed", "in memory")]
    if all(both):
        ratio = np.median(both[0]) / np.median(both[1])
        print(f"streamed / in memory: {ratio:.2f} (medians); a set of {found['set_bytes'] / 1e9:.1f} GB")
    if found["group_peak_bytes"]:
        print(f"the group used at most {found['group_peak_bytes'] / 1e6:.0f} of {found['limit_bytes'] / 1e6:.0f} MB")
    print(f"packed in {found['pack']['seconds']:.0f} s, {found['pack']['rss_anon'] / 1e6:.0f} MB of its own")


if __name__ == "__main__":
    main()
