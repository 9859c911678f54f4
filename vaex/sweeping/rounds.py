"""A population trains in rounds: each member goes on for some epochs, then it is decided who goes on from whom.

What has been decided is written first (population.json), then carried out, then the next round begins: whatever is cut
off, by Ctrl-C or kill -9, goes on from there to the same bits.
"""

import dataclasses
import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaex import files
from vaex.config import Config, naming
from vaex.device import compilation
from vaex.disk import checkpoint, metrics, results, sweep
from vaex.disk.directory import Job, read_manifest
from vaex.disk.sweep import Noted
from vaex.errors import InputError
from vaex.search import lineage, population
from vaex.search.lineage import Population, Round
from vaex.sweeping import going_on
from vaex.sweeping.exploit import take_over
from vaex.terminal.displays import PopulationDisplay
from vaex.terminal.tables import show
from vaex.training import run
from vaex.training.run import Outcome
from vaex.vae import pack


def jobs_of(directory: Path, noted: Sequence[tuple[Noted, Config]]) -> list[Job]:
    """The members of a population that goes on, as they began.

    Raises `InputError` unless they are as many as it says, each in its own directory 0, 1, 2, …
    """
    members = lineage.read(directory).settings.population
    if [job.directory for job, _ in noted] != [Path(str(number)) for number in range(members)]:
        raise InputError(f"{directory / sweep.NAME}: its jobs are not the {members} members of {lineage.NAME}")
    common = naming.common([job.overrides for job, _ in noted])
    figures, group = len(noted) <= noted[0][1].sweep.figures_up_to, sweep.group_of(directory)
    places = [going_on.place_of(directory, job) for job, _ in noted]
    return [
        Job(config, place, job.label, group, naming.of_job(job.overrides, common), figures=figures)
        for place, (job, config) in zip(places, noted, strict=True)
    ]


def train(directory: Path, jobs: Sequence[Job]) -> Outcome:
    """Train the members, given as they began, from wherever they are to their end."""
    left = [job for job in jobs if _status(job.directory) != "finished"]
    display, table = PopulationDisplay(left, len(jobs) - len(left)), results.growing_sweep_csv(directory)
    try:
        return _train(_Rounds(directory, jobs, display), table)
    except KeyboardInterrupt:  # between two rounds: what is half carried out is so again
        return Outcome({job.directory: _status(job.directory) for job in jobs}, signal.SIGINT, ended_by_policy=False)
    finally:
        display.close()


def _train(rounds: "_Rounds", table: results.GrowingTable) -> Outcome:
    while True:
        rounds.carry_out()
        outcome = rounds.train(table)
        ended = outcome.signal or outcome.ended_by_policy or {"failed", "refused"} & {*outcome.statuses.values()}
        if ended or rounds.until == rounds.epochs:
            return outcome
        rounds.decide()


