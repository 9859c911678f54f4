"""What a comparison asks of its runs, and by which method: the questions in the order in which they are answered."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from vaex.study.quantities import Kind
from vaex.study.run import StudyRun


@dataclass(frozen=True)
class Question:
    """A number of a run in which variants are compared: by difference, or by ratio (of geometric means).

    `kind` is what the number must be of in both (see quantities.py). `fewer` and `more` are the words before the title
    when the variant that is compared with has less or more of it. A headline's verdict is printed.
    """

    key: str
    title: str
    scale: Literal["difference", "ratio"]
    kind: Kind
    fewer: str
    more: str
    headline: bool


NEEDS, HAS_COUNT, HAS = ("needs fewer", "needs more"), ("has fewer", "has more"), ("has a lower", "has a higher")

QUESTIONS = (
    Question("loss_spikes", "loss spikes", "difference", "spikes", *HAS_COUNT, True),
    Question("steps_to_target", "steps to target", "ratio", "bound", *NEEDS, True),
    Question("valid/elbo", "final valid ELBO", "difference", "bound", *HAS, True),
    Question("active_latents", "active latents", "difference", "anything", *HAS_COUNT, False),
    Question("seconds_to_target", "seconds to target", "ratio", "bound", *NEEDS, False),
    Question("test/elbo", "final test ELBO", "difference", "bound", *HAS, False),
    Question("stability/grad_norm_p50", "median gradient norm", "ratio", "objective", *HAS, False),
    Question("stability/grad_norm_p99", "99 % gradient norm", "ratio", "objective", *HAS, False),
    Question("stability/grad_norm_max", "largest gradient norm", "ratio", "objective", *HAS, False),
    Question("stability/grad_norm_max_over_p50", "largest / median gradient norm", "ratio", "anything", *HAS, False),
    Question("stability/sigma_min", "smallest σ", "ratio", "anything", *HAS, False),
    Question("stability/sigma_max", "largest σ", "ratio", "anything", *HAS, False),
    Question(
        "stability/valid_change_mean",
        "change of valid/loss from epoch to epoch",
        "difference",
        "objective",
        *HAS,
        False,
    ),
    Question("stability/valid_jumps", "jumps of valid/loss", "difference", "anything", *HAS_COUNT, False),
)

LEARNING_RATE = "optimizer.learning_rate"

SENSITIVITY = Question("lr_sensitivity", "learning-rate sensitivity", "difference", "bound", *HAS, True)
"""Asked where the runs have at least `FEWEST_RATES` learning rates: its number is a curve's, not a run's."""

FEWEST_RATES = 3

OF_CODES = ("active_units", "information", "probe", "knn", "disentanglement", "sample_quality")
"""Metrics whose numbers are of codes or samples. Any other (nll; a plugin's, which may be anything) is of log p."""

EVALUATED_HEADLINE = "eval/nll"
"""The number of `vaex evaluate` whose verdict is printed."""

WITHOUT_BOUND = "active_latents"
"""The question that is a headline too where the runs have no ELBO in common."""


def asked(runs: Iterable[StudyRun]) -> tuple[Question, ...]:
    """All questions to these runs: those above, and one for each number that `vaex evaluate` has measured."""
    found = {key: each.metric for run in runs for key, each in run.evaluation.items()}
    evaluated = (
        Question(key, key, "difference", "data" if metric in OF_CODES else "bound", *HAS, key == EVALUATED_HEADLINE)
        for key, metric in found.items()
    )
    return (*QUESTIONS, *evaluated)


TO_TARGET = ("steps_to_target", "seconds_to_target")

METHOD = (
    "A pair is two runs that differ only in what is compared: same seed, same everything else. The seed is the unit: "
    "each gives one difference, the mean over its settings, so pairs that share a seed are not counted as independent.",
    "Means, differences and ratios are over pairs in which both runs finished. Diverged runs are in no mean: they are "
    "counted as diverged. Stopped, interrupted and failed runs are in neither, nor are runs that ended at another "
    "epoch than the rest of their sweep (trained for longer by themselves, or stopped and not taken to their end).",
    "Runs that a rule stopped early (sweep.stop) were chosen by how good they were, and so were those that came to "
    "their end: where a pair of two variants has one, no question between the two is answered, that of divergence "
    "included (who is stopped early cannot diverge late). Variants whose pairs all came to their end are compared.",
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
    "Learning-rate sensitivity (Wortsman et al. 2023): of a seed's runs at all learning rates, the mean of the final "
    "validation −ELBO less the best one, each at most the loss at initialisation, which is also that of a run that "
    "diverged. It is 0 where all rates do equally well. The loss at initialisation is −ELBO of the first batch before "
    "any update, whatever kl_weight charges. Three rates at least, evenly on a log scale if the mean is to be one over "
    "that range. A seed that lacks the end of one of its runs, or at which no rate trains, has no number.",
    "What runs do not have in common is not compared: ELBO, reconstruction and steps to an ELBO need the same kind of "
    "log p, observation and data; gradient norms and valid/loss the same kl_weight too; loss spikes the same "
    "training.spike_nats. Where settings differ in it, numbers in nats are not averaged over them, and each setting "
    "stands on its own (by_setting in compare.json).",
    "eval/…: what `vaex evaluate` measured of finished runs; compared where it was measured alike (split, limit, "
    "samples, options). The interval is over seeds; the standard error of one run, over examples, is not in it.",
    "With fewer than five seeds in common nothing is concluded: not enough runs to tell.",
)
