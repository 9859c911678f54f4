"""Run directories with known content, as training would have left them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.configurations import make
from vaex import config, metrics

STEPS_AN_EPOCH = 10


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
    (directory / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    rows = [row(number, value) for number, value in enumerate(elbo, start=1)]
    (directory / "metrics.jsonl").write_text("".join(map(metrics.as_line, rows)))
    (directory / "steps.npz").write_bytes(metrics.steps_bytes([steps(len(rows) * STEPS_AN_EPOCH)]))
    (directory / "manifest.json").write_text(json.dumps({"versions": {"vaex": "0"}, "run_id": directory.name}))
    ended = {"status": status, "first_nonfinite_step": None, "culprit": None}
    if status == "diverged":
        ended |= {"first_nonfinite_step": len(rows) * STEPS_AN_EPOCH, "culprit": "kl"}
    last = rows[-1] if rows else {}
    whole = ended | last | {"test/elbo": last.get("valid/elbo"), "loss_spikes": spikes, "wall_seconds": 1.0}
    (directory / "summary.json").write_text(json.dumps(metrics.finite_or_null(whole | dict(summary or {}))))
    return directory


def row(epoch: int, elbo: float | None) -> dict[str, Any]:
    """An epoch's line of metrics.jsonl; the loss is what the ELBO says, two seconds an epoch."""
    reconstruction, kl = (None, None) if elbo is None else (-elbo - 5.0, 5.0)
    terms = {"loss": None if elbo is None else -elbo, "reconstruction": reconstruction, "kl": kl, "elbo": elbo}
    return {
        "epoch": epoch,
        "step": epoch * STEPS_AN_EPOCH,
        "seconds": 2.0,
        **{f"{split}/{name}": value for split in ("train", "valid") for name, value in terms.items()},
        "valid/kl_per_latent": [0.5] * 10,
        "active_latents": 10,
        "sigma_min": 0.1,
        "sigma_max": 2.0,
    }


def steps(count: int) -> dict[str, np.ndarray]:
    """The steps of a steady run."""
    columns = {name: np.linspace(2.0, 1.0, count, dtype=np.float32) for name in metrics.STEP_COLUMNS}
    return columns | {"taken": np.ones(count, bool)}


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
