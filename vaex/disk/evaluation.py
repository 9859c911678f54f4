"""evaluation.json: what each metric said of a run's model, by the digest of the model; the summary has its numbers too.

A metric that is measured again replaces what it said before, and the others stay; of another model nothing stays.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaex import files
from vaex.disk import metrics
from vaex.errors import InputError, printable
from vaex.judging.estimate import Estimate, Missing
from vaex.judging.subject import Found

log = logging.getLogger("vaex")

NAME = "evaluation.json"
FORMAT = 1
PREFIX = "eval/"
"""Of the keys in summary.json, and so of sweep.csv's columns."""

LARGEST = 1e300
"""A file may hold anything: what is larger is no number that a metric gave."""

MEANT = ("split", "limit", "samples", "options")
"""What a value was measured with that decides what it is a value of; `seed` only decides its luck."""


class Value(NamedTuple):
    """A number of a metric, its standard error over examples (or None), and what it was measured with, as text."""

    value: float
    error: float | None
    metric: str
    measured: str


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
    """The content of a run's evaluation.json, empty without one; raises `InputError` for a damaged one."""
    path = directory / NAME
    if not path.exists():
        return {}
    content = files.read_json(path)
    entries = content.get("metrics")
    if content.get("format") != FORMAT or not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise InputError(f"{path}: not an evaluation of vaex")
    return content


def values(directory: Path, summary: Mapping[str, Any]) -> dict[str, Value]:
    """The numbers measured of the model that a summary is of, by their keys there; `InputError` as `read` has it."""
    content = read(directory) if summary else {}
    if content and content.get("parameters_sha256") != summary.get("parameters_sha256"):
        raise InputError(f"{directory / NAME}: is of another model than the run has now")
    return {
        f"{PREFIX}{name}": Value(each["value"], each["standard_error"], metric, _measured(entry))
        for metric, entry in content.get("metrics", {}).items()
        for name, each in entry["values"].items()
        if each["value"] is not None
    }


def write(directory: Path, digest: str, metric: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a metric said of the model of this digest into both files; returns what the summary has of all."""
    before = _read_or_none(directory)
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
    if (directory / NAME).exists() and _read_or_none(directory).get("parameters_sha256") != digest:
        (directory / NAME).unlink(missing_ok=True)


def _read_or_none(directory: Path) -> dict[str, Any]:
    """The content before it is written: what is damaged is warned of and counts as none."""
    try:
        return read(directory)
    except InputError as error:
        log.warning("%s; it is written anew", error)
        return {}


def _measured(entry: Mapping[str, Any]) -> str:
    """`split=test, samples=100, threshold=0.01`: what is not set is not said."""
    told = {key: entry.get(key) for key in MEANT}
    options = told.pop("options")
    told |= options if isinstance(options, dict) else {}
    return printable(", ".join(f"{key}={_text(value)}" for key, value in told.items() if value is not None))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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
    return isinstance(values, dict) and all(map(_is_value, values.values()))


def _is_value(each: Any) -> bool:
    """A number and its error, each of which may be null."""
    return (
        isinstance(each, dict)
        and each.keys() == {"value", "standard_error"}
        and all(value is None or (type(value) in (int, float) and abs(value) < LARGEST) for value in each.values())
    )
