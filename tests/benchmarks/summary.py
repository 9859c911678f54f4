"""From measurements to one table (markdown), one JSON file and one bar chart."""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SHOWN_VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")


@dataclass(frozen=True)
class Measurement:
    """One process: its epochs' rows, and what the operating system says of it. Round 0: a whole command, once."""

    framework: str
    round: int
    epochs: int
    rows: list[dict]
    peak_memory_bytes: int
    process_seconds: float
    others_share: float  # of the machine's CPU time, used by other processes meanwhile
    versions: dict[str, str]

    @property
    def speed(self) -> float:
        """Median examples per second; the first epoch, which compiles, is dropped."""
        return statistics.median(row["examples_per_second"] for row in self.rows[1:])


def content(measurements: list[Measurement], limits: list[dict]) -> dict[str, Any]:
    """All of it, with when and where."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": {
            "cpu": cpu(), "cores": os.cpu_count(), "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {name: importlib.metadata.version(name) for name in SHOWN_VERSIONS},
        "limit": limit(limits),
        "frameworks": [row(name, measurements) for name in dict.fromkeys(m.framework for m in measurements)],
        "measurements": [asdict(m) for m in measurements],
    }  # fmt: skip


def limit(rounds: list[dict]) -> dict[str, float] | None:
    """Medians and spread of the epoch over the products alone."""
    if not rounds:
        return None
    ratios = sorted(row["epoch_over_products"] for row in rounds)
    return {
        "products_seconds": statistics.median(row["products"] for row in rounds),
        "epoch_over_products": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }


def row(framework: str, measurements: list[Measurement]) -> dict[str, Any]:
    """One framework. A ratio is taken within each round, then the median: neighbours in time are compared."""
    own = [m for m in measurements if m.framework == framework]
    rounds = [m for m in own if m.round]
    vaex = {m.round: m.speed for m in measurements if m.framework == "vaex" and m.round}
    ratios = [vaex[m.round] / m.speed for m in rounds if m.round in vaex]
    speeds = [m.speed for m in rounds]
    longest = max(own, key=lambda m: m.epochs)
    return {
        "framework": framework,
        "versions": own[0].versions,
        "examples_per_second": statistics.median(speeds) if speeds else None,
        "slowest_round": min(speeds, default=None),
        "fastest_round": max(speeds, default=None),
        "vaex_over_this": statistics.median(ratios) if ratios else None,
        "command_seconds": {m.epochs: m.process_seconds for m in own if not m.round},
        "train_loss": longest.rows[-1]["train_loss"],
        "train_loss_epoch": longest.epochs,
        "peak_memory_bytes": max(m.peak_memory_bytes for m in own),
    }


def table(content: dict[str, Any]) -> str:
    """Markdown."""
    rows, limit = content["frameworks"], content["limit"]
    lengths = sorted({epochs for row in rows for epochs in row["command_seconds"]})
    titles = ["", "examples/s, median (rounds)", "vaex / this", *(f"{n} epochs, s" for n in lengths),
              "train loss, nats", "peak MB"]  # fmt: skip
    lines = [cells(titles), cells(["---"] * len(titles))]
    for row in rows:
        speed = row["examples_per_second"]
        spread = speed and f"{speed:,.0f} ({row['slowest_round']:,.0f}–{row['fastest_round']:,.0f})"
        ratio = row["vaex_over_this"] and f"{row['vaex_over_this']:.2f}"
        seconds = [row["command_seconds"].get(epochs) for epochs in lengths]
        loss = f"{row['train_loss']:.1f} (epoch {row['train_loss_epoch']})"
        times = [value and f"{value:.1f}" for value in seconds]
        lines.append(cells([row["framework"], spread, ratio, *times, loss, f"{row['peak_memory_bytes'] / 1e6:,.0f}"]))
    where = f"{content['date']}, {content['machine']['cores']} cores of {content['machine']['cpu']}"
    lines += ["", f"{where}; {', '.join(f'{name} {version}' for name, version in content['versions'].items())}."]
    if limit:
        spread = f"{limit['epoch_over_products']:.2f} ({limit['lowest']:.2f}–{limit['highest']:.2f})"
        lines.append(f"An epoch takes {spread} times as long as its matrix products alone.")
    return "\n".join(lines)


def cells(values: list[str | None]) -> str:
    """A line of a markdown table."""
    return f"| {' | '.join(value or '' for value in values)} |"


def write(content: dict[str, Any], folder: Path) -> None:
    """speed.json, speed.md and speed.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "speed.md").write_text(table(content) + "\n")
    draw(content, folder / "speed.png")


def draw(content: dict[str, Any], path: Path) -> None:
    """Examples per second, with the spread of the rounds; the limit as a line."""
    import matplotlib.pyplot as plt

    rows = [row for row in content["frameworks"] if row["examples_per_second"]][::-1]
    speeds = [row["examples_per_second"] / 1e3 for row in rows]
    spread = [[(row["examples_per_second"] - row["slowest_round"]) / 1e3 for row in rows],
              [(row["fastest_round"] - row["examples_per_second"]) / 1e3 for row in rows]]  # fmt: skip
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.2), layout="constrained")
    axes.barh([row["framework"] for row in rows], speeds, xerr=spread, color="0.6", ecolor="0.2")
    axes.set_xlabel("thousand examples/s in training")
    vaex = next((row["examples_per_second"] for row in rows if row["framework"] == "vaex"), None)
    if content["limit"] and vaex:
        axes.axvline(vaex / 1e3 * content["limit"]["epoch_over_products"], color="0.2", linestyle=":")
        axes.set_title("dotted: the matrix products alone", fontsize=9, loc="right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def cpu() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
