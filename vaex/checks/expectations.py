"""Whether runs came to what was expected of them (`config/expect.py`): one line for each expectation.

ok      train/loss: 244.57, expected 243.4 to 245.1
not ok  train/loss: 246.02, expected 243.4 to 245.1, 0.92 above
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vaex import files
from vaex.config import expect
from vaex.config.expect import Row, Wanted
from vaex.config.validation import nearest
from vaex.disk import saved, sweep
from vaex.errors import InputError, printable
from vaex.study import runs
from vaex.study.stability import number

MOST_NAMED = 3
"""Jobs that one line names."""


class Line(NamedTuple):
    """An expectation, and whether it holds."""

    ok: bool
    text: str

    def __str__(self) -> str:
        """As it is shown."""
        return printable(f"{'ok' if self.ok else 'not ok':<8}{self.text}")


@dataclass(frozen=True)
class Outcome:
    """A run: what it is called, its configuration by full key, and its summary."""

    name: str
    flat: Mapping[str, Any]
    summary: Mapping[str, Any]


def check(directory: Path, rows: tuple[Row, ...] | None = None) -> list[Line]:
    """Each expectation held against a run or a sweep, in the order in which they are written.

    Without `rows` those that were recorded when it was begun, each of the jobs that have it: a sweep may be of several
    experiments. Raises `InputError` where a configuration is damaged.
    """
    outcomes: dict[tuple[Row, ...], list[Outcome]] = {}
    for name, plain, place in _configurations(directory):
        try:
            asked = expect.parse(plain) if rows is None else rows
        except InputError as error:
            raise InputError(f"{directory}: {error}") from error
        outcomes.setdefault(asked, []).append(Outcome(name, expect.flat(saved.completed(plain)), _summary(place)))
    answers = Answers(directory)
    return [
        line
        for asked, held in outcomes.items()
        for row in asked
        for line in (_of_verdict(row, answers) if row.verdict else _of_runs(row, held))
    ]


def is_a_job(directory: Path) -> Path | None:
    """The sweep that a directory is a job of, whose expectations are of all its jobs; None where it is of none."""
    own = directory.absolute()
    for above in (own.parent, own.parent.parent):
        if (above / sweep.NAME).exists() and own in [above / job.directory for job in sweep.read(above)[1]]:
            return above
    return None


class Answers:
    """The comparisons of a sweep, each made when it is first asked for: compare.json may be of another `--by`."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._made: dict[tuple[str | None, str | None], dict[str, Any]] = {}

    def by(self, by: str | None, against: str | None) -> dict[str, Any]:
        """The comparison by a key; raises `InputError` where no run has it."""
        from vaex.study import comparing  # late: statistics take long to import, and most expectations ask for none

        if (by, against) not in self._made:
            self._made[by, against] = comparing.compare(runs.read([self._directory], by, against))
        return self._made[by, against]


def _configurations(directory: Path) -> list[tuple[str, dict[str, Any], Path]]:
    """Name, plain configuration and directory of a run, or of each job of a sweep."""
    if (directory / sweep.NAME).exists():
        return [(f"job {job.number}", job.config, directory / job.directory) for job in sweep.read(directory)[1]]
    if (directory / "config.yaml").exists():
        return [("", files.read_yaml(directory / "config.yaml"), directory)]
    from vaex.disk import results  # late: so does pandas, and this is for the sweeps of other launchers

    jobs = results.job_directories(directory)
    return [(f"job {job.name}", files.read_yaml(job / "config.yaml"), job) for job in jobs]


def _summary(directory: Path) -> dict[str, Any]:
    path = directory / "summary.json"
    return files.read_json(path) if path.exists() else {"status": "interrupted"}


