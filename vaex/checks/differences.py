"""In what two runs differ, or two sweeps, or configurations that nobody has run yet: one line for each difference.

Runs of the two sides are a pair where they have the same values of what varies within a side.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vaex.checks.sides import Ran, Side
from vaex.config import expect
from vaex.disk import provenance
from vaex.errors import printable
from vaex.study import contents, verdict
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

DIGEST, SHOWN = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}"), 12
"""What is a digest, and how much of it is shown: nobody reads it to its end."""


class Difference(NamedTuple):
    """What differs, and what each side has; whether it decides numbers, or is one."""

    key: str
    first: str
    second: str
    decides: bool = True


class Pair(NamedTuple):
    """Two runs that are set beside each other; `named` says which, where there are others."""

    first: Ran
    second: Ran
    named: str


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


def _pairs(first: Side, second: Side) -> list[Pair]:
    """Runs of the same values of what varies within a side; a lone run and a job only where they are the same."""
    lone = 1 in (len(first.runs), len(second.runs)) and len(first.runs) != len(second.runs)
    flats = _flats(first, second)
    varied = list(dict.fromkeys(key for side in flats for key in (_keys(side) if lone else _varied(side))))

    def setting(flat: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_written(flat.get(key, ABSENT)) for key in varied)

    partners = {setting(flat): run for run, flat in reversed(list(zip(second.runs, flats[1], strict=True)))}
    found = [(run, setting(flat)) for run, flat in zip(first.runs, flats[0], strict=True) if setting(flat) in partners]
    pairs = [(run, partners[place], ", ".join(map("=".join, zip(varied, place, strict=True)))) for run, place in found]
    if lone:
        return [Pair(a, b, a.name if len(first.runs) > 1 else b.name) for a, b, _ in pairs]
    return [Pair(a, b, named) for a, b, named in pairs]


def _flats(first: Side, second: Side) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The configurations of both sides, in which the same data have the same name."""
    flats = contents.named_by_digest(
        [(dict(run.flat), {"dataset_sha256": run.data}) for side in (first, second) for run in side.runs]
    )
    return flats[: len(first.runs)], flats[len(first.runs) :]


def _keys(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for flat in flats for key in flat))


def _varied(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in _keys(flats) if len({text(flat.get(key)) for flat in flats}) > 1]


def _configuration(first: Side, second: Side) -> Iterator[Difference]:
    sides = _flats(first, second)
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


def _results(pairs: Sequence[Pair]) -> Iterator[Difference]:
    ended = [pair for pair in pairs if pair.first.summary and pair.second.summary]
    measured = [key for pair in ended for key in pair.first.summary if _is_measured(key)]
    for key in dict.fromkeys((*RESULTS, *measured)):
        values = [(pair.first.summary.get(key), pair.second.summary.get(key), pair.named) for pair in ended]
        apart = [each for each in values if each[0] != each[1] and not isinstance(each[0], list)]
        if apart:
            one, other, named = max(apart, key=_distance)
            of_run = key in RESULTS  # else it says how the run was measured, and its parameters say the rest
            title = _of_pairs(key, apart, ended, named)
            yield Difference(title, _shown(one), _shown(other), decides=of_run)


def _is_measured(key: str) -> bool:
    """Whether a value of a summary is one that `vaex evaluate` measured, not its standard error."""
    return key.startswith(expect.EVALUATED) and not key.endswith("_se")


def _steps(pairs: Sequence[Pair]) -> Iterator[Difference]:
    both = [(a.steps, b.steps, named) for a, b, named in pairs if a.steps is not None and b.steps is not None]
    firsts = [(*found, *each) for each in both if (found := verdict.parting(*each[:2]))]
    if firsts:
        index, name, *steps, named = min(firsts, key=lambda each: each[0])
        one, other = (f"{index + 1}: {name} {_shown(float(side[name][index]))}" for side in steps)
        yield Difference(_of_pairs("first step apart", firsts, both, named), one, other)


def _of_pairs(key: str, apart: Sequence[Any], every: Sequence[Any], named: str) -> str:
    """A key, in how many of several pairs it differs, and in which as told: the furthest apart, or the first."""
    of_several = f"{len(apart)} of {len(every)} pairs" if len(every) > 1 else ""
    more = ", here ".join(filter(None, (of_several, named)))
    return printable(f"{key} ({more})") if more else key


def _distance(pair: tuple[Any, Any, str]) -> float:
    first, second = map(number, pair[:2])
    return math.inf if first is None or second is None else abs(first - second)


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else "–" if value is None else _short(printable(value))


def _written(value: Any) -> str:
    return "–" if value is ABSENT else text(value)


def _short(value: str) -> str:
    """A digest by its beginning."""
    return f"{value[:SHOWN]}…" if DIGEST.fullmatch(value) else value


def _cell(values: Sequence[str]) -> str:
    """Some values in a line that stays short."""
    more = f", … ({len(values)} values)" if len(values) > MOST_VALUES else ""
    values = sorted(values, key=_place)
    shown = printable(", ".join(map(_short, values[:MOST_VALUES])))
    return (shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…") + more


def _place(value: str) -> tuple[float, str]:
    """Numbers in their order, before text."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value
