"""A diagnosis from a run's directory: replayed, looked into, cures tried; what `vaex diagnose` prints and writes."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaex import files
from vaex.config import Config
from vaex.device.datasets import load
from vaex.diagnosis import charts, cures, page, place, rows
from vaex.diagnosis.cures import Cure
from vaex.diagnosis.findings import TERMS, Findings
from vaex.diagnosis.limits import number
from vaex.diagnosis.trials import FROM_START, Trial, Trials
from vaex.disk import metrics, provenance, saved
from vaex.errors import printable
from vaex.figures import style
from vaex.inspection import look, replay

NAMES = ("diagnose.json", "diagnose.html", "diagnose.png")


class Diagnosis:
    """One run at one step (from 1); `content` is what diagnose.json has."""

    def __init__(
        self,
        directory: Path,
        loading: Sequence[str],
        manifest: dict[str, Any],
        step: int,
        steps: place.Steps,
    ):
        self.directory, self.loading, self.step, self.steps = directory, loading, step, steps
        self.config = self._read(())
        self.device = jax.devices()[0]
        self.replay = replay.replay(directory, self.config, manifest, step, self.device)
        self.images = np.asarray(load(self.config.dataset).train.images)  # the replay needed them all in memory, too
        self.an_epoch = -(-len(self.images) // self.config.training.batch_size)
        self.looks = look.Looks(self.replay, self.images, self.an_epoch, self.device)
        self.looked = self.looks.all()
        self.findings = Findings(self.config, self.looks, self.looked, step, self._culprit())
        self.content = self._content(provenance.changes(manifest))

    def _read(self, more: Sequence[str]) -> Config:
        return saved.read_saved(self.directory, [*self.loading, *more])

    def _culprit(self) -> str | None:
        """The first term that was not finite in the replay, as the run names it; None where all was."""
        if place.all_finite(self.replay.steps)[-1]:
            return None
        last = {name: bool(np.isfinite(column[-1])) for name, column in self.replay.steps.items()}
        order = (("kl", "kl"), ("reconstruction", "reconstruction"), ("loss", "gradient"), ("grad_norm", "gradient"))
        return next((term for column, term in order if not last[column]), "update")

    def _content(self, changes: list[str]) -> dict[str, Any]:
        different, by = replay.differences(self.replay, self.steps)
        epoch, within = divmod(self.step - 1, self.an_epoch)
        found = self.findings.plain()
        happened = self.findings.rise() if self._culprit() is None else f"{TERMS[found['term']]} is not finite"
        head = f"step {self.step} (epoch {epoch + 1}, its step {within + 1}): {happened}"
        recorded = [
            f"replayed from {self.replay.origin}: {self._same(different, by)}",
            *_surroundings(changes, different),
        ]
        return {
            "format": 1,
            "title": f"{self.directory.name}: {head}",
            "lines": [head, *recorded, *self.findings.lines(), *self._in_the_data()],
            "step": self.step,
            "epoch": epoch + 1,
            "diverged": self._culprit() is not None,
            "replay": {
                "from": self.replay.origin,
                "first_step": self.replay.start + 1,
                "identical": different is None,
                "first_difference": different,
                "relative_difference": by,
                "lanes": self.replay.lanes,
                "environment": changes,
            },
            **found,
            "history": self._history(),
            "cures": None,
            "cheapest": None,
            "interrupted": False,
        }

    def _in_the_data(self) -> list[str]:
        """Where the example is in what the user gave."""
        if not self.findings.example:
            return []
        index = self.findings.example["index"]
        return [f"training image {index}: {rows.where(self.config.dataset, load(self.config.dataset), index)}"]

    def _same(self, different: int | None, by: float) -> str:
        if different is None:
            return f"bit for bit as recorded, steps {self.replay.start + 1} to {self.step}"
        return f"NOT as recorded, first at step {different}, by {number(by)} relative"

    def _history(self) -> dict[str, Any]:
        """The recorded columns of the last steps."""
        first = max(0, self.step - 1 - replay.HISTORY)
        rows = {name: [float(each) for each in column[first : self.step]] for name, column in self.steps.items()}
        return {"step": list(range(first + 1, self.step + 1)), **rows}

    def try_cures(self, beyond: int) -> Iterator[str]:
        """Try every cure, then prove the cheapest that passed from the start; yields a line as each is known."""
        trials = Trials(self._read, self.step + beyond, self.device)
        beginning = self.replay.beginning if self.replay.start else None
        self.content |= {"untrained": trials.untrained._asdict(), "cures": []}
        passed: list[tuple[Cure, Trial]] = []
        wanted = cures.of(self.config, self.steps, self.step, self.an_epoch)
        self.content["cures_to_try"] = sum(not cure.further for cure in wanted)
        trial = None
        for cure in wanted:
            if cure.further and (trial is None or trial.passed or trial.problem):
                trial = None
                continue
            trial = trials.of(cure, None if cure.from_start else beginning, self.replay.origin)
            self.content["cures"].append(_plain(cure, trial))
            passed += [(cure, trial)] if trial.passed else []
            yield self._line(cure, trial)
        yield from self._prove(trials, passed)

    def interrupted(self) -> str:
        """Note that the trials were cut off; returns the line that says so."""
        tried, wanted = len(self.content["cures"] or []), self.content.get("cures_to_try")
        of = f"{min(tried, wanted)} of {wanted} cures" if wanted else "any cure was tried"
        line = (
            f"interrupted after {of}; what is known of them is kept, none is proved"
            if wanted
            else f"interrupted before {of}"
        )
        self.content["interrupted"] = True
        self.content["lines"] = [*self.content["lines"], line]
        return line

    def _prove(self, trials: Trials, passed: Sequence[tuple[Cure, Trial]]) -> Iterator[str]:
        """What is given on a command line holds from the start on: tried from there, whatever it did from later."""
        for cure, trial in passed:
            if trial.origin != FROM_START:
                trial = trials.of(cure, None, FROM_START)
                self.content["cures"].append(_plain(cure, trial))
                yield self._line(cure, trial)
            if trial.passed:
                loading = " ".join(map(shlex.quote, (str(self.directory), *self.loading, *cure.overrides)))
                command = f"vaex reproduce {loading}"
                self.content["cheapest"] = {"overrides": list(cure.overrides), "command": command, "steps": trial.step}
                yield f"cheapest cure, proved from the start to step {trial.step}: {command}"
                return
        yield "none of these got past it and was then better than untrained weights"

    def _line(self, cure: Cure, trial: Trial) -> str:
        elbo = "" if trial.elbo is None else f", valid/elbo {number(trial.elbo)}"
        return f"  {' '.join(cure.overrides):<58} from {trial.origin}: {_told(trial)}{elbo}"

    def files(self) -> dict[str, bytes]:
        """The three files' contents by name."""
        way = style.png(self._drawn())
        pictures = {"way": way}
        if self.content["example"]:
            index = self.content["example"]["index"]
            scale = self.images[: charts.SCALE]
            pictures["example"] = style.png(charts.example(self.images, index, scale))
        plain = metrics.finite_or_null(self.content)
        return dict(zip(NAMES, (files.as_json(plain), page.html(plain, pictures).encode(), way), strict=True))

    def _drawn(self) -> Any:
        history = self.content["history"]
        unit = self.content["unit"]
        latent = unit["number"] if unit and unit["kind"] == "latent" else None
        recorded = {name: np.asarray(column) for name, column in history.items()}
        return charts.way(printable(self.content["title"]), self.step, recorded, self.looked, latent)


def _surroundings(changes: Sequence[str], different: int | None) -> list[str]:
    """What is not as it was, one by one where it may have mattered."""
    if different is None:
        return [
            f"not everything is as it was then ({len(changes)} entries of the manifest), yet no bit differs"
        ] * bool(changes)
    return [f"not as then, so bits may differ: {line}" for line in changes]


def _told(trial: Trial) -> str:
    if trial.problem:
        return f"not tried ({trial.problem})"
    if trial.diverged:
        return f"diverged at step {trial.diverged}"
    return (
        f"past it, to step {trial.step}" if trial.passed else f"past it, no better than untrained at step {trial.step}"
    )


def _plain(cure: Cure, trial: Trial) -> dict[str, Any]:
    return {
        "title": cure.title,
        "overrides": list(cure.overrides),
        "from": trial.origin,
        "step": trial.step,
        "diverged": trial.diverged,
        "passed": trial.passed,
        "told": _told(trial),
        "valid/elbo": trial.elbo,
    }
