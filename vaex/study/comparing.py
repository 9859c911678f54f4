"""The answers to what a comparison asks (questions.py): from a study to the numbers and sentences of compare.json.

Diverged runs are in no mean: they are counted, and every mean says over how many runs it is. All p-values of one
question, one for each variant, are corrected together (Holm); the 95 % intervals are not.

compare.json:

    format      1
    vaex        version of this program
    kind        "search" or "population" where the runs are of one and not compared, else null
    by, against, variants (the one compared with first), varied {key: [values]}, target (given, or None)
    directories, problems [line], method [line]
    runs        [{name, directory, variant, seed, setting {key: value}, status, first_nonfinite_step, culprit, epochs,
                steps, wall_seconds, loss_spikes, stability/…, valid/elbo, test/elbo,
                steps_to_target, seconds_to_target (of a given target only, else None)}], in the order of study.runs
    by_variant  {variant: {runs, finished, diverged, stopped, other length, interrupted, failed,
                divergence {count, total, share, low, high} or None,
                means {key of a question: {mean, runs} over its finished runs (no target: no key; none where they are
                not of one quantity); of lr_sensitivity over its curves}}}
    questions   [{key: "divergence" or a question's, title, scale, headline, verdict (a sentence), comparisons: [
                {variant, against, seeds, pairs, estimate, low, high (null beside an estimate: unbounded), p, p_holm,
                answer: "more"|"fewer"|"no difference shown"|"not enough runs to tell"|"not comparable" (of the
                variant, beside against), sentence, …}]}]
                divergence also has: only_variant, only_against (pairs of which only that one diverged), estimate =
                difference of the rates over the pairs, share_low, share_high (exact interval of
                only_variant / (only_variant + only_against)), no low and high.
                stopped (whether a run of its pairs was stopped early: then not_comparable, and no number).
                The others also have mean_variant, mean_against over those pairs (geometric where scale is ratio),
                not_comparable (why not, or None; then all these numbers are None),
                by_setting [{setting, and the same numbers for its pairs alone; p is not corrected}],
                thin [setting {key: value} left out: fewer than five seeds finished in both].
                The ones to target also have targets [{setting, target or None}], reached_variant, reached_against.
                lr_sensitivity, asked of three learning rates or more, has rates (how many); its pairs are curves.
    apart       [line for each kind of number that is not the same quantity in all runs (quantities.py), where there
                are two learning rates only, where there are members of a population, which are in no pair, and
                runs of another length than the rest of their sweep, which are in no mean either]
    verdicts    [the headline questions' sentences; one where all of them lack seeds; then the lines of `apart`]
"""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from vaex import __version__
from vaex.disk import metrics, sweep
from vaex.disk.directory import is_of_population
from vaex.errors import InputError, printable
from vaex.study import effects, evidence, lengths, pairing, quantities, sentences, stability
from vaex.study.pairing import FEWEST, Pair
from vaex.study.questions import FEWEST_RATES, LEARNING_RATE, METHOD, SENSITIVITY, WITHOUT_BOUND, Question, asked
from vaex.study.run import OTHER_LENGTH, STATUSES
from vaex.study.runs import Study, StudyRun, text


def compare(study: Study, target: float | None = None) -> dict[str, Any]:
    """The comparison: what compare.json holds (above), plain values, None for what is not finite or not known."""
    copies = {run.directory for run in study.runs if is_of_population(run.directory)}
    pairs, again = _independent(study, copies)
    sources = [effects.source(run) for run in study.runs]
    independent = len(copies) < len(study.runs)
    instead = "" if quantities.one(sources, "bound") else WITHOUT_BOUND
    questions = [
        _divergence(pairs, study.against),
        *(_ask(study, each, pairs, target, each.headline or each.key == instead) for each in _asked(study)),
    ]
    silent = _of_search(study, questions)
    stopped = [] if silent else _stopped_early(pairs, study)  # of what nobody compares it says nothing new
    spoilt = [*([sentences.COPIES] if copies else []), *stopped, *_of_other_lengths(study)]
    rates = _too_few_rates(study) if independent and not silent else []
    apart = [*spoilt, *quantities.apart(sources), *rates]
    told = [sentences.SEARCHED] if silent else sentences.verdicts(questions)
    return metrics.finite_or_null(
        {
            "format": 1,
            "vaex": __version__,
            "kind": "search" if silent else None if independent else "population",
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
            "apart": apart,
            "verdicts": [*(told if independent else []), *apart],
            "method": list(METHOD),
        }
    )


def _independent(study: Study, copies: Set[Path]) -> tuple[dict[str, list[Pair]], list[str]]:
    """The pairs, less those with a run that goes on from a copy of another one's state."""
    pairs, again = pairing.pairs(study)
    kept = {
        name: [pair for pair in some if not {pair.variant.directory, pair.against.directory} & copies]
        for name, some in pairs.items()
    }
    return kept, again


