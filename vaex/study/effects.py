"""What a variant's pairs say to one question, in numbers: differences and ratios, over all settings and in each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaex.disk.evaluation import PREFIX
from vaex.study import evidence, pairing, quantities, stability
from vaex.study.pairing import Differences, Measured, Pair, Setting
from vaex.study.quantities import Source
from vaex.study.questions import FEWEST_RATES, LEARNING_RATE, SENSITIVITY, TO_TARGET, Question
from vaex.study.runs import Study, StudyRun


def effect(study: Study, question: Question, some: list[Pair], target: float | None) -> dict[str, Any]:
    """A variant beside the one that it is compared with, in one question.

    `not_comparable` says why there is no number of all pairs: some were stopped early, they are not the same quantity
    in a pair, or, where a number is averaged in its own unit, in several settings (which then stand in `by_setting`,
    each on its own).
    """
    stopped = pairing.stopped(some)
    if question.key.startswith(PREFIX):  # of a pair of which only one was evaluated there is nothing to say
        some = [
            pair for pair in some if question.key in pair.variant.evaluation.keys() & pair.against.evaluation.keys()
        ]
    unlike = stopped or _between_partners(question, some)
    targets = _targets(some, target) if question.key in TO_TARGET and not unlike else {}
    of_curves = question is SENSITIVITY
    measured = [] if unlike else _curves(study, some) if of_curves else _measured(question, some, targets)
    units = [item.pair for item in measured] if of_curves else [] if unlike else some
    found = pairing.differences(measured)
    by_setting = {
        place: pairing.differences([item for item in measured if item.pair.setting == place])
        for place in dict.fromkeys(pair.setting for pair in units)
    }
    why = unlike or _between_settings(question, some, target)
    numbers = _effect(found, question.scale)
    return {
        **(dict.fromkeys(numbers) | {"seeds": found.seeds, "pairs": found.pairs} if why else numbers),
        "not_comparable": why,
        "stopped": bool(stopped),
        "by_setting": [
            {"setting": named(study, place), **_effect(here, question.scale)} for place, here in by_setting.items()
        ],
        "thin": [named(study, place) for place in by_setting if place not in found.settings],
        **_about_targets(study, some, targets),
        **({"rates": _rates(study, measured)} if of_curves else {}),
    }


def _between_partners(question: Question, some: Sequence[Pair]) -> str | None:
    """In what the runs of a pair differ, so that the question's number is not the same quantity in both."""
    partners = [(source(pair.variant, question.key), source(pair.against, question.key)) for pair in some]
    unlike = [run for runs in partners if not quantities.one(runs, question.kind) for run in runs]
    return quantities.between(unlike, question.kind) if unlike else None


def _between_settings(question: Question, some: Sequence[Pair], target: float | None) -> str | None:
    """In what settings differ, so that their numbers have no mean; ratios have no unit, and may have one."""
    in_its_unit = question.scale == "difference" or (question.key in TO_TARGET and target is not None)
    runs = [source(run, question.key) for pair in some for run in (pair.variant, pair.against)]
    return quantities.between(runs, question.kind) if in_its_unit and not quantities.one(runs, question.kind) else None


def source(run: StudyRun, key: str = "") -> Source:
    """What a run's numbers are of; the number of this key, where `vaex evaluate` measured it."""
    return Source(run.config, run.data, run.evaluation[key].measured if key in run.evaluation else "")


def _measured(question: Question, some: Sequence[Pair], targets: Mapping[Setting, float | None]) -> list[Measured]:
    """The pairs that have a number in both runs; logarithms where it is a ratio."""
    ratio = question.scale == "ratio"
    measured = []
    for pair in some:
        both = _both(question.key, pair, targets.get(pair.setting))
        if both is not None and (not ratio or min(both) > 0):
            measured.append(Measured(pair, *(map(math.log, both) if ratio else both)))
    return measured


def _rates(study: Study, measured: Sequence[Measured]) -> int:
    """How many learning rates the curves have; the fewest, where settings have more and fewer."""
    place = pairing.setting_keys(study).index(LEARNING_RATE)
    return min((item.pair.setting[place].count(",") + 1 for item in measured), default=0)


def _curves(study: Study, some: Sequence[Pair]) -> list[Measured]:
    """The curves over the learning rate that are whole in both, with their sensitivities."""
    sides = (pairing.curves(study, [getattr(pair, side) for pair in some]) for side in ("variant", "against"))
    first, second = ({unit: (runs, sensitivity(runs)) for unit, runs in side.items()} for side in sides)
    measured = []
    for (place, seed), (runs, own) in first.items():
        partners, other = second[place, seed]
        if own is not None and other is not None:
            measured.append(Measured(Pair(place, seed, runs[0], partners[0]), own, other))
    return measured


