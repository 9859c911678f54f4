"""Run directories with known content, as training would have left them, made in a moment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.support.configurations import make
from vaex import config
from vaex.disk import metrics
from vaex.figures import style, tiles

STEPS = 10
"""Optimizer steps of an epoch."""

MANIFEST = {
    "format": 1,
    "dataset_sha256": "ab" * 32,
    "environment": {"versions": {"jax": "0.10.2", "numpy": "2.4.6"}, "threads": 2, "devices": ["cpu"]},
    "code": {"commit": "c0ffee", "diff_sha256": None},
    "segments": [{"started": "2026-11-25T00:00:00+00:00", "command": "vaex -m loss=sigma,gamma", "host": "vm"}],
}


def write_run(
    directory: Path,
    elbo: Sequence[float | None],
    *overrides: str,
    status: str = "finished",
    values: Mapping[str, Any] | None = None,
    spikes: int = 0,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """A run with this valid/elbo an epoch. `values` replace configuration values by full key, whatever they are."""
    directory.mkdir(parents=True)
    pairs = dict(item.split("=") for item in overrides)
    chosen = [f"{key}={value}" for key, value in pairs.items() if key in config.GROUPS]  # composing takes its time
    single = {key: json.loads(value) for key, value in pairs.items() if key not in config.GROUPS}
    plain = config.dump(make("dataset=digits", *chosen))
    for key, value in (single | dict(values or {})).items():
        *path, last = key.split(".")
        section = plain
        for name in path:
            section = section[name]
        section[last] = value
    (directory / "config.yaml").write_text(yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False))
    latents = plain["model"]["latent_dim"]
    rows = [row(number, value, latents) for number, value in enumerate(elbo, start=1)]
    (directory / "metrics.jsonl").write_text("".join(map(metrics.as_line, rows)))
    (directory / "steps.npz").write_bytes(metrics.steps_bytes([steady(len(rows) * STEPS)]))
    (directory / "manifest.json").write_text(json.dumps(MANIFEST | {"run_id": directory.name}))
    ended: dict[str, Any] = {"status": status, "first_nonfinite_step": None, "culprit": None}
    if status == "diverged":
        ended |= {"first_nonfinite_step": len(rows) * STEPS, "culprit": "kl"}
    last = rows[-1] if rows else {}
    whole = ended | last | {"test/elbo": last.get("valid/elbo"), "loss_spikes": spikes, "wall_seconds": 1.0}
    (directory / "summary.json").write_text(json.dumps(metrics.finite_or_null(whole | dict(summary or {}))))
    return directory


def evaluate(directory: Path, metric: str, values: Mapping[str, tuple[float, float | None]], **told: Any) -> None:
    """Add what `vaex evaluate` would have written of a metric: values with standard errors, how they were measured."""
    path = directory / "evaluation.json"
    before = json.loads(path.read_text())["metrics"] if path.exists() else {}
    found = {name: {"value": value, "standard_error": error} for name, (value, error) in values.items()}
    measured = {"split": "test", "limit": None, "samples": 100, "seed": 0, "options": {}, "examples": 10_000} | told
    entry = {"values": found, "missing": {}, "lists": {}, "seconds": 1.0, **measured}
    content = {"format": 1, "parameters_sha256": "ef" * 32, "metrics": {**before, metric: entry}}
    path.write_text(json.dumps(content))
    summary = json.loads((directory / "summary.json").read_text())
    (directory / "summary.json").write_text(json.dumps(summary | {"parameters_sha256": "ef" * 32}))


def row(epoch: int, elbo: float | None, latents: int = 10) -> dict[str, Any]:
    """An epoch's line of metrics.jsonl; the loss is what the ELBO says, two seconds an epoch."""
    reconstruction, kl = (None, None) if elbo is None else (-elbo - 5.0, 5.0)
    terms = {"loss": None if elbo is None else -elbo, "reconstruction": reconstruction, "kl": kl, "elbo": elbo}
    return {
        "epoch": epoch,
        "step": epoch * STEPS,
        "seconds": 2.0,
        **{f"{split}/{name}": value for split in ("train", "valid") for name, value in terms.items()},
        "valid/kl_per_latent": [0.5] * latents,
        "active_latents": latents,
        "sigma_min": 0.1,
        "sigma_max": 2.0,
    }


def steady(count: int) -> dict[str, np.ndarray]:
    """The steps of a run that goes evenly."""
    return {name: np.linspace(2.0, 1.0, count, dtype=np.float32) for name in metrics.STEP_COLUMNS}


def lively_run(
    directory: Path,
    loss: str = "gamma",
    seed: int = 0,
    rate: float = 1e-3,
    latent_dim: int = 5,
    epochs: int = 4,
    diverged: bool = False,
    pictures: bool = False,
) -> Path:
    """A run whose numbers look like a VAE's; a diverged one stops in the middle of its last epoch."""
    rng = np.random.default_rng([seed, latent_dim, epochs, sum(map(ord, loss))])
    elbo = [-30.0 / epoch - 25 + min(latent_dim, 10) / 5 - float(rng.normal()) / 5 for epoch in range(1, epochs + 1)]
    count = epochs * STEPS - (STEPS // 2 if diverged else 0)
    keys = {"seed": seed, "optimizer.learning_rate": rate, "model.latent_dim": latent_dim, "training.epochs": epochs}
    write_run(
        directory,
        [*elbo[:-1], None] if diverged else elbo,
        f"loss={loss}",
        values=keys,
        status="diverged" if diverged else "finished",
        summary={"first_nonfinite_step": count} if diverged else None,
    )
    columns = {name: rng.lognormal(3, 0.5, count).astype(np.float32) for name in metrics.STEP_COLUMNS}
    columns["sigma_min"] = columns["sigma_min"] / 1000
    if diverged:
        columns["loss"][-1] = columns["kl"][-1] = np.nan
        columns["grad_norm"][-1] = np.inf
    (directory / "steps.npz").write_bytes(metrics.steps_bytes([columns]))
    if pictures:
        (directory / "figures").mkdir()
        shades = rng.random((12, 8, 8, 1)).astype(np.float32)
        for name in ("samples", "reconstructions"):
            picture = tiles.grid([[shades]], name, tiles.look(shades))
            (directory / "figures" / f"{name}.png").write_bytes(style.png(picture))
    return directory


def two_variants(
    folder: Path, effect: float, seeds: int = 8, rates: Sequence[str] = ("1e-3",), noise: float = 1.0
) -> Path:
    """A sweep over `loss=sigma,gamma` and seeds in which sigma's ELBO is `effect` nats lower throughout.

    Runs of one seed share its luck (± 20 nats), so that only a paired comparison sees a small effect.
    """
    rng = np.random.default_rng(5)
    luck = rng.normal(scale=20.0, size=seeds)
    number = 0
    for loss in ("sigma", "gamma"):
        for rate in rates:
            for seed in range(seeds):
                curve = np.array([-120.0, -80.0, -60.0, -50.0, -45.0]) + luck[seed] + rng.normal(scale=noise)
                curve = [float(value) for value in curve - effect * (loss == "sigma")]
                overrides = (f"loss={loss}", f"seed={seed}", f"optimizer.learning_rate={rate}")
                write_run(folder / str(number), curve, *overrides)
                number += 1
    return folder


def picture(path: Path, side: int = 8) -> None:
    """A small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side)).save(path)
