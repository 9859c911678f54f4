"""`vaex reproduce RUN`: run it again from what is on disk, and say whether it came out the same.

*identical*: every metric of every epoch, every step and every parameter, bit for bit.
*equal within tolerance*: the first five losses within 1e-5 relative, and the final ELBOs within 0.5 %. Training is
chaotic (a difference of 1e-7 grows to 1e-2 nats within 80 steps), so more cannot be asked of another machine; the band
is about what two seeds of the book's run differ by.
*different*: anything else, with the first step, epoch and metric that differ.

Nothing is executed from the directory: configuration is data, arrays are safetensors or npz without pickle, plugins
must be named again.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vaex import compose, files, metrics, provenance
from vaex import config as configuration
from vaex.config import Config
from vaex.errors import InputError
from vaex.resume import parse_saved

log = logging.getLogger("vaex")

NO_VARIATION = ("plugins", "tracking", "checkpoint", "hydra.run.dir")
FIRST_STEPS, FIRST_RELATIVE, BAND = 5, 1e-5, 0.005


@dataclass(frozen=True)
class Recorded:
    """What a run left of its results; None for what is not there."""

    directory: Path
    manifest: dict[str, Any]
    summary: dict[str, Any] | None
    rows: list[metrics.Row]
    steps: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Verdict:
    """`identical`, `equal within tolerance` or `different`, and why."""

    name: str
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 same, 1 different."""
        return 1 if self.name == "different" else 0


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    if not arguments or "=" in arguments[0]:
        raise InputError("vaex reproduce: expected a run directory or a config.yaml")
    path, overrides = Path(arguments[0]), list(arguments[1:])
    file = path / "config.yaml" if path.is_dir() else path
    saved = files.read_yaml(file)
    values, keys = compose.override(saved, overrides)
    mode = [item for item in overrides if item.startswith("tracking.mode")]
    if isinstance(values.get("tracking"), dict) and not mode:
        values["tracking"]["mode"] = None  # a run that somebody sent does not decide that something goes online
    original = parse_saved(file.parent, saved | {"plugins": values.get("plugins")}, keys)
    config = parse_saved(file.parent, values, keys)
    varied = [key for key in keys if not any(key == same or key.startswith(f"{same}.") for same in NO_VARIATION)]
    recorded = read_recorded(file.parent)
    if not varied:
        altered = find_altered(recorded, original)
        if altered:
            return _tell(Verdict("different", altered), None)
    return _again(config, recorded, varied, overrides)


def read_recorded(directory: Path) -> Recorded:
    """The results in a run directory, as far as they are there; what is there and unreadable raises `InputError`."""

    def read(name: str, reader: Any, absent: Any) -> Any:
        return reader(directory / name) if (directory / name).exists() else absent

    return Recorded(
        directory=directory,
        manifest=read("manifest.json", files.read_json, {}),
        summary=read("summary.json", files.read_json, None),
        rows=read("metrics.jsonl", metrics.read_rows, []),
        steps=read("steps.npz", metrics.read_steps, None),
    )


def find_altered(recorded: Recorded, config: Config) -> tuple[str, ...]:
    """What does not have the digest that the summary recorded for it, told without running anything."""
    summary = recorded.summary
    if not summary or "identity" not in summary:
        return ()
    found = []
    if configuration.identity(config) != summary["identity"]:
        found.append("config.yaml was altered after the run")
    if recorded.manifest and recorded.manifest.get("dataset_sha256") != summary.get("dataset_sha256"):
        found.append("the dataset's digest in manifest.json is not the one in summary.json")
    epoch = first_altered_epoch(recorded.rows, summary.get("epoch_sha256", []))
    if recorded.rows and epoch:
        found.append(f"metrics.jsonl was altered, first at epoch {epoch}")
    if recorded.steps is not None and steps_digest(recorded.steps) != summary.get("steps_sha256"):
        found.append("steps.npz was altered")
    model = recorded.directory / "model.safetensors"
    if model.exists() and files.sha256(model.read_bytes()) != summary.get("parameters_sha256"):
        found.append("model.safetensors was altered")
    return tuple(found)


def first_altered_epoch(rows: Sequence[metrics.Row], digests: Sequence[str]) -> int | None:
    """The first epoch whose row does not have its recorded digest, or that one of the two lacks."""
    for index in range(max(len(rows), len(digests))):
        if index >= len(rows) or index >= len(digests) or metrics.digest(rows[index]) != digests[index]:
            return index + 1
    return None


def steps_digest(steps: dict[str, np.ndarray]) -> str:
    """The digest that summary.json holds of steps.npz."""
    everything = {"taken": np.ones(len(steps["loss"]), bool)}
    return files.sha256(metrics.steps_bytes([steps | everything]))


def compare(then: Recorded, now: Recorded, differences: Sequence[str]) -> Verdict:
    """The verdict on two recorded runs of one configuration."""
    assert then.summary is not None
    assert now.summary is not None
    assert now.steps is not None
    count = min(len(then.rows), len(now.rows)) if then.summary["status"] == "interrupted" else None
    rows = now.rows[:count]
    epoch = first_altered_epoch(rows, [metrics.digest(row) for row in then.rows])
    if epoch is None and (count is not None or _same_parts(then.summary, now.summary)):
        return Verdict(
            "identical", (f"first {count} epochs; the original was interrupted",) if count is not None else ()
        )
    reasons = [_first_difference(then, now, epoch)]
    if then.steps is not None and _within_tolerance(then, now):
        return Verdict("equal within tolerance", tuple(reasons))
    cause = "; ".join(differences) or "none of the recorded ones: the code, or a setting outside the manifest"
    return Verdict("different", (*reasons, f"differences of the environment: {cause}"))


