"""The study of a search on disk: Optuna's journal in the sweep's directory, asked for trials, told how they ended."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vaex import files
from vaex.config import Config
from vaex.disk.directory import Job
from vaex.disk.sweep import Noted
from vaex.errors import InputError
from vaex.search.objectives import Direction
from vaex.search.plan import Plan
from vaex.search.samplers import sampler
from vaex.search.settings import Settings
from vaex.search.space import Parameter, Value

NAME, JOURNAL = "vaex", "study.journal"

STATES = {"COMPLETE": "complete", "FAIL": "failed", "PRUNED": "stopped", "RUNNING": "running", "WAITING": "waiting"}
"""Optuna's states of a trial in our words."""


class Trial(NamedTuple):
    """One trial as the study has it; `values` has one number an objective, none where it failed."""

    number: int
    state: str
    parameters: Mapping[str, Value]
    values: tuple[float, ...]
    spread: tuple[float, ...]
    reason: str


class Study:
    """Optuna's study behind three verbs. Not safe for threads: its owner has the lock."""

    def __init__(
        self, directory: Path, settings: Settings, directions: Sequence[Direction], space: Sequence[Parameter]
    ):
        self._settings, self._space = settings, space
        self._distributions = {each.key: each.distribution() for each in space}
        with _quiet():
            self._study = _opened(directory / JOURNAL, directions)
        self._refuse_other_space(directory)
        self._front: list[Trial] = []
        self._held: set[int] = set()

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *_: object) -> None:
        self._study.sampler = None  # nothing is held open: Optuna opens its journal for each line

    def ask(self) -> Trial:
        """A new trial."""
        with _quiet():
            self._study.sampler = sampler(self._settings, self._space, len(self._study.get_trials(deepcopy=False)))
            trial = self._study.ask(self._distributions)
        return self._read(trial._cached_frozen_trial)

    def completed(self, number: int) -> Trial:
        """A running trial with all its parameters: the command may have ended while they were drawn."""
        import optuna  # late: an extra

        frozen = self._study.get_trials(deepcopy=False)[number]
        if set(frozen.params) != set(self._distributions):
            with _quiet():
                self._study.sampler = sampler(self._settings, self._space, number)
                trial = optuna.trial.Trial(self._study, frozen._trial_id)
                for name, distribution in self._distributions.items():
                    self._pass_over(trial, name) if name in frozen.params else trial._suggest(name, distribution)
        return self.trials()[number]

    def _pass_over(self, trial: Any, name: str) -> None:
        """Draw what has been drawn already once more, so that the next key gets the random numbers that were its."""
        distribution = self._distributions[name]
        if not (distribution.single() or trial._is_relative_param(name, distribution)):
            self._study.sampler.sample_independent(self._study, trial._cached_frozen_trial, name, distribution)

    def tell(
        self,
        number: int,
        state: str,
        values: Sequence[float],
        spread: Sequence[float],
        reason: str,
        epoch: int = 0,
    ) -> None:
        """How a trial has ended: complete with its values, failed, or stopped early after `epoch` with its last value.

        TPE ranks stopped trials by how far they came, then by that value.
        """
        import optuna  # late: an extra

        frozen = self._study.get_trials(deepcopy=False)[number]
        storage, name = self._study._storage, frozen._trial_id
        if len(self._study.directions) > 1 and state == "stopped":
            state, reason = "failed", reason or "stopped early"  # Optuna has no pruning with several objectives
        known = {"spread": list(spread), "reason": reason}
        for key, value in known.items():
            if value:
                storage.set_trial_user_attr(name, key, value)
        with _quiet():
            self._study.sampler = sampler(self._settings, self._space, number)
            if state == "stopped":
                for value in values:
                    storage.set_trial_intermediate_value(name, epoch, float(value))
            ends = {"complete": "COMPLETE", "failed": "FAIL", "stopped": "PRUNED"}
            told = list(values) if state == "complete" else None
            self._study.tell(number, told, state=optuna.trial.TrialState[ends[state]])

    def trials(self) -> list[Trial]:
        """All trials, in order."""
        return [self._read(each) for each in self._study.get_trials(deepcopy=False)]

    def best(self) -> list[Trial]:
        """The best trial, or those on the Pareto front; none where none has ended."""
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.name == "COMPLETE" and frozen.number not in self._held:
                self._held.add(frozen.number)
                self._hold_against_front(self._read(frozen))
        return self._front if len(self._study.directions) > 1 else self._front[:1]

    def _hold_against_front(self, trial: Trial) -> None:
        """Add a trial to the front unless one there is better; those that it beats leave it."""
        signs = [1 if direction.name == "MAXIMIZE" else -1 for direction in self._study.directions]

        def beats(one: Trial, other: Trial) -> bool:
            gains = [sign * (o - m) for sign, o, m in zip(signs, one.values, other.values, strict=True)]
            return min(gains) >= 0 and max(gains) > 0

        if not any(beats(other, trial) for other in self._front):
            front = [other for other in self._front if not beats(trial, other)]
            self._front = sorted([*front, trial], key=lambda each: each.number)

    def _read(self, frozen: Any) -> Trial:
        parameters = {key: frozen.params[key] for key in self._distributions if key in frozen.params}
        spread, reason = frozen.user_attrs.get("spread", ()), frozen.user_attrs.get("reason", "")
        return Trial(
            frozen.number, STATES[frozen.state.name], parameters, tuple(frozen.values or ()), tuple(spread), reason
        )

    def _refuse_other_space(self, directory: Path) -> None:
        """Raise `InputError` where the journal's trials are of another space than sweep.json's."""
        for frozen in self._study.get_trials(deepcopy=False):
            if any(self._distributions.get(key) != own for key, own in frozen.distributions.items()):
                raise InputError(f"{directory / JOURNAL}: trial {frozen.number} is not of this search's space")


def _opened(path: Path, directions: Sequence[Direction]) -> Any:
    """The study in a journal that no other process writes: its sweep's directory is locked."""
    import optuna  # late: an extra
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

    for each in (path, path.with_name(f"{path.name}.lock")):
        if each.is_symlink():
            raise InputError(f"{each}: is a link to another place; remove it to go on")
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # of a command that was killed while it wrote
    _repair(path)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
        if any(each.study_name == NAME for each in storage.get_all_studies()):
            study = optuna.load_study(storage=storage, study_name=NAME)
            if [way.name.lower() for way in study.directions] != list(directions):
                raise InputError(f"{path}: its study is of other objectives than its sweep.json")
            return study
        return optuna.create_study(storage=storage, study_name=NAME, directions=list(directions))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: not the journal of a study ({files.first_line(error)})") from error


def _repair(path: Path) -> None:
    """Cut off the end of a line that a power cut has left half written: the next one would be added to it."""
    try:
        files.cut_unfinished_line(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({files.first_line(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines of what it does, and its warnings of what is experimental in it."""
    import optuna  # late: an extra

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Place:
    """A search where it is: its directory, plan and study, what makes jobs of what is noted, and lanes to fill."""

    directory: Path
    plan: Plan
    study: Study
    open: Callable[[Sequence[tuple[Noted, Config]]], list[Job]]
    lanes: int
    at_once: int
    plugins: tuple[str, ...]