class _Rounds:
    def __init__(self, directory: Path, jobs: Sequence[Job], display: PopulationDisplay):
        self.directory, self.jobs, self.display = directory, jobs, display
        self.known: Population = lineage.read(directory)
        self.epochs = jobs[0].config.training.epochs
        numbers = {job.directory: number for number, job in enumerate(jobs)}
        self.packs = [[numbers[job.directory] for job in members] for members in run.group(jobs)]

    @property
    def until(self) -> int:
        """The epoch that ends this round."""
        done = self.known.rounds[-1].epoch if self.known.rounds else 0
        return min(done + self.known.settings.every, self.epochs)

    def carry_out(self) -> None:
        """What was decided last, where it has not been done; then the members are as they go on."""
        configs = lineage.followed(self.known, [job.config for job in self.jobs])
        self.members = [dataclasses.replace(job, config=now) for job, now in zip(self.jobs, configs, strict=True)]
        for last in self.known.rounds[-1:]:
            for decision in last.decisions:
                member, source = self.members[decision.member], self.members[decision.source]
                there = checkpoint.latest(member.directory) >= last.epoch and going_on.is_of(
                    member.directory, _noted(member)
                )
                if not there:
                    take_over(member.directory, source.directory, member.config, last.epoch)
        for numbers in self.packs:
            self._note_pack([self.members[number] for number in numbers])

    def _note_pack(self, members: Sequence[Job]) -> None:
        """In a vmapped pack each manifest says what all its runs follow, so that it can be made again."""
        record = pack.describe([job.config for job in members]) if len(members) > 1 else None
        for index, job in enumerate(members):
            manifest = read_manifest(job.directory)
            if record and manifest.get("pack"):
                files.write_json(job.directory / "manifest.json", manifest | {"pack": {"index": index} | record})

    def train(self, table: results.GrowingTable) -> Outcome:
        """Every member up to the end of the round."""
        going = [self._going(job) for job in self.members]
        packs = [[going[number] for number in numbers] for numbers in self.packs]
        left = [jobs for jobs in packs if not all(map(self._has_come, jobs))]
        outcome = run.run(left, self.display, table.update, run.lanes(self.jobs[0].config))
        statuses = {job.directory: _status(job.directory) for job in self.jobs} | outcome.statuses
        return outcome._replace(statuses=statuses)

    def _going(self, job: Job) -> Job:
        begun = (job.directory / "config.yaml").exists()
        if begun:
            going_on.refuse_to_go_on(job.directory, job.config, sweep.has_ended(job.directory))
        program = compilation.of(read_manifest(job.directory)) if begun else None
        until = self.until if self.until < self.epochs else None
        return dataclasses.replace(job, resumed=begun, program=program, until=until)

    def _has_come(self, job: Job) -> bool:
        """Whether it is at the end of the round, and has said so."""
        if job.until is None or sweep.has_ended(job.directory):
            return sweep.has_ended(job.directory)
        return (
            _status(job.directory) == "interrupted"
            and checkpoint.latest(job.directory) >= job.until
            and (job.directory / "summary.json").exists()
        )

    def decide(self) -> None:
        """Who goes on from whom, written down."""
        epoch, keys = self.until, tuple(self.known.space)
        scores = [self._score(job.directory, epoch) for job in self.members]
        values = [lineage.values_at(job.config, epoch, keys) for job in self.members]
        decisions = population.decide(self.known.settings, self.known.space, epoch, scores, values)
        self._tell(epoch, scores, decisions)
        made = Round(epoch, tuple(scores), tuple(values), tuple(decisions))
        known = dataclasses.replace(self.known, rounds=(*self.known.rounds, made))
        lineage.followed(known, [job.config for job in self.jobs])  # what nobody can follow is not written down
        lineage.write(self.directory, known)
        self.known = known

    def _score(self, place: Path, epoch: int) -> float | None:
        """The metric after an epoch; None where the member has diverged, or has no finite one."""
        rows = metrics.read_rows(place / "metrics.jsonl")
        if _status(place) == "diverged" or len(rows) < epoch:
            return None
        return _finite(rows[epoch - 1][self.known.settings.metric])

    def _tell(self, epoch: int, scores: Sequence[float | None], decisions: Sequence[population.Decision]) -> None:
        sign = 1 if self.known.settings.direction == "maximize" else -1
        found = [(sign * score, -number) for number, score in enumerate(scores) if score is not None]
        best = (
            f"best job {-max(found)[1]}, {self.known.settings.metric} {show(sign * max(found)[0])}"
            if found
            else "all diverged"
        )
        moves = "".join(f"; job {each.member} goes on from job {each.source}" for each in decisions)
        self.display.console.print(f"epoch {epoch}/{self.epochs}: {best}{moves}", markup=False)


def _noted(job: Job) -> Noted:
    return sweep.noted(0, Path(job.directory.name), (), job.config)


def _finite(value: Any) -> float | None:
    """A number of metrics.jsonl, where null is one that was not finite."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _status(place: Path) -> str:
    path = place / "summary.json"
    return str(files.read_json(path).get("status")) if path.exists() else "interrupted"