def _again(config: Config, recorded: Recorded, varied: list[str], overrides: list[str]) -> int:
    provenance.set_thread_count(recorded.manifest.get("environment", {}).get("threads"))
    from vaex import run  # late: with it comes jax, after the thread count is set
    from vaex.recorder import refuse_existing
    from vaex.train import EXIT_CODES, reserve

    run.check(config)
    expected = recorded.manifest.get("dataset_sha256")
    if not varied and expected and run.load(config.dataset).digest != expected:
        return _tell(Verdict("different", ("the dataset here is not the one of the run (SHA-256 differs)",)), None)
    differences = provenance.differences(recorded.manifest.get("environment", {}), provenance.environment())
    if recorded.manifest:
        for line in differences:
            print(f"environment: {line}")
    chosen = next((item.partition("=")[2] for item in overrides if item.startswith("hydra.run.dir=")), None)
    default = datetime.now().strftime("outputs/%Y-%m-%d/%H-%M-%S")
    directory = Path(chosen) if chosen else reserve(Path(default))
    refuse_existing(directory)
    outcome = run.run([run.Job(config, directory, f"reproduce {recorded.directory}")])
    status = outcome.statuses[0]
    if outcome.signal or status == "failed":
        return 128 + outcome.signal if outcome.signal else EXIT_CODES[status]
    new = read_recorded(directory)
    if varied:
        return _show_variation(recorded, new, varied, overrides, EXIT_CODES[status])
    if not recorded.summary or "identity" not in recorded.summary:
        print("nothing was recorded to compare with: this is a first run of the configuration")
        return EXIT_CODES[status] if status != "finished" else 0
    return _tell(compare(recorded, new, differences), directory)


def _tell(verdict: Verdict, directory: Path | None) -> int:
    print(f"reproduce: {verdict.name}")
    for reason in verdict.reasons:
        print(f"  {reason}")
    if directory is not None:
        content = {"verdict": verdict.name, "reasons": list(verdict.reasons)}
        files.write_json(directory / "reproduce.json", content)
    return verdict.exit_code


def _show_variation(then: Recorded, now: Recorded, varied: list[str], overrides: list[str], code: int) -> int:
    print(f"a variation ({', '.join(item for item in overrides if item.partition('=')[0] in varied)}), no verdict:")
    for key in ("status", "epoch", "train/elbo", "valid/elbo", "test/elbo"):
        before, after = ((side.summary or {}).get(key, "–") for side in (then, now))
        print(f"  {key:<12} {before!s:>24} -> {after!s}")
    files.write_json(now.directory / "reproduce.json", {"verdict": None, "variation": list(overrides)})
    return code


def _same_parts(then: dict[str, Any], now: dict[str, Any]) -> bool:
    keys = ("status", "first_nonfinite_step", "culprit", "steps_sha256", "parameters_sha256", "test/elbo")
    return all(then.get(key) == now.get(key) for key in keys)


def _within_tolerance(then: Recorded, now: Recorded) -> bool:
    assert then.summary is not None
    assert now.summary is not None
    assert then.steps is not None
    assert now.steps is not None
    if any(then.summary.get(key) != now.summary.get(key) for key in ("status", "first_nonfinite_step", "culprit")):
        return False
    first = [side.steps["loss"][:FIRST_STEPS] for side in (then, now) if side.steps is not None]
    if first[0].shape != first[1].shape or not np.allclose(*first, rtol=FIRST_RELATIVE, atol=0, equal_nan=True):
        return False
    keys = ("train/elbo", "valid/elbo", "test/elbo")
    return all(_close(then.summary.get(key), now.summary.get(key)) for key in keys)


def _close(then: float | None, now: float | None) -> bool:
    return then == now if then is None or now is None else math.isclose(then, now, rel_tol=BAND)


def _first_difference(then: Recorded, now: Recorded, epoch: int | None) -> str:
    """Where the two part: step and quantity from steps.npz, epoch and metric from metrics.jsonl."""
    parts = []
    if then.steps is not None and now.steps is not None:
        parts += _first_step(then.steps, now.steps)
    if epoch is not None and epoch <= min(len(then.rows), len(now.rows)):
        old, new = then.rows[epoch - 1], now.rows[epoch - 1]
        name = next(key for key in old if key not in metrics.LEFT_OUT and old[key] != new.get(key))
        parts.append(f"first at epoch {epoch}: {name} was {old[name]}, is {new.get(name)}")
    elif epoch is not None:
        parts.append(f"one of the two has no epoch {epoch}")
    return "; ".join(parts) or "the final parameters or the test values differ"


def _first_step(then: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> list[str]:
    firsts = []
    for name in metrics.STEP_COLUMNS:
        count = min(len(then[name]), len(now[name]))
        unequal = np.flatnonzero(then[name][:count].view(np.uint32) != now[name][:count].view(np.uint32))
        if len(unequal):
            firsts.append((int(unequal[0]), name))
    if not firsts:
        return []
    index, name = min(firsts)
    return [f"first at step {index + 1}: {name} was {then[name][index]}, is {now[name][index]}"]
