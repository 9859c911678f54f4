"""In what two runs differ, or two sweeps, or configurations that nobody has run yet: one line for each difference.

Runs of the two sides are a pair where they have the same values of what varies within a side.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaex import config as configuration
from vaex.config import NOT_IDENTITY, Config, expect
from vaex.disk import provenance, saved
from vaex.errors import printable
from vaex.study import contents, runs, verdict
from vaex.study.runs import text
from vaex.study.stability import number

RESULTS = (
    "status", "first_nonfinite_step", "culprit", "epoch", "step", "train/loss", "valid/loss", "valid/elbo",
    "valid/reconstruction", "valid/kl", "test/elbo", "active_latents", "loss_spikes", "parameters_sha256",
)  # fmt: skip
"""Of a summary; the digest differs where anything else does."""

ABSENT = object()
"""What a side has at a key that it lacks."""

MOST_VALUES = 4
"""Values of a key that one cell names."""

LONGEST = 44
"""Characters of a cell."""


@dataclass(frozen=True)
class Ran:
    """A run, or a configuration: by full key what decides its numbers and what does not, and what is known of it."""

    flat: Mapping[str, Any]
    others: Mapping[str, Any]
    data: str | None
    surroundings: Mapping[str, Any]
    summary: Mapping[str, Any]
    steps: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, its runs, and what of it cannot be read."""

    name: str
    runs: tuple[Ran, ...]
    problems: tuple[str, ...] = ()


class Difference(NamedTuple):
    """What differs, and what each side has; whether it decides numbers, or is one."""

    key: str
    first: str
    second: str
    decides: bool = True


def of_directory(directory: Path) -> Side:
    """A run or a sweep as it is on disk; raises `InputError` where there is none."""
    study = runs.read([directory])
    flats = contents.named_by_digest([(run.flat, run.manifest) for run in study.runs])
    found = []
    for run, flat in zip(study.runs, flats, strict=True):
        others = {key: value for key, value in saved.completed(run.config).items() if key in NOT_IDENTITY}
        known = {key: value for key, value in run.manifest.items() if isinstance(value, dict)}
        digest = run.manifest.get("dataset_sha256")
        data = digest if isinstance(digest, str) else None
        found.append(Ran(flat, dict(provenance.flatten(others)), data, known, run.summary, run.steps))
    return Side(printable(directory), tuple(found), study.problems)


def of_configurations(name: str, configs: Iterable[Config], surroundings: Mapping[str, Any]) -> Side:
    """What would be run here and now, in these surroundings if they are known."""
    found = []
    for config in configs:
        plain = configuration.dump(config)
        own = {key: value for key, value in plain.items() if key not in NOT_IDENTITY}
        others = {key: value for key, value in plain.items() if key in NOT_IDENTITY}
        flats = dict(provenance.flatten(own)), dict(provenance.flatten(others))
        found.append(Ran(*flats, None, surroundings, {}, None))
    return Side(printable(name), tuple(found))


def between(first: Side, second: Side) -> list[Difference]:
    """All that differs: configuration, data, surroundings, results, steps."""
    pairs = _pairs(first, second)
    return [
        *_configuration(first, second),
        *_data(first, second),
        *_surroundings(first, second),
        *_results(pairs),
        *_steps(pairs),
    ]


def _pairs(first: Side, second: Side) -> list[tuple[Ran, Ran]]:
    varied = [key for side in (first, second) for key in _varied(side)]

    def setting(run: Ran) -> tuple[str, ...]:
        return tuple(text(run.flat.get(key)) for key in varied)

    partners = {setting(run): run for run in reversed(second.runs)}
    return [(run, partners[setting(run)]) for run in first.runs if setting(run) in partners]


def _varied(side: Side) -> list[str]:
    keys = dict.fromkeys(key for run in side.runs for key in run.flat)
    return [key for key in keys if len({text(run.flat.get(key)) for run in side.runs}) > 1]