def _asked(study: Study) -> tuple[Question, ...]:
    """The questions to these runs; that of the learning rate where they have enough of them."""
    return (*asked(study.runs), *([SENSITIVITY] if len(_rates(study)) >= FEWEST_RATES else []))


def _stopped_early(pairs: Mapping[str, list[Pair]], study: Study) -> list[str]:
    """One line for the comparisons that early stopping has spoilt."""
    spoilt = {variant: why for variant, some in pairs.items() if (why := pairing.stopped(some))}
    return [sentences.stopped_early(study.against, spoilt)] if spoilt else []


def _of_other_lengths(study: Study) -> list[str]:
    """One line for the runs that are in no mean, as they ended at another epoch than the rest of their sweep."""
    others = {run.name: text(run.flat.get(lengths.KEY)) for run in study.runs if run.status == OTHER_LENGTH}
    rest = dict.fromkeys(text(run.flat.get(lengths.KEY)) for run in study.runs if run.status != OTHER_LENGTH)
    return [sentences.of_other_lengths(others, list(rest))] if others else []


def _of_search(study: Study, questions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all runs are of searches whose trials have too few seeds in common for any verdict."""
    seeds = [item["seeds"] for question in questions if question["headline"] for item in question["comparisons"]]
    folders = {run.directory.parent for run in study.runs}
    return max(seeds, default=0) < FEWEST and all(map(_is_search, folders))


def _is_search(directory: Path) -> bool:
    try:
        return bool(sweep.read_search(directory))
    except InputError:
        return False


def _too_few_rates(study: Study) -> list[str]:
    """Why nothing is said of the learning rate, although it was varied."""
    rates = _rates(study)
    asked = len(study.variants) > 1 < len(study.varied.get(LEARNING_RATE, ())) and len(rates) < FEWEST_RATES
    return [sentences.too_few_rates(SENSITIVITY.title, rates)] if asked else []


def _rates(study: Study) -> list[str]:
    """The learning rates of the longest curve that a variant has; none where they are what is compared."""
    of_variants = ([run for run in study.runs if run.variant == name] for name in study.variants)
    curves = [curve for some in of_variants for curve in pairing.curves(study, some).values()]
    return [text(run.flat.get(LEARNING_RATE)) for run in max(curves, key=len, default=[])]


def _run(study: Study, run: StudyRun, target: float | None) -> dict[str, Any]:
    summary = run.summary
    last = run.rows[-1] if run.rows else {}
    steps, seconds = (None, None) if target is None else stability.to_target(run.rows, target) or (None, None)
    return {
        "name": run.name,
        "directory": printable(run.directory),
        "variant": run.variant,
        "seed": _shown(run.flat.get("seed")),
        "setting": effects.named(study, pairing.setting(study, run)),
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
    for question in asked(study.runs):
        known = [(run, found) for run in runs if (found := effects.value(run, question.key)) is not None]
        values = [found for _, found in known]
        if values and quantities.one([effects.source(run, question.key) for run, _ in known], question.kind):
            means[question.key] = {"mean": float(np.mean(values)), "runs": len(values)}
    curves = pairing.curves(study, runs).values()
    sensitive = [found for curve in curves if (found := effects.sensitivity(curve)) is not None]
    if sensitive and quantities.one(map(effects.source, runs), SENSITIVITY.kind):
        means[SENSITIVITY.key] = {"mean": float(np.mean(sensitive)), "runs": len(sensitive)}
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
        stopped = pairing.stopped(paired)
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
                "estimate": (first - second) / len(some) if some and not stopped else None,
                "share_low": None if stopped else told.low,
                "share_high": None if stopped else told.high,
                "p": told.p if seeds >= FEWEST and not stopped else None,
                "not_comparable": stopped,
                "stopped": bool(stopped),
            }
        )
    return sentences.answered("divergence", "diverged runs", "share", True, comparisons, sentences.divergence)


def _ask(
    study: Study, question: Question, pairs: Mapping[str, list[Pair]], target: float | None, headline: bool
) -> dict[str, Any]:
    comparisons = [
        {"variant": variant, "against": study.against} | effects.effect(study, question, some, target)
        for variant, some in pairs.items()
    ]
    tell = sentences.difference(question.title, question.scale, question.fewer, question.more)
    return sentences.answered(question.key, question.title, question.scale, headline, comparisons, tell)


def _ended(run: StudyRun) -> bool:
    return run.status in ("finished", "diverged")


def _shown(value: Any) -> Any:
    """A value from a file that goes into another: text without what a terminal would obey."""
    return printable(value) if isinstance(value, str) else value
