"""The words of a comparison: what each question's numbers say, and one sentence with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vaex.study import evidence
from vaex.study.pairing import FEWEST

NOT_SHOWN = "no difference shown"
COPIES = "no verdict on a population: its members go on from copies of each other, so they are not independent runs"

TOO_FEW = "not enough runs to tell"

SEARCHED = "a search makes no verdicts: its trials were chosen by their results"
NOT_COMPARABLE = "not comparable"

MOST_NAMED = 8
"""Runs, or variants, that a line names; of more it says how many there are."""

Comparison = dict[str, Any]


def answered(
    key: str,
    title: str,
    scale: str,
    headline: bool,
    comparisons: list[Comparison],
    sentence: Callable[[Comparison], str],
) -> dict[str, Any]:
    """A question with its comparisons: p corrected over them (Holm), an answer and a sentence each, and the verdict."""
    for comparison, p in zip(comparisons, evidence.holm([item["p"] for item in comparisons]), strict=True):
        comparison["p_holm"] = p
        higher = (comparison["estimate"] or 0.0) > (1.0 if scale == "ratio" else 0.0)
        shown = "more" if higher else "fewer"
        told = TOO_FEW if p is None else shown if p <= evidence.LEVEL else NOT_SHOWN
        comparison["answer"] = NOT_COMPARABLE if comparison.get("not_comparable") else told
        comparison["sentence"] = sentence(comparison)
    verdict = _verdict(title, comparisons)
    return {
        "key": key,
        "title": title,
        "scale": scale,
        "headline": headline,
        "verdict": verdict,
        "comparisons": comparisons,
    }


def verdicts(questions: Sequence[dict[str, Any]]) -> list[str]:
    """The headline questions' verdicts; one line where nothing can be said about any of them for want of seeds.

    A question whose number no two of the runs have in common has none.
    """
    headline = [question for question in questions if question["headline"] and not unanswerable(question)]
    comparisons = [item for question in headline for item in question["comparisons"]]
    if not comparisons or any(item["answer"] != TOO_FEW or item["seeds"] >= FEWEST for item in comparisons):
        return [question["verdict"] for question in headline]
    names = list(dict.fromkeys([comparisons[0]["against"], *(item["variant"] for item in comparisons)]))
    seeds = max(item["seeds"] for item in comparisons)
    return [f"{TOO_FEW} {', '.join(names)} apart: at most {seeds} seeds in common at one setting, {FEWEST} needed"]


def unanswerable(question: Mapping[str, Any]) -> bool:
    """Whether a question's number is not the same quantity in any comparison."""
    comparisons = question["comparisons"]
    return bool(comparisons) and all(item["answer"] == NOT_COMPARABLE for item in comparisons)


def divergence(comparison: Comparison) -> str:
    """How often each diverges, and in how many pairs only one did."""
    variant, against, pairs = comparison["variant"], comparison["against"], comparison["pairs"]
    if comparison["answer"] == NOT_COMPARABLE:
        return not_comparable(comparison, "divergence")
    if comparison["answer"] == TOO_FEW:
        return too_few(comparison, "divergence")
    counts = f"{_of(comparison['diverged_against'], pairs)} against {_of(comparison['diverged_variant'], pairs)}"
    discordant = comparison["only_variant"] + comparison["only_against"]
    if not discordant:
        return f"{NOT_SHOWN}: {against} diverged as often as {variant}, {counts}"
    only = (
        f"of the pairs in which only one diverged it was {variant} in {comparison['only_variant']} of {discordant} "
        f"(95 % interval {percent(comparison['share_low'])} to {percent(comparison['share_high'])}; "
        f"{_p(comparison)})"
    )
    words = {"more": "diverges less often than", "fewer": "diverges more often than"}
    if comparison["answer"] == NOT_SHOWN:
        return f"{NOT_SHOWN}: {against} diverged in {counts} with {variant}; {only}"
    return f"{against} {words[comparison['answer']]} {variant}: {counts}; {only}"