def _configuration(first: Side, second: Side) -> Iterator[Difference]:
    flats = contents.named_by_digest(
        [(dict(run.flat), {"dataset_sha256": run.data}) for side in (first, second) for run in side.runs]
    )
    sides = flats[: len(first.runs)], flats[len(first.runs) :]
    yield from _recorded(sides[0], sides[1])
    jobs = [Counter(repr(sorted(flat.items(), key=str)) for flat in side) for side in sides]
    if jobs[0] != jobs[1] and max(map(len, sides)) > 1:
        common = (jobs[0] & jobs[1]).total()
        yield Difference("jobs", f"{len(sides[0])}, {common} of them in both", f"{len(sides[1])}")
    others = [[run.others for run in side.runs] for side in (first, second)]
    for each in _recorded(others[0], others[1]):
        if each.key != expect.KEY:
            yield each._replace(decides=False)


def _data(first: Side, second: Side) -> Iterator[Difference]:
    known = [[{"data (SHA-256)": run.data} for run in side.runs if run.data] for side in (first, second)]
    if all(known):  # a run that was not made yet has read none
        yield from _recorded(known[0], known[1])


def _surroundings(first: Side, second: Side) -> Iterator[Difference]:
    for key in ("environment", "code", "program"):
        known = [[run.surroundings[key] for run in side.runs if key in run.surroundings] for side in (first, second)]
        if all(known):  # else nothing can be said
            flats = [[dict(provenance.flatten(each, key)) for each in side] for side in known]
            yield from _recorded(flats[0], flats[1])


def _recorded(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """The keys whose values, of all runs, are not the same on both sides."""
    for key in dict.fromkeys(key for each in (*first, *second) for key in each):
        one, other = (list(dict.fromkeys(_written(each.get(key, ABSENT)) for each in side)) for side in (first, second))
        if set(one) != set(other):
            yield Difference(printable(key), _cell(one), _cell(other))


def _results(pairs: Sequence[tuple[Ran, Ran]]) -> Iterator[Difference]:
    ended = [pair for pair in pairs if all(run.summary for run in pair)]
    measured = [key for pair in ended for key in pair[0].summary if _is_measured(key)]
    for key in dict.fromkeys((*RESULTS, *measured)):
        values = [(a.summary.get(key), b.summary.get(key)) for a, b in ended]
        apart = [pair for pair in values if pair[0] != pair[1] and not isinstance(pair[0], list)]
        if apart:
            most = max(apart, key=_distance)
            of_run = key in RESULTS  # else it says how the run was measured, and its parameters say the rest
            one, other = map(_shown, most)
            yield Difference(_of_pairs(key, apart, values), one, other, decides=of_run)


def _is_measured(key: str) -> bool:
    """Whether a value of a summary is one that `vaex evaluate` measured, not its standard error."""
    return key.startswith(expect.EVALUATED) and not key.endswith("_se")


def _steps(pairs: Sequence[tuple[Ran, Ran]]) -> Iterator[Difference]:
    both = [(a.steps, b.steps) for a, b in pairs if a.steps is not None and b.steps is not None]
    firsts = [(*found, *steps) for steps in both if (found := verdict.parting(*steps))]
    if firsts:
        index, name, *steps = min(firsts, key=lambda each: each[0])
        one, other = (f"{index + 1}: {name} {_shown(float(side[name][index]))}" for side in steps)
        yield Difference(_of_pairs("first step apart", firsts, both), one, other)


def _of_pairs(key: str, apart: Sequence[Any], every: Sequence[Any]) -> str:
    """A key, and in how many of several pairs it differs: the values beside it are those furthest apart, or first."""
    return key if len(every) == 1 else f"{key} ({len(apart)} of {len(every)} pairs)"


def _distance(pair: tuple[Any, Any]) -> float:
    first, second = map(number, pair)
    return math.inf if first is None or second is None else abs(first - second)


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else "–" if value is None else str(value)


def _written(value: Any) -> str:
    return "–" if value is ABSENT else text(value)


def _cell(values: Sequence[str]) -> str:
    """Some values in a line that stays short."""
    more = f", … ({len(values)} values)" if len(values) > MOST_VALUES else ""
    values = sorted(values, key=_place)
    shown = printable(", ".join(values[:MOST_VALUES]))
    return (shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…") + more


def _place(value: str) -> tuple[float, str]:
    """Numbers in their order, before text."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value
