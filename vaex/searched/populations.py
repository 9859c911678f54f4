"""The rounds of a population: population.json and its members' summaries, read as data as far as they can be."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaex import files
from vaex.disk import metrics
from vaex.disk.directory import POPULATION
from vaex.errors import InputError, printable
from vaex.study.stability import number


@dataclass(frozen=True)
class Round:
    """After `epoch`: the members' scores (None: diverged), the values they had, and who went on from whom."""

    epoch: int
    scores: tuple[float | None, ...]
    values: tuple[dict[str, Any], ...]
    sources: dict[int, int]


@dataclass(frozen=True)
class Population:
    """A population as it stands: the rounds that were decided and, once all members have ended, their end."""

    directory: Path
    members: int
    keys: tuple[str, ...]
    logs: frozenset[str]
    """Keys that are drawn on a log scale."""
    metric: str
    maximised: bool
    every: int
    rounds: tuple[Round, ...]

    @property
    def best(self) -> tuple[int, float] | None:
        """The best member after the last round, and its score; None where there is none yet, or all have diverged."""
        known = [(score, member) for member, score in enumerate(self.rounds[-1].scores)] if self.rounds else []
        found = [(score, member) for score, member in known if score is not None]
        sign = 1 if self.maximised else -1
        score, member = max(found, key=lambda each: (sign * each[0], -each[1]), default=(None, 0))
        return None if score is None else (member, score)

    def told(self) -> str:
        """The best member with its score, and with what it went on from there."""
        if self.best is None:
            return "no member has a score yet" if not self.rounds else "all members have diverged"
        member, score = self.best
        last = self.rounds[-1]
        had = " ".join(f"{key}={value}" for key, value in last.values[member].items())
        return f"member {member}, {self.metric} {score:.5g} after epoch {last.epoch}  {had}"

    def in_all(self, epochs: int) -> int:
        """How many rounds there are in so many epochs, the last to their end."""
        return -(-epochs // self.every)


def there(directory: Path) -> bool:
    """Whether a sweep's directory is a population's."""
    return (directory / POPULATION).exists()


def read(directory: Path) -> Population:
    """The population in a sweep's directory; raises `InputError` where its record cannot be read."""
    content = files.read_json(directory / POPULATION)
    try:
        settings, space = content["settings"], content["space"]
        members, keys, every = int(settings["population"]), tuple(map(printable, space)), int(settings["every"])
        logs = frozenset(printable(key) for key, each in space.items() if each.get("log"))
        metric, maximised = printable(settings["metric"]), settings["direction"] != "minimize"
        following: list[dict[str, Any]] = []
        rounds = []
        for each in content["rounds"]:
            rounds.append(_round(each, members))
            following = [*rounds[-1].values]
            for decision in each["decisions"]:
                following[decision["member"]] = _values(decision["values"])
        if every < 1 or any(len(made.values) != members for made in rounds):
            raise ValueError("rounds")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{directory / POPULATION}: not the record of a population ({error})") from error
    end = _end(directory, members, metric, following)
    made = (*rounds, *([end] if end and (not rounds or end.epoch > rounds[-1].epoch) else []))
    return Population(directory, members, keys, logs, metric, maximised, every, made)


def _round(plain: Mapping[str, Any], members: int) -> Round:
    scores = tuple(number(score) for score in plain["scores"])
    sources = {int(each["member"]): int(each["source"]) for each in plain["decisions"]}
    if len(scores) != members or not {*sources, *sources.values()} <= set(range(members)):
        raise ValueError(f"after epoch {plain['epoch']}")
    return Round(int(plain["epoch"]), scores, tuple(map(_values, plain["values"])), sources)


def _values(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        printable(key): value if value is None or isinstance(value, (int, float)) else printable(value)
        for key, value in plain.items()
    }


def _end(directory: Path, members: int, metric: str, values: list[dict[str, Any]]) -> Round | None:
    """How the members have ended; None while one has not."""
    try:
        summaries = [files.read_json(directory / str(member) / "summary.json") for member in range(members)]
    except InputError:
        return None
    if not all(summary.get("status") in ("finished", "diverged") for summary in summaries):
        return None
    ends = [int(number(each.get("epoch")) or 0) if each.get("status") == "finished" else None for each in summaries]
    epoch = min((end for end in ends if end is not None), default=0)
    scores = [
        None
        if end is None
        else number(summary.get(metric))
        if end == epoch
        else _after(directory / str(member), epoch, metric)
        for member, (end, summary) in enumerate(zip(ends, summaries, strict=True))
    ]
    return Round(epoch, tuple(scores), tuple(values), {})


def _after(directory: Path, epoch: int, metric: str) -> float | None:
    """The metric after an epoch of a member that was trained for longer than the others, by itself."""
    try:
        return next(
            (
                number(row.get(metric))
                for row in metrics.each_row(directory / "metrics.jsonl")
                if row.get("epoch") == epoch
            ),
            None,
        )
    except InputError:
        return None
