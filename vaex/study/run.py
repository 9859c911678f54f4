"""One run of a comparison, read from its directory as far as it can be, damage named. Nothing is executed."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files
from vaex.config import deciding
from vaex.config.later import with_keys
from vaex.disk import evaluation, metrics
from vaex.errors import InputError, printable
from vaex.study import stability

DIAGNOSIS = "diagnose.json"

OTHER_LENGTH = "other length"
"""Of a run that ended at another epoch than the rest of its sweep (lengths.py): it is in no mean."""

STATUSES = ("finished", "diverged", "stopped", OTHER_LENGTH, "interrupted", "failed")


@dataclass(frozen=True)
class StudyRun:
    """One run: `flat` has its configuration by full key (`model.latent_dim`), less the ignored sections.

    `evaluation` has what was measured of the model that it has now, by key (`eval/nll`).
    `diagnosis` is what `vaex diagnose` found of the divergence that it has now, in lines.
    `data` says what it trained on: the recorded digest; where none is recorded "", which `study.read` fills in.
    """

    directory: Path
    name: str
    variant: str
    config: dict[str, Any]
    flat: dict[str, Any]
    summary: dict[str, Any]
    manifest: dict[str, Any]
    rows: list[dict[str, Any]]
    steps: dict[str, np.ndarray] | None
    measures: dict[str, Any]
    evaluation: dict[str, evaluation.Value]
    diagnosis: tuple[str, ...]
    problems: tuple[str, ...]
    data: str

    @property
    def status(self) -> str:
        """One of `STATUSES`; a run that could not say how it ended was interrupted."""
        status = self.summary.get("status")
        return status if status in STATUSES else "interrupted"

    @property
    def stopped(self) -> bool:
        """Whether its sweep's rule stopped it early."""
        return self.status == "stopped"

    @property
    def diverged_at(self) -> Any:
        """The first step that was not finite; the last of a run that only left out too many (training.skip_above)."""
        return self.summary.get("step" if self.summary.get("culprit") == "skip_above" else "first_nonfinite_step")


def read_run(path: Path, name: str) -> StudyRun:
    """One directory; raises `InputError` only when its configuration cannot be read."""
    config = with_keys(_plain(files.read_yaml(path / "config.yaml")))
    problems: list[str] = []

    def attempt(function: Any, file: str, missing: Any) -> Any:
        try:
            return function(path / file)
        except InputError as error:
            problems.append(without(path, error))
            return missing

    summary = attempt(files.read_json, "summary.json", {})
    rows, cut = _read_rows(path / "metrics.jsonl")
    problems.extend(cut)
    steps = attempt(metrics.read_steps, "steps.npz", None)
    manifest = attempt(files.read_json, "manifest.json", {})
    judged = attempt(lambda file: evaluation.values(file.parent, summary), evaluation.NAME, {})
    problems.extend(_contradictions(summary, rows, cut))
    return StudyRun(
        directory=path,
        name=name,
        variant="",
        config=config,
        flat=dict(_flat(deciding(config))),
        summary=summary,
        manifest=manifest,
        rows=rows,
        steps=steps,
        measures=_measures(config, summary, rows, steps),
        evaluation=judged,
        diagnosis=_diagnosis(attempt(_if_there, DIAGNOSIS, {}), config, summary),
        problems=tuple(problems),
        data=next((text for text in map(_digest, (manifest, summary)) if text), ""),
    )


def _if_there(path: Path) -> dict[str, Any]:
    return files.read_json(path) if path.exists() else {}


def _diagnosis(found: Mapping[str, Any], config: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines, and the cure, of a diagnosis of how the run ended; one of an earlier ending is of no use."""
    lines, cheapest, step = found.get("lines"), found.get("cheapest"), found.get("step")
    training = config.get("training")
    skipping = training if isinstance(training, Mapping) and training.get("on_nonfinite") == "skip" else {}
    most = stability.number(skipping.get("max_skips"))
    skipped, last = most or 0, stability.number(summary.get("step"))
    if not isinstance(lines, list) or not isinstance(step, int) or last is None or not last - skipped <= step <= last:
        return ()
    command = cheapest.get("command") if isinstance(cheapest, Mapping) else None
    return tuple(map(str, [*lines, *([f"cheapest cure: {command}"] if command else [])]))


def _digest(recorded: Mapping[str, Any]) -> str:
    """The digest of the data in a manifest or summary, or nothing."""
    digest = recorded.get("dataset_sha256")
    return printable(digest) if isinstance(digest, str) else ""


def _read_rows(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows up to the first that is damaged, and what was wrong with that."""
    rows: list[dict[str, Any]] = []
    try:
        with files.open_regular(path) as file:
            whole = file.seek(0, os.SEEK_END) == 0 or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n"
        for row in metrics.each_row(path):
            rows.append(row)  # one by one: those before the damage are kept
    except OSError as error:
        return rows, [f"{path.name}: {files.first_line(error)}"]
    except InputError:
        return rows, [f"{path.name}: damaged, cut after epoch {len(rows)}"]
    return rows, [] if whole else [f"{path.name}: ends within a line, cut after epoch {len(rows)}"]


def _contradictions(summary: Mapping[str, Any], rows: Sequence[Any], cut: Sequence[str]) -> Iterator[str]:
    if summary and summary.get("status") not in STATUSES:
        yield "summary.json: does not say how the run ended: counts as interrupted"
    epochs = stability.number(summary.get("epoch")) or 0
    if not cut and epochs > len(rows):
        yield f"metrics.jsonl: {len(rows)} of {epochs:.0f} epochs"


def _measures(
    config: Mapping[str, Any], summary: Mapping[str, Any], rows: list[dict[str, Any]], steps: Any
) -> dict[str, Any]:
    """The stability of a run as numbers, computed here so that runs of every age have them."""
    spikes = summary.get("loss_spikes")
    if not isinstance(spikes, int) and steps is not None:
        training = config.get("training")
        nats = stability.number(training.get("spike_nats")) if isinstance(training, Mapping) else None
        spikes = None if nats is None else metrics.loss_spikes(steps["loss"], nats)
    return stability.measures(rows, steps) | {"loss_spikes": spikes}


def _plain(value: Any) -> Any:
    """The values as JSON has them: what only YAML knows (dates, sets, bytes) becomes text."""
    return json.loads(json.dumps(value, default=str, skipkeys=True))


def _flat(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without(path: Path, error: InputError) -> str:
    """The message, naming files from the run's directory on."""
    return str(error).replace(f"{printable(path)}/", "")
