"""What a comparison asks, and its answers: from a study to the numbers of compare.json, with one sentence a question.

Diverged runs are in no mean: they are counted, and every mean says over how many runs it is. All p-values of one
question, one for each variant, are corrected together (Holm); the 95 % intervals are not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vaex import __version__, evidence, metrics, pairing, stability
from vaex.pairing import FEWEST, Pair
from vaex.study import Study, StudyRun, text


@dataclass(frozen=True)
class Question:
    """A number of a run in which variants are compared: by difference, or by ratio (of geometric means).

    `fewer` and `more` are the words between the variant compared with and the other one.
    """

    key: str
    title: str
    scale: Literal["difference", "ratio"]
    fewer: str
    more: str
    headline: bool = False


QUESTIONS = (
    Question("loss_spikes", "loss spikes a run", "difference", "has fewer loss spikes than", "has more loss spikes than", True),
    Question("steps_to_target", "steps to target", "ratio", "needs fewer steps than", "needs more steps than", True),
    Question("valid/elbo", "final valid ELBO, nats", "difference", "ends below", "ends above", True),
    Question("seconds_to_target", "seconds to target", "ratio", "takes less time than", "takes more time than"),
    Question("test/elbo", "final test ELBO, nats", "difference", "ends below", "ends above"),
    Question("stability/grad_norm_p50", "median gradient norm", "ratio", "is below", "is above"),
    Question("stability/grad_norm_p99", "99 % gradient norm", "ratio", "is below", "is above"),
    Question("stability/grad_norm_max", "largest gradient norm", "ratio", "is below", "is above"),
    Question("stability/grad_norm_max_over_p50", "largest / median gradient norm", "ratio", "is below", "is above"),
    Question("stability/sigma_min", "smallest σ", "ratio", "is below", "is above"),
    Question("stability/sigma_max", "largest σ", "ratio", "is below", "is above"),
    Question("stability/valid_change_mean", "change of valid/loss an epoch, nats", "difference", "is below", "is above"),
    Question("stability/valid_jumps", "jumps of valid/loss", "difference", "has fewer jumps than", "has more jumps than"),
)

METHOD = (
    "A pair is two runs that differ only in what is compared: same seed, same everything else. The seed is the unit: "
    "each gives one difference, the mean over its settings, so pairs that share a seed are not counted as independent.",
    "Means, differences and ratios are over pairs in which both runs finished. Diverged runs are in no mean: they are "
    "counted as diverged. Interrupted and failed runs are in neither.",
    "95 % intervals of mean differences: symmetric studentised bootstrap, 9 999 resamples; ratios the same on "
    "logarithms. In simulation they cover the truth in 95 to 99 % of cases at 5 to 10 seeds where differences are "
    "symmetric, 88 to 95 % where they are very skewed.",
    "Divergence: rates with Wilson's 95 % interval; McNemar's exact test on the pairs of which only one diverged, with "
    "the exact interval of that share. Here pairs of one seed at different settings count as independent.",
    "Several variants against one: the p-values of a question are corrected together by Holm's method, and a verdict "
    "needs a corrected p of at most 0.05. The intervals are not corrected.",
    "Steps and seconds to target: until valid/elbo first reaches the target, in a straight line between two epochs. "
    "The target of a setting is the median final valid/elbo of the worse of the two variants over its finished runs, "
    "unless one was given. A run that ends without reaching it counts with all its steps, which understates the ratio "
    "to one that did; pairs in which neither did are left out. A setting in which a variant never finishes has no "
    "target of its own.",
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
                thin [setting {key: value} left out: fewer than five seeds finished in both].
                The ones to target also have targets [{setting, target or None}], reached_variant, reached_against.
    verdicts    [the headline questions' sentences]
    """
    _, again = pairing.cells(study)
    questions = [_divergence(study), *(_ask(study, question, target) for question in QUESTIONS)]
    return metrics.finite_or_null(
        {
            "format": 1,
            "vaex": __version__,
            "by": study.by,
            "against": study.against,
            "variants": study.variants,
            "varied": study.varied,
            "target": target,
            "problems": [*study.problems, *again],
            "runs": [_run(study, run, target) for run in study.runs],
            "by_variant": {name: _variant(study, name) for name in study.variants},
            "questions": questions,
            "verdicts": [question["verdict"] for question in questions if question["headline"]],
            "method": list(METHOD),
        }
    )
