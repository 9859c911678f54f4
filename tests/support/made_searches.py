"""What a search or early stopping leaves in a sweep's directory, planted with known content."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPACE = {
    "optimizer.learning_rate": "tag(log,interval(1e-4,1e-2))",
    "model.latent_dim": "range(2,65)",
    "loss": "choice(gamma,sigma,log_sigma)",
}


def points(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Random points of `SPACE`, as trials.csv has them."""
    rng = np.random.default_rng(seed)
    return [
        {
            "optimizer.learning_rate": repr(float(10 ** rng.uniform(-4, -2))),
            "model.latent_dim": str(int(rng.integers(2, 65))),
            "loss": str(rng.choice(["gamma", "sigma", "log_sigma"])),
        }
        for _ in range(count)
    ]


def value(point: dict[str, str]) -> float:
    """A planted objective: the learning rate matters most, the loss a little, latent_dim not at all."""
    rate = math.log10(float(point["optimizer.learning_rate"]))
    return -240.0 - 20.0 * (rate + 3) ** 2 - 4.0 * (point["loss"] == "sigma")


def write_trials(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    objective: str | list[str] = "valid/elbo",
    direction: str | list[str] = "maximize",
    space: dict[str, str] | None = None,
) -> Path:
    """trials.csv of these rows, and the section `search` in sweep.json."""
    folder.mkdir(parents=True, exist_ok=True)
    head = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / "trials.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, head)
        table.writeheader()
        table.writerows(rows)
    path = folder / "sweep.json"
    content = json.loads(path.read_text()) if path.exists() else {"format": 1, "threads": 2, "jobs": []}
    search = {"trials": len(rows), "objective": objective, "direction": direction, "space": space or SPACE}
    path.write_text(json.dumps(content | {"search": search}))
    return folder


def a_search(folder: Path, count: int = 40) -> Path:
    """One objective; of ten trials one is stopped, one failed, the last still running."""
    rows = []
    for number, point in enumerate(points(count)):
        state = {3: "stopped", 7: "failed"}.get(number % 10, "complete" if number < count - 1 else "running")
        told = value(point) if state == "complete" else value(point) - 15 if state == "stopped" else ""
        spread = 0.5 if state == "complete" else ""
        rows.append({"trial": number, "state": state, **point, "value": told, "spread": spread, "jobs": str(number)})
        rows[-1]["reason"] = "diverged" if state == "failed" else ""
    return write_trials(folder, rows)


def two_objectives(folder: Path, count: int = 40) -> Path:
    """ELBO up, active latents down."""
    rows = [
        {
            "trial": number, "state": "complete", **point,
            "valid/elbo": value(point) + int(point["model.latent_dim"]) / 2,
            "active_latents": int(point["model.latent_dim"]) // 2, "jobs": str(number),
        }
        for number, point in enumerate(points(count))
    ]  # fmt: skip
    return write_trials(folder, rows, ["valid/elbo", "active_latents"], ["maximize", "minimize"])


def write_stops(folder: Path, jobs: int = 27, rungs: Sequence[int] = (1, 3, 9), seed: int = 0) -> Path:
    """stops.jsonl of ASHA with factor 3, jobs one after the other."""
    rng = np.random.default_rng(seed)
    came: dict[int, list[float]] = {epoch: [] for epoch in rungs}
    lines = []
    for job in range(jobs):
        quality = float(rng.normal(scale=8.0))
        for rung, epoch in enumerate(rungs):
            elbo = -300.0 + 25.0 * rung + quality + float(rng.normal())
            came[epoch].append(elbo)
            ranked = sorted(came[epoch], reverse=True)
            threshold = ranked[len(ranked) // 3 - 1] if len(ranked) >= 3 else None
            stopped = threshold is not None and elbo < threshold
            lines.append({
                "job": job, "epoch": epoch, "rung": rung, "bracket": None, "rule": "asha", "metric": "valid/elbo",
                "value": elbo, "threshold": threshold, "of": len(ranked), "stopped": stopped,
            })  # fmt: skip
            if stopped:
                break
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stops.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
