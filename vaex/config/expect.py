"""The key `expect`: what an experiment says of its outcome, as rows that a command can check.

A mapping is what each run has in its summary.json: a value, or a range [low, high]. A list has several such rows;
`where` names the jobs of a sweep that a row is about, a status counts them, and `verdict` names an answer of
`vaex compare`. Whether it holds is told by `checks/expectations.py`.
"""

import dataclasses
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from vaex.config.validation import STRICT, nearest, validate
from vaex.errors import ConfigError

KEY = "expect"

Wanted = str | int | float | tuple[int | float, int | float]
"""A text, a number exactly, or the lowest and the highest number; of jobs, whole numbers."""

Scalar = str | int | float | bool | None
"""A value of a configuration."""

COUNTED = ("finished", "diverged", "stopped", "interrupted", "failed")
"""Statuses: as keys of a row they are numbers of jobs."""

_TERMS = ("loss", "reconstruction", "kl", "elbo", "elbo_per_pixel")
_STABILITY = (
    "grad_norm_p50", "grad_norm_p99", "grad_norm_max", "grad_norm_max_over_p50", "sigma_min", "sigma_max",
    "valid_change_mean", "valid_jumps",
)  # fmt: skip

OF_RUN = (
    "status", "epoch", "step", *(f"{split}/{term}" for split in ("train", "valid", "test") for term in _TERMS),
    "grad_norm_mean", "grad_norm_max", "update_norm_mean", "sigma_min", "sigma_max", "sigma_mean", "learning_rate",
    "kl_weight", "clamped_fraction", "skipped_steps", "active_latents", "best/epoch", "best/valid/elbo",
    "first_nonfinite_step", "culprit", "loss_spikes", *(f"stability/{name}" for name in _STABILITY),
)  # fmt: skip
"""Values of a summary.json that are of the run, not of the machine; what `vaex evaluate` measures comes to them."""

EVALUATED = "eval/"

OF_VERDICT = (
    "answer", "estimate", "low", "high", "p", "p_holm", "seeds", "pairs", "mean_variant", "mean_against",
    "diverged_variant", "diverged_against", "only_variant", "only_against",
)  # fmt: skip
"""What compare.json says of two variants in one question."""

NOT_FINITE = (".nan", "nan", ".inf", "inf")
"""What one types for a number that is none; a command line has it as text."""

NO_OVERRIDE = (
    *("tracking", "figures", "checkpoint", "sweep", "pack", "compile", "plugins", "experiment", "hydra", KEY),
    "dataset.placement",
)
"""Keys and sections that may be overridden without making another experiment of it."""


@dataclass(frozen=True, config=STRICT)
class Verdict:
    """A question of `vaex compare` by its key, and the variant that is set against another in it."""

    verdict: str
    variant: str
    by: str | None
    against: str | None


@dataclasses.dataclass(frozen=True)
class Row:
    """What is wanted, by key: of the runs that are `where`, or of a verdict."""

    where: tuple[tuple[str, Scalar], ...]
    verdict: Verdict | None
    wanted: tuple[tuple[str, Wanted], ...]


type_of_text = Annotated[str, StringConstraints(min_length=1)]
type_of_status = Literal["finished", "diverged", "stopped", "interrupted", "failed"]
type_of_answer = Literal["more", "fewer", "no difference shown", "not enough runs to tell", "not comparable"]
type_of_count = Annotated[int, Field(ge=0)]
type_of_number = Annotated[float, Field(allow_inf_nan=False)]

OF_VERDICTS = tuple(field.name for field in dataclasses.fields(Verdict))


