"""What a comparison asks, and its answers: from a study to the numbers of compare.json, with one sentence a question.

Diverged runs are in no mean: they are counted, and every mean says over how many runs it is. All p-values of one
question, one for each variant, are corrected together (Holm); the 95 % intervals are not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vaex import __version__, answers, evidence, metrics, pairing, stability
from vaex.errors import printable
from vaex.pairing import FEWEST, Differences, Measured, Pair, Setting
from vaex.study import STATUSES, Study, StudyRun, text


@dataclass(frozen=True)
class Question:
    """A number of a run in which variants are compared: by difference, or by ratio (of geometric means).

    `fewer` and `more` are the words before the title when the variant that is compared with has less or more of it.
    """

    key: str
    title: str
    scale: Literal["difference", "ratio"]
    fewer: str
    more: str
    headline: bool = False


QUESTIONS = (
    Question("loss_spikes", "loss spikes", "difference", "has fewer", "has more", True),
    Question("steps_to_target", "steps to target", "ratio", "needs fewer", "needs more", True),
    Question("valid/elbo", "final valid ELBO", "difference", "has a lower", "has a higher", True),
    Question("seconds_to_target", "seconds to target", "ratio", "needs fewer", "needs more"),
    Question("test/elbo", "final test ELBO", "difference", "has a lower", "has a higher"),
    Question("stability/grad_norm_p50", "median gradient norm", "ratio", "has a lower", "has a higher"),
    Question("stability/grad_norm_p99", "99 % gradient norm", "ratio", "has a lower", "has a higher"),
    Question("stability/grad_norm_max", "largest gradient norm", "ratio", "has a lower", "has a higher"),
    Question(
        "stability/grad_norm_max_over_p50", "largest / median gradient norm", "ratio", "has a lower", "has a higher"
    ),
    Question("stability/sigma_min", "smallest σ", "ratio", "has a lower", "has a higher"),
    Question("stability/sigma_max", "largest σ", "ratio", "has a lower", "has a higher"),
    Question(
        "stability/valid_change_mean",
        "change of valid/loss from epoch to epoch",
        "difference",
        "has a lower",
        "has a higher",
    ),
    Question("stability/valid_jumps", "jumps of valid/loss", "difference", "has fewer", "has more"),
)

TO_TARGET = ("steps_to_target", "seconds_to_target")

METHOD = (
    "A pair is two runs that differ only in what is compared: same seed, same everything else. The seed is the unit: "
    "each gives one difference, the mean over its settings, so pairs that share a seed are not counted as independent.",
    "Means, differences and ratios are over pairs in which both runs finished. Diverged runs are in no mean: they are "
    "counted as diverged. Interrupted and failed runs are in neither.",
    "95 % intervals of mean differences: symmetric studentised bootstrap, 9 999 resamples; ratios the same on "
    "logarithms. In simulation with 5 to 10 seeds they cover the truth in 96 to 99 % of cases where differences are "
    "symmetric, in 93 % where they are exponential, in 88 to 90 % where they are lognormal.",
    "Divergence: rates with Wilson's 95 % interval; McNemar's exact test on the pairs of which only one diverged, with "
    "the exact interval of that share. Here pairs of one seed at different settings count as independent.",
    "Several variants against one: the p-values of a question are corrected together by Holm's method, and a verdict "
    "needs a corrected p of at most 0.05. The intervals are not corrected.",
    "Steps and seconds to target: until valid/elbo first reaches the target, in a straight line between two epochs. "
    "The target of a setting is the median final valid/elbo of the worse of the two variants over its finished runs, "
    "unless one was given. A run that ends without reaching it counts with all its steps: that can only move a ratio "
    "towards 1. A setting in which a variant never finishes has no target of its own and is left out.",
    "With fewer than five seeds in common nothing is concluded: not enough runs to tell.",
)


def compare(study: Study, target: float | None = None) -> dict[str, Any]:
    """The comparison: everything that compare.json holds, plain values, None for what is not finite or not known.

    format      1
    vaex        version of this program
    by, against, variants (the one compared with first), varied {key: [values]}, target (given, or None)
    directories, problems [line], method [line]
    runs        [{name, directory, variant, seed, setting {key: value}, status, first_nonfinite_step, culprit, epochs,
                steps, wall_seconds, loss_spikes, stability/…, valid/elbo, test/elbo,
                steps_to_target, seconds_to_target (of a given target only, else None)}], in the order of study.runs
    by_variant  {variant: {runs, finished, diverged, interrupted, failed,
                divergence {count, total, share, low, high} or None,
                means {key of a question: {mean, runs} over its finished runs (no target: no key)}}}
    questions   [{key: "divergence" or a question's, title, scale, headline, verdict (a sentence), comparisons: [
                {variant, against, seeds, pairs, estimate, low, high (null beside an estimate: unbounded), p, p_holm,
                answer: "more"|"fewer"|"no difference shown"|"not enough runs to tell" (of the variant, beside
                against), sentence, …}]}]
                divergence also has: only_variant, only_against (pairs of which only that one diverged), estimate =
                difference of the rates over the pairs, share_low, share_high (exact interval of
                only_variant / (only_variant + only_against)), no low and high.
                The others also have mean_variant, mean_against over those pairs (geometric where scale is ratio),
                by_setting [{setting, and the same numbers for its pairs alone; p is not corrected}],
                thin [setting {key: value} left out: fewer than five seeds finished in both].
                The ones to target also have targets [{setting, target or None}], reached_variant, reached_against.
    verdicts    [the headline questions' sentences; one where all of them lack seeds]
    """
    pairs, again = pairing.pairs(study)
    questions = [_divergence(pairs, study.against), *(_ask(study, question, pairs, target) for question in QUESTIONS)]
    return metrics.finite_or_null(
        {
            "format": 1,
            "vaex": __version__,
            "by": study.by,
            "against": study.against,
            "variants": study.variants,
            "varied": {text(key): list(map(_shown, values)) for key, values in study.varied.items()},
            "target": target,
            "directories": [printable(path) for path in study.directories],
            "problems": [*study.problems, *again],
            "runs": [_run(study, run, target) for run in study.runs],
            "by_variant": {name: _variant(study, name) for name in study.variants},
            "questions": questions,
            "verdicts": answers.verdicts(questions),
            "method": list(METHOD),
        }
    )


def _run(study: Study, run: StudyRun, target: float | None) -> dict[str, Any]:
    summary = run.summary
    last = run.rows[-1] if run.rows else {}
    steps, seconds = (None, None) if target is None else stability.to_target(run.rows, target) or (None, None)
    return {
        "name": run.name,
        "directory": printable(run.directory),
        "variant": run.variant,
        "seed": _shown(run.flat.get("seed")),
        "setting": _named(study, pairing.setting(study, run)),
        "status": run.status,
        "first_nonfinite_step": stability.number(summary.get("first_nonfinite_step")),
        "culprit": _shown(summary.get("culprit")),
        "epochs": len(run.rows),
        "steps": stability.number(last.get("step")),
        "wall_seconds": stability.number(summary.get("wall_seconds")),
        **run.measures,
        "valid/elbo": stability.number(summary.get("valid/elbo")),
        "test/elbo": stability.number(summary.get("test/elbo")),
        "steps_to_target": steps,
        "seconds_to_target": seconds,
    }


def _variant(study: Study, name: str) -> dict[str, Any]:
    """Counts, divergence rate and means of one variant, over all its runs, paired or not."""
    runs = [run for run in study.runs if run.variant == name]
    counts = {status: sum(run.status == status for run in runs) for status in STATUSES}
    ended = counts["finished"] + counts["diverged"]
    means = {}
    for question in QUESTIONS:
        values = [found for run in runs if (found := value(run, question.key)) is not None]
        if values:
            means[question.key] = {"mean": float(np.mean(values)), "runs": len(values)}
    rate = {"count": counts["diverged"], "total": ended}
    divergence = rate | evidence.rate(counts["diverged"], ended)._asdict() if ended else None
    return {"runs": len(runs), **counts, "divergence": divergence, "means": means}


def _divergence(pairs: Mapping[str, list[Pair]], against: str) -> dict[str, Any]:
    """How often runs diverge: rates over pairs that both came to an end, McNemar's test between them."""
    comparisons = []
    for variant, paired in pairs.items():
        some = [pair for pair in paired if _ended(pair.variant) and _ended(pair.against)]
        diverged = [(pair.variant.status == "diverged", pair.against.status == "diverged") for pair in some]
        first, second = diverged.count((True, False)), diverged.count((False, True))
        told = evidence.discordance(first, second)
        seeds = len({pair.seed for pair in some})
        both = diverged.count((True, True))
        comparisons.append(
            {
                "variant": variant,
                "against": against,
                "seeds": seeds,
                "pairs": len(some),
                "diverged_variant": both + first,
                "diverged_against": both + second,
                "only_variant": first,
                "only_against": second,
                "estimate": (first - second) / len(some) if some else None,
                "share_low": told.low,
                "share_high": told.high,
                "p": told.p if seeds >= FEWEST else None,
            }
        )
    return answers.answered("divergence", "diverged runs", "share", True, comparisons, answers.divergence)


def _ask(study: Study, question: Question, pairs: Mapping[str, list[Pair]], target: float | None) -> dict[str, Any]:
    comparisons = [
        {"variant": variant, "against": study.against} | _compare(study, question, some, target)
        for variant, some in pairs.items()
    ]
    tell = answers.difference(question.title, question.scale, question.fewer, question.more)
    return answers.answered(question.key, question.title, question.scale, question.headline, comparisons, tell)


def _compare(study: Study, question: Question, some: list[Pair], target: float | None) -> dict[str, Any]:
    """A variant beside the one that it is compared with, in one question."""
    targets = _targets(some, target) if question.key in TO_TARGET else {}
    ratio = question.scale == "ratio"
    measured = []
    for pair in some:
        both = _both(question.key, pair, targets.get(pair.setting))
        if both is not None and (not ratio or min(both) > 0):
            measured.append(Measured(pair, *(map(math.log, both) if ratio else both)))
    found = pairing.differences(measured)
    by_setting = {
        place: pairing.differences([item for item in measured if item.pair.setting == place])
        for place in dict.fromkeys(pair.setting for pair in some)
    }
    return {
        **_effect(found, question.scale),
        "by_setting": [
            {"setting": _named(study, place), **_effect(here, question.scale)} for place, here in by_setting.items()
        ],
        "thin": [_named(study, place) for place in by_setting if place not in found.settings],
        **_about_targets(study, some, targets),
    }


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
    if not _finished(pair.variant) or not _finished(pair.against):
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
            _finished(run) and target is not None and stability.to_target(run.rows, target) is not None
            for run, target in ((getattr(pair, side), targets[pair.setting]) for pair in some)
        )
        for side in ("variant", "against")
    ]
    return {
        "targets": [{"setting": _named(study, place), "target": target} for place, target in targets.items()],
        "reached_variant": reached[0],
        "reached_against": reached[1],
    }


def value(run: StudyRun, key: str) -> float | None:
    """A finished run's number for a question (none to target: that takes a target); None for any other run."""
    if not _finished(run):
        return None
    return stability.number(run.summary.get(key) if key.endswith("/elbo") else run.measures.get(key))


def _finished(run: StudyRun) -> bool:
    return run.status == "finished"


def _whole(run: StudyRun) -> bool:
    """Whether no row of metrics.jsonl is lost: what is left would tell of too few steps."""
    return stability.number(run.summary.get("epoch")) == len(run.rows)


def _ended(run: StudyRun) -> bool:
    return run.status in ("finished", "diverged")


def _named(study: Study, place: Setting) -> dict[str, str]:
    return dict(zip(pairing.setting_keys(study), place, strict=True))


def _shown(value: Any) -> Any:
    """A value from a file that goes into another: text without what a terminal would obey."""
    return printable(value) if isinstance(value, str) else value


def _same(number: float | None) -> float | None:
    return number


def _exp(number: float | None) -> float | None:
    """Back from a logarithm; what would be too large is infinite."""
    return None if number is None else math.exp(number) if number < 709 else math.inf  # the float64's last
