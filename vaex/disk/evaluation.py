"""evaluation.json: what each metric said of a run's model, by the digest of the model; the summary has its numbers too.

A metric that is measured again replaces what it said before, and the others stay; of another model nothing stays.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaex import files
from vaex.disk import metrics
from vaex.errors import InputError
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.subject import Found

log = logging.getLogger("vaex")

NAME = "evaluation.json"
FORMAT = 1
PREFIX = "eval/"
"""Of the keys in summary.json, and so of sweep.csv's columns."""


def record(found: Found, told: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a metric: its values with standard errors, why some are missing, its lists, and what it was told."""
    values = {name: value._asdict() for name, value in found.items() if isinstance(value, Estimate)}
    return {
        "values": {name: {"value": each["value"], "standard_error": each["error"]} for name, each in values.items()},
        "missing": {name: value.reason for name, value in found.items() if isinstance(value, Missing)},
        "lists": {name: value for name, value in found.items() if isinstance(value, list)},
        **told,
    }


def read(directory: Path) -> dict[str, Any]:
    """The content of a run's evaluation.json; empty without one, a damaged one is warned of and counts as none."""
    path = directory / NAME
    if not path.exists():
        return {}
    try:
        content = files.read_json(path)
    except InputError as error:
        log.warning("%s; it is written anew", error)
        return {}
    entries = content.get("metrics")
    if content.get("format") != FORMAT or not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        log.warning("%s: not an evaluation of vaex; it is written anew", path)
        return {}
    return content


def write(directory: Path, digest: str, metric: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a metric said of the model of this digest into both files; returns what the summary has of all."""
    before = read(directory)
    kept = before["metrics"] if before.get("parameters_sha256") == digest else {}
    content = {"format": FORMAT, "parameters_sha256": digest, "metrics": {**kept, metric: entry}}
    files.write_json(directory / NAME, metrics.finite_or_null(content))
    columns = _columns(content["metrics"])
    path = directory / "summary.json"
    summary = {key: value for key, value in files.read_json(path).items() if not key.startswith(PREFIX)}
    files.write_json(path, metrics.finite_or_null(summary | columns))
    return columns


def drop_stale(directory: Path, digest: str) -> None:
    """Remove what was said of a model that the run no longer has."""
    if (directory / NAME).exists() and read(directory).get("parameters_sha256") != digest:
        (directory / NAME).unlink(missing_ok=True)


def _columns(entries: Mapping[str, Any]) -> dict[str, Any]:
    """`eval/NAME` and `eval/NAME_se` of every value."""
    columns = {}
    for entry in entries.values():
        for name, each in entry["values"].items():
            columns[f"{PREFIX}{name}"] = each["value"]
            if each["standard_error"] is not None:
                columns[f"{PREFIX}{name}_se"] = each["standard_error"]
    return columns


def _is_entry(entry: Any) -> bool:
    values = entry.get("values") if isinstance(entry, dict) else None
    return isinstance(values, dict) and all(
        isinstance(each, dict) and each.keys() == {"value", "standard_error"} for each in values.values()
    )
