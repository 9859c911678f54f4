"""Run directories as training leaves them, made in a moment: numbers that look like a VAE's, planted divergences."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from vaex import figures, metrics

STEPS = 20
"""Optimizer steps of an epoch."""


def make(
    directory: Path,
    loss: str = "gamma",
    seed: int = 0,
    rate: float = 1e-3,
    latent_dim: int = 5,
    epochs: int = 4,
    diverged: bool = False,
    pictures: bool = False,
) -> Path:
    """One run; a diverged one stops in the middle of its last epoch."""
    rng = np.random.default_rng([seed, latent_dim, epochs, sum(map(ord, loss))])
    directory.mkdir(parents=True)
    config = {
        "seed": seed,
        "dataset": {"name": "digits"},
        "model": {"name": "mlp", "latent_dim": latent_dim},
        "loss": {"name": loss},
        "optimizer": {"name": "rmsprop", "learning_rate": rate},
        "training": {"epochs": epochs, "spike_nats": 50.0},
        "precision": {"network": "float32", "posterior": "float32"},
    }
    rows = [
        _row(epoch, 30.0 / epoch + 25 - min(latent_dim, 10) / 5 + rng.normal() / 5, 3 + rng.random(), latent_dim)
        for epoch in range(1, epochs + 1)
    ]
    summary: dict[str, Any] = {"status": "finished", **rows[-1], "test/elbo": rows[-1]["valid/elbo"] - 0.1}
    count = epochs * STEPS
    if diverged:
        count -= STEPS // 2
        rows[-1] |= {key: None for key in rows[-1] if "/" in key}
        summary = {"status": "diverged", **rows[-1], "first_nonfinite_step": count, "culprit": "kl"}
    (directory / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper))
    (directory / "manifest.json").write_text(json.dumps(MANIFEST))
    (directory / "summary.json").write_text(json.dumps(summary))
    (directory / "metrics.jsonl").write_text("".join(map(metrics.as_line, rows)))
    (directory / "steps.npz").write_bytes(_steps(count, rng, diverged))
    if pictures:
        (directory / "figures").mkdir()
        shades = rng.random((12, 8, 8, 1)).astype(np.float32)
        for name in ("samples", "reconstructions"):
            figures.grid([[shades]], name).save(directory / "figures" / f"{name}.png")
    return directory


MANIFEST = {
    "format": 1,
    "dataset_sha256": "ab" * 32,
    "environment": {"versions": {"jax": "0.10.2", "numpy": "2.4.6"}, "threads": 2, "devices": ["cpu"]},
    "code": {"commit": "c0ffee", "diff_sha256": None},
    "segments": [{"started": "2026-11-25T00:00:00+00:00", "command": "vaex -m loss=sigma,gamma", "host": "vm"}],
}


def _row(epoch: int, loss: float, kl: float, latent_dim: int) -> dict[str, Any]:
    terms = metrics.terms("valid", loss, loss - kl, kl, 64) | metrics.terms("train", loss, loss - kl, kl, 64)
    return {"epoch": epoch, "step": epoch * STEPS, "seconds": 0.1, **terms, "active_latents": min(latent_dim, 8)}


def _steps(count: int, rng: np.random.Generator, diverged: bool) -> bytes:
    columns = {name: rng.lognormal(3, 0.5, count).astype(np.float32) for name in metrics.STEP_COLUMNS}
    columns["sigma_min"] = columns["sigma_min"] / 1000
    if diverged:
        columns["loss"][-1] = columns["kl"][-1] = np.nan
        columns["grad_norm"][-1] = np.inf
    return metrics.steps_bytes([{**columns, "taken": np.ones(count)}])


def picture(path: Path, side: int = 8) -> None:
    """A small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side)).save(path)