def difference(title: str, scale: str, fewer: str, more: str) -> Callable[[Comparison], str]:
    """The sentence of a mean difference or ratio."""

    def sentence(comparison: Comparison) -> str:
        variant, against = comparison["variant"], comparison["against"]
        if comparison["answer"] == NOT_COMPARABLE:
            return not_comparable(comparison, title)
        if comparison["answer"] == TOO_FEW:
            return too_few(comparison, title)
        rates = comparison.get("rates")
        of = "pairs that finished" if rates is None else f"curves over {rates} learning rates"
        bounds = f"{_interval(comparison)}; {_p(comparison)}; {comparison['pairs']} {of}, {comparison['seeds']} seeds)"
        apart = f"{variant} / {against}" if scale == "ratio" else f"{variant} − {against}"
        numbers = (
            f"{show(comparison['mean_against'])} against {show(comparison['mean_variant'])}, "
            f"{apart} = {show(comparison['estimate'])} ({bounds}"
        )
        if comparison["answer"] == NOT_SHOWN:
            return f"{NOT_SHOWN} in {title} between {against} and {variant}: {numbers}"
        words = fewer if comparison["answer"] == "more" else more
        return f"{against} {words} {title} than {variant}: {numbers}"

    return sentence


def too_few(comparison: Comparison, title: str) -> str:
    """What is missing for a verdict."""
    variant, against, seeds = comparison["variant"], comparison["against"], comparison["seeds"]
    untimed = [item for item in comparison.get("targets", ()) if item["target"] is None]
    if untimed:
        return (
            f"{TOO_FEW} {against} and {variant} apart in {title}: in {len(untimed)} of "
            f"{len(comparison['targets'])} settings one of them never finishes, so there is no target: give --target"
        )
    return (
        f"{TOO_FEW} {against} and {variant} apart in {title}: {seeds} seeds in common at one setting, {FEWEST} needed"
    )


def too_few_rates(title: str, rates: Sequence[str]) -> str:
    """Why that question is not asked."""
    there = f"here are {len(rates)} ({', '.join(rates)})" if rates else "no seed has the ends of all its runs"
    return f"not compared: {title}, which needs three learning rates; {there}"


def stopped_early(against: str, spoilt: Mapping[str, str]) -> str:
    """Which comparisons early stopping has spoilt, and what mends them."""
    which = "; ".join(f"{against} and {variant}: {why}" for variant, why in list(spoilt.items())[:MOST_NAMED])
    which += f"; and {len(spoilt) - MOST_NAMED} more" if len(spoilt) > MOST_NAMED else ""
    return (
        f"not compared: anything between {which}, and results chose which; "
        "`vaex resume RUN training.epochs=N` takes a stopped run to its end"
    )


def of_other_lengths(others: Mapping[str, str], rest: Sequence[str]) -> str:
    """Which runs are in no mean for want of epochs, or for too many; `others` has their epochs by their names."""
    named = ", ".join(f"{name} ({epochs})" for name, epochs in list(others.items())[:MOST_NAMED])
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return (
        f"in no mean, being of another length than the rest ({', '.join(rest)} epochs): {named}{more}; "
        "`vaex compare … --by training.epochs` compares lengths"
    )


def not_comparable(comparison: Comparison, title: str) -> str:
    """Why there is no number: the two have none in common, or their settings have not."""
    between = f"{NOT_COMPARABLE} in {title}: {comparison['against']} and {comparison['variant']}"
    if comparison["stopped"]:
        return f"{between}, {comparison['not_comparable']}"
    if not comparison["by_setting"]:
        return f"{between} have another quantity each, {comparison['not_comparable']}"
    return f"{between} over all settings, {comparison['not_comparable']}; by_setting has each setting on its own"


def _verdict(title: str, comparisons: Sequence[Comparison]) -> str:
    """One sentence: that of the one comparison, or what was shown, and for whom nothing was."""
    if len(comparisons) < 2:
        return comparisons[0]["sentence"] if comparisons else f"{title}: only one variant, nothing to compare"
    parts = [item["sentence"] for item in comparisons if item["answer"] in ("more", "fewer")]
    for answer in (NOT_SHOWN, TOO_FEW, NOT_COMPARABLE):
        names = [item["variant"] for item in comparisons if item["answer"] == answer]
        if names:
            word = "with" if answer == NOT_COMPARABLE else "from"
            parts.append(f"{answer} {word} {comparisons[0]['against']} in {title}: {', '.join(names)}")
    return "; ".join(parts)


def show(number: float | None) -> str:
    """Three digits, or as many as stand before the point."""
    return "–" if number is None else f"{number:,.0f}" if 1000 <= abs(number) < 1e9 else f"{number:.3g}"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return "–" if share is None else f"{100 * share:.0f} %"


def _of(count: int, total: int) -> str:
    rate = evidence.rate(count, total)
    return f"{count} of {total} runs ({percent(rate.low)} to {percent(rate.high)})"


def _interval(comparison: Comparison) -> str:
    low, high = comparison["low"], comparison["high"]
    return f"95 % interval {show(low)} to {show(high)}"


def _p(comparison: Comparison) -> str:
    p = comparison["p_holm"]
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