def parse(plain: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of a run's plain values; raises `ConfigError` naming the first mistake."""
    value = plain.get(KEY)
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return (_row(KEY, value),)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{KEY}: expected keys with what they should be, or a list of such rows, got {value!r}")
    return tuple(_row(f"{KEY}[{number}]", row) for number, row in enumerate(value))


def dump(rows: Iterable[Row]) -> list[dict[str, Any]] | None:
    """The plain values of rows; null where nothing is expected, as in conf/."""
    return [_plain(row) for row in rows] or None


def flat(plain: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by full key; the option of a group by the group's name too (`loss`)."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.") | ({key: value["name"]} if "name" in value and not prefix else {})
        else:
            found[f"{prefix}{key}"] = value
    return found


def refuse_unknown_keys(rows: Iterable[Row], known: Collection[str]) -> None:
    """Raise `ConfigError` for a key in a `where` that is not among the known ones, which are those of all jobs."""
    for row in rows:
        for key, _ in row.where:
            if key not in known:
                raise ConfigError(f"{KEY}: where: no job has the key {key!r}{nearest(key, known)}")


def _row(path: str, row: Any) -> Row:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{path}: expected a section of keys, got {row!r}")
    verdict = _verdict(path, row) if "verdict" in row else None
    own = {key: value for key, value in row.items() if not (key in OF_VERDICTS if verdict else key == "where")}
    _refuse_unknown(path, own, verdict)
    if not row:
        raise ConfigError(f"{path}: is empty; expected keys with what they should be, as {{status: finished}}, or null")
    if not own:
        raise ConfigError(f"{path}: says of what, and not what is expected of it")
    where = () if verdict else _where(f"{path}.where", row.get("where", {}))
    return Row(where, verdict, tuple((key, _wanted(f"{path}.{key}", key, value)) for key, value in own.items()))


def _refuse_unknown(path: str, own: Iterable[str], verdict: Verdict | None) -> None:
    known = (*OF_VERDICT, *OF_VERDICTS) if verdict else (*OF_RUN, *COUNTED, "where", "verdict")
    all_of_them = ", ".join(known) if verdict else f"the numbers of summary.json, {', '.join(COUNTED)}, where, verdict"
    for key in map(str, own):
        if key not in known and (verdict or not key.startswith(EVALUATED)):
            raise ConfigError(f"{path}.{key}: unknown key{nearest(key, known)} (keys: {all_of_them})")


def _verdict(path: str, row: Mapping[str, Any]) -> Verdict:
    chosen = {"by": None, "against": None} | {key: row[key] for key in OF_VERDICTS if key in row}
    for key in ("variant", "against"):
        if isinstance(chosen.get(key), int | float):  # a size, a rate, a yes: compare.json has it as text
            chosen[key] = json.dumps(chosen[key])
    return validate(path, Verdict, {path: chosen})


def _where(path: str, where: Any) -> tuple[tuple[str, Scalar], ...]:
    if not isinstance(where, Mapping):
        raise ConfigError(f"{path}: expected keys with their values, as {{loss: sigma}}, got {where!r}")
    for key, value in where.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(key, str) and isinstance(value, Scalar) and finite):
            raise ConfigError(f"{path}.{key}: expected one value of a full key, as {{precision.network: float16}}")
    return tuple(where.items())


def _wanted(path: str, key: str, value: Any) -> Wanted:
    """One value or range: of a status, an answer, a count of jobs or any other number or text."""
    texts = {"status": type_of_status, "answer": type_of_answer, "culprit": type_of_text}
    if key in texts:
        return validate(path, texts[key], {path: value})
    one = type_of_count if key in COUNTED else type_of_number
    if isinstance(value, str) and value.lstrip("+-").lower() in NOT_FINITE:
        raise ConfigError(
            f"{path}: expected a finite number, got the text {value!r}; what diverged has status: diverged"
        )
    if not isinstance(value, Sequence) or isinstance(value, str):
        return validate(path, one, {path: value})
    low, high = validate(path, tuple[one, one], {path: value}) if len(value) == 2 else (1.0, 0.0)
    if len(value) != 2:
        raise ConfigError(f"{path}: expected [low, high], got {list(value)}")
    if low > high:
        raise ConfigError(f"{path}: expected [low, high], got {list(value)}: low is above high")
    return low, high


def _plain(row: Row) -> dict[str, Any]:
    where = {"where": dict(row.where)} if row.where else {}
    named = dataclasses.asdict(row.verdict) if row.verdict else {}
    wanted = {key: list(value) if isinstance(value, tuple) else value for key, value in row.wanted}
    return where | {key: value for key, value in named.items() if value is not None} | wanted