def _of_runs(row: Row, outcomes: Sequence[Outcome]) -> Iterator[Line]:
    where = ", ".join(f"{key}={runs.text(value)}" for key, value in row.where)
    chosen = [each for each in outcomes if all(each.flat.get(key) == value for key, value in row.where)]
    before = f"{where}: " if where else ""
    for key, wanted in row.wanted:
        if not chosen:
            yield Line(False, f"{before}{key}: no such job is there{_nearest(row, outcomes)}")
        elif key in expect.COUNTED:
            count = sum(each.summary.get("status") == key for each in chosen)
            yield _of_one(f"{before}{key} of {len(chosen)} job{'s' * (len(chosen) != 1)}", {key: count}, key, wanted)
        elif len(chosen) == 1:
            yield _of_one(f"{before}{key}", chosen[0].summary, key, wanted)
        else:
            yield _of_all(f"{before}{key}", chosen, key, wanted)


def _nearest(row: Row, outcomes: Sequence[Outcome]) -> str:
    """What of a `where` no job has, and which value of it there is that is like it."""
    for key, value in row.where:
        there = list(dict.fromkeys(runs.text(each.flat[key]) for each in outcomes if key in each.flat))
        if runs.text(value) not in there:
            known = (
                f" (there: {', '.join(there[:MOST_NAMED])}{', …' if len(there) > MOST_NAMED else ''})" if there else ""
            )
            return f"{nearest(runs.text(value), there)}{known}"
    return ""


def _of_one(title: str, found: Mapping[str, Any], key: str, wanted: Wanted) -> Line:
    shown, off = _held(found, key, wanted)
    return Line(off is None, f"{title}: {shown}{_expected(wanted)}{off or ''}")


def _of_all(title: str, chosen: Sequence[Outcome], key: str, wanted: Wanted) -> Line:
    """One line for all runs of which the same is expected: those that are not so, or from where to where they are."""
    held = [(each.name, *_held(each.summary, key, wanted)) for each in chosen]
    bad = [f"{name} {shown}{off}" for name, shown, off in held if off is not None]
    if bad:
        more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        missed = f"{len(bad)} of {len(held)} runs are not: {'; '.join(bad[:MOST_NAMED])}{more}"
        return Line(False, f"{title}{_expected(wanted)}: {missed}")
    ends = sorted((each.summary[key] for each in chosen), key=lambda value: (isinstance(value, str), value))
    shown = " to ".join(dict.fromkeys(_show(end) for end in (ends[0], ends[-1])))
    return Line(True, f"{title} of {len(held)} runs: {shown}{_expected(wanted)}")


def _of_verdict(row: Row, answers: Answers) -> Iterator[Line]:
    asked = row.verdict
    assert asked is not None
    title = f"{asked.verdict} of {asked.variant}"
    try:
        comparison = answers.by(asked.by, asked.against)
        item = _named("variant", asked.variant, _question(comparison, asked.verdict)["comparisons"], "variant")
    except InputError as error:
        yield Line(False, f"{title}: {error}")
        return
    for key, wanted in row.wanted:
        yield _of_one(f"{title} against {item['against']}, {key}", item, key, wanted)


def _question(comparison: Mapping[str, Any], key: str) -> dict[str, Any]:
    return _named("question", key, comparison["questions"], "key")


def _named(what: str, name: str, items: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """The item of a name; raises `InputError` with the nearest name."""
    names = [str(item[key]) for item in items]
    if name not in names:
        raise InputError(f"no {what} {name!r}{nearest(name, names)} ({what}s: {', '.join(names)})")
    return items[names.index(name)]


def _held(found: Mapping[str, Any], key: str, wanted: Wanted) -> tuple[str, str | None]:
    """A value as it is shown, and by how much it is not what was expected; None where it is."""
    value = found.get(key)
    if value is None or isinstance(value, list | dict):
        return ("is no finite number" if key in found else "is not there"), ""
    if isinstance(wanted, str):
        return _show(value), None if value == wanted else ""
    known = number(value)
    if known is None:
        return _show(value), ""
    low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if low <= known <= high:
        return _show(known), None
    return _show(known), f", {_show(low - known)} below" if known < low else f", {_show(known - high)} above"


def _expected(wanted: Wanted) -> str:
    shown = " to ".join(map(_show, wanted)) if isinstance(wanted, tuple) else _show(wanted)
    return f", expected {shown}"


def _show(value: Any) -> str:
    """Six digits of a number: enough for hundreds of nats, in hundredths."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)