def sensitivity(curve: Sequence[StudyRun]) -> float | None:
    """Mean over the learning rates of the final loss less the best one, in nats per example (see `capped`).

    None of fewer than three rates, or where the loss is known too little; or where no rate trains: its curve is flat.
    """
    losses = capped(curve)
    if len(curve) < FEWEST_RATES or losses is None or min(losses[0]) >= losses[1]:
        return None
    return float(np.mean(losses[0])) - min(losses[0])


def capped(curve: Sequence[StudyRun]) -> tuple[list[float], float] | None:
    """Each run's final validation −ELBO, at most the loss at initialisation; and that, which all runs share.

    A run that diverged, or whose last validation was not finite, has the loss at initialisation.
    """
    known = [found for run in curve if (found := stability.initial_loss(run.steps)) is not None]
    ended = all(run.status == "diverged" or (finished(run) and "valid/elbo" in run.summary) for run in curve)
    if not known or not ended:
        return None
    elbos = [value(run, "valid/elbo") for run in curve]
    return [known[0] if elbo is None else min(-elbo, known[0]) for elbo in elbos], known[0]


def _effect(found: Differences, scale: str) -> dict[str, Any]:
    """A mean difference, or a ratio from the difference of logarithms, in numbers."""
    told = evidence.mean(found.values) if len(found.values) else None
    rough = found.mean_variant - found.mean_against if found.pairs else None
    back = _exp if scale == "ratio" else _same
    return {
        "seeds": found.seeds,
        "pairs": found.pairs,
        "mean_variant": back(found.mean_variant) if found.pairs else None,
        "mean_against": back(found.mean_against) if found.pairs else None,
        "estimate": back(told.estimate if told else rough),
        "low": back(told.low) if told else None,
        "high": back(told.high) if told else None,
        "p": told.p if told else None,
    }


def _both(key: str, pair: Pair, target: float | None) -> tuple[float, float] | None:
    """The question's number of both runs of a pair, or None when it does not have two."""
    if not finished(pair.variant) or not finished(pair.against):
        return None
    if key in TO_TARGET:
        return _times(pair, target, TO_TARGET.index(key))
    first, second = value(pair.variant, key), value(pair.against, key)
    return None if first is None or second is None else (first, second)


def _times(pair: Pair, target: float | None, which: int) -> tuple[float, float] | None:
    """Steps (0) or seconds (1) to the target; a run that never got there counts whole."""
    runs = (pair.variant, pair.against)
    if target is None or not all(map(_whole, runs)):
        return None
    first, second = (stability.to_target(run.rows, target) or stability.whole(run.rows) for run in runs)
    return first[which], second[which]


def _targets(some: list[Pair], given: float | None) -> dict[Setting, float | None]:
    """By setting: the target that was given, or the median final valid ELBO of the worse variant's finished runs."""
    targets: dict[Setting, float | None] = {}
    for place in dict.fromkeys(pair.setting for pair in some):
        here = [pair for pair in some if pair.setting == place]
        finals = [
            [final for run in runs if (final := value(run, "valid/elbo")) is not None]
            for runs in ([pair.variant for pair in here], [pair.against for pair in here])
        ]
        own = min(float(np.median(final)) for final in finals) if all(finals) else None
        targets[place] = own if given is None else given
    return targets


def _about_targets(study: Study, some: list[Pair], targets: Mapping[Setting, float | None]) -> dict[str, Any]:
    if not targets:
        return {}
    reached = [
        sum(
            finished(run) and target is not None and stability.to_target(run.rows, target) is not None
            for run, target in ((getattr(pair, side), targets[pair.setting]) for pair in some)
        )
        for side in ("variant", "against")
    ]
    return {
        "targets": [{"setting": named(study, place), "target": target} for place, target in targets.items()],
        "reached_variant": reached[0],
        "reached_against": reached[1],
    }


def value(run: StudyRun, key: str) -> float | None:
    """A finished run's number for a question (none to target: that takes a target); None for any other run."""
    if not finished(run):
        return None
    if key.startswith(PREFIX):
        return run.evaluation[key].value if key in run.evaluation else None
    return stability.number(run.measures[key] if key in run.measures else run.summary.get(key))


def finished(run: StudyRun) -> bool:
    """Whether it came to the end of its epochs."""
    return run.status == "finished"


def _whole(run: StudyRun) -> bool:
    """Whether no row of metrics.jsonl is lost: what is left would tell of too few steps."""
    return stability.number(run.summary.get("epoch")) == len(run.rows)


def named(study: Study, place: Setting) -> dict[str, str]:
    """A setting by the keys that make it."""
    return dict(zip(pairing.setting_keys(study), place, strict=True))


def _same(number: float | None) -> float | None:
    return number


def _exp(number: float | None) -> float | None:
    """Back from a logarithm; what would be too large is infinite."""
    return None if number is None else math.exp(number) if number < 709 else math.inf  # the float64's last
