"""Each rule against its definition, written down anew over random histories, and on tables worked out by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaex.stopping import asha, hyperband, median, patience
from vaex.stopping.history import Asked, Held, Scores

SCORES = st.integers(-5, 5).map(float) | st.just(-math.inf)
HISTORIES = st.dictionaries(st.integers(0, 30), st.lists(SCORES, min_size=1, max_size=12), min_size=1, max_size=12)


def by_epoch(lists: dict[int, list[float]]) -> dict[int, Scores]:
    return {job: Scores(enumerate(scores, start=1)) for job, scores in lists.items()}


def asked_of(lists: dict[int, list[float]], job: int, epochs: int = 100) -> Asked:
    return Asked(job, len(lists[job]), epochs)


@given(HISTORIES, st.integers(1, 4), st.integers(2, 4), st.randoms())
def test_asha_is_its_definition(lists, min_epochs, factor, random):
    """At a rung: stopped where as many as ⌊n/factor⌋ (one at least) of those that came there are better."""
    job = random.choice(sorted(lists))
    epoch = len(lists[job])
    rungs = [min_epochs * factor**k for k in range(12)]
    held = asha.hold(by_epoch(lists), asked_of(lists, job), min_epochs, factor)
    if epoch not in rungs:
        assert held is None
        return
    there = [scores[epoch - 1] for scores in lists.values() if len(scores) >= epoch]
    better = sum(score > lists[job][-1] for score in there)
    assert held is not None
    assert held.stops == (len(there) >= factor and better >= len(there) // factor)
    assert (held.rung, held.of) == (rungs.index(epoch), len(there))
    assert (held.threshold is None) == (len(there) < factor)


@given(HISTORIES, st.integers(1, 4), st.randoms())
def test_median_is_its_definition(lists, min_epochs, random):
    """The others: all that have come to min_epochs by now, each with the mean of what it has up to this epoch."""
    job = random.choice(sorted(lists))
    epoch = len(lists[job])
    held = median.hold(by_epoch(lists), asked_of(lists, job), min_epochs)
    if epoch < min_epochs:
        assert held is None
        return
    others = [scores[:epoch] for other, scores in lists.items() if other != job and len(scores) >= min_epochs]
    averages = sorted(
        -math.inf if -math.inf in some else float(sum(map(Fraction, some)) / len(some)) for some in others
    )
    assert held is not None
    assert held.of == len(others)
    if len(others) < 4:
        assert held == Held(stops=False, threshold=None, of=len(others))
        return
    middle = averages[(len(averages) - 1) // 2], averages[len(averages) // 2]
    assert held.threshold == pytest.approx(sum(middle) / 2)
    assert held.stops == (max(lists[job]) < held.threshold)


def test_the_median_of_stopped_runs_too_leaves_half_of_the_runs():
    """64 in step, curves that rise and then are flat: of survivors alone the median would rise until three are left."""
    going, history = list(range(64)), {job: Scores() for job in range(64)}
    for epoch in range(1, 31):
        for job in going:
            history[job][epoch] = job / 8 + min(epoch, 10)
        held = {job: median.hold(history, Asked(job, epoch, 31), 2) for job in going}
        going = [job for job in going if not getattr(held[job], "stops", False)]
    assert 28 <= len(going) <= 36
    assert going == list(range(64 - len(going), 64))


@given(st.lists(st.tuples(st.integers(1, 6), SCORES), max_size=12), st.integers(1, 7))
def test_scores_told_in_any_order_have_their_averages_and_bests(told, epoch):
    scores, plain = Scores(told), dict(told)
    assert scores == plain
    for at in plain:
        some = [score for each, score in plain.items() if each <= at]
        assert (scores.averages[at], scores.bests[at]) == (pytest.approx(sum(some) / len(some)), max(some))
    assert scores.until(epoch) == max((at for at in plain if at <= epoch), default=0)


@given(st.lists(SCORES, min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 4))
def test_patience_is_its_definition(scores, min_epochs, wait):
    held = patience.hold(by_epoch({0: scores}), asked_of({0: scores}, 0), min_epochs, wait)
    records = [at for at, score in enumerate(scores, start=1) if score > max(scores[: at - 1], default=-math.inf)]
    since = len(scores) - (records[-1] if records else 1)
    assert (held is not None) == (len(scores) >= min_epochs and since >= wait)
    assert held is None or (held.stops and held.threshold == max(scores))


@given(HISTORIES, st.integers(1, 3), st.integers(2, 4), st.randoms())
def test_hyperband_is_asha_among_those_of_a_bracket(lists, min_epochs, factor, random):
    job = random.choice(sorted(lists))
    shares = hyperband.sizes(12, min_epochs, factor)
    own = hyperband.dealt(job, shares)
    rivals = {each: scores for each, scores in by_epoch(lists).items() if hyperband.dealt(each, shares) == own}
    held = hyperband.hold(by_epoch(lists), asked_of(lists, job, 12), min_epochs, factor)
    alone = asha.hold(rivals, asked_of(lists, job, 12), min_epochs * factor**own, factor)
    assert held == (alone and alone._replace(bracket=own))


def test_hyperband_has_the_brackets_of_its_paper():
    """Li et al. 2018, table 1: R = 81, η = 3 gives 81, 34, 15, 8 and 5 configurations (their text rounds 34 up)."""
    assert hyperband.sizes(81, 1, 3) == (81, 34, 15, 8, 5)
    shares = hyperband.sizes(9, 1, 3)
    assert shares == (9, 5, 3)
    dealt = [hyperband.dealt(job, shares) for job in range(34)]
    assert [dealt[:17].count(bracket) for bracket in range(3)] == list(shares)
    assert dealt[17:] == dealt[:17]
    assert dealt[:5] == [0, 1, 0, 2, 0]


def test_asha_by_hand():
    """Nine runs come to epoch 1 one after the other: the first two go on whatever they are, then the best third."""
    scores = [1.0, 2.0, 0.0, 3.0, 2.5, 2.9, 3.0, -math.inf, 2.9]
    told: dict[int, Scores] = {}
    stops, thresholds = [], []
    for job, score in enumerate(scores):
        told[job] = Scores([(1, score)])
        held = asha.hold(told, Asked(job, 1, 9), 1, 3)
        assert held is not None
        stops.append(held.stops)
        thresholds.append(held.threshold)
    assert stops == [False, False, True, False, True, False, False, True, False]
    assert thresholds == [None, None, 2.0, 3.0, 3.0, 2.9, 3.0, 3.0, 2.9]
    assert [asha.rung_of(epoch, 2, 3) for epoch in (1, 2, 3, 6, 12, 18)] == [None, 0, None, 1, None, 2]


def test_most_runs_are_stopped_at_each_rung():
    """Of many random runs that come to a rung together about a third goes on: the rule does what it is for."""
    scores = np.random.default_rng(0).normal(size=90)
    history = {job: Scores([(1, float(score))]) for job, score in enumerate(scores)}
    on = [job for job in history if not getattr(asha.hold(history, Asked(job, 1, 9), 1, 3), "stops", True)]
    assert sorted(on) == sorted(np.argsort(scores)[-30:].tolist())
