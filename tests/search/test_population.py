"""What a population decides, against what the paper says and answers worked out by hand."""

import dataclasses
import math
from collections import Counter

import pytest

from vaex.errors import ConfigError
from vaex.search import explored, population
from vaex.search.explored import Choice, Interval
from vaex.search.population import Settings

SETTINGS = Settings(
    population=8,
    every=1,
    quantile=0.25,
    resample=0.0,
    factors=(0.8, 1.2),
    metric="valid/elbo",
    direction="maximize",
    seed=0,
)
SPACE = {"optimizer.learning_rate": Interval(1e-4, 1e-2, log=True), "kl_weight.beta": Interval(0.5, 2.0, log=False)}
VALUES = [{"optimizer.learning_rate": 1e-3 * (n + 1), "kl_weight.beta": 1.0} for n in range(8)]


def test_the_worst_quarter_goes_on_from_the_best_quarter():
    scores = [-5.0, -1.0, -3.0, -8.0, -2.0, -9.0, -4.0, -6.0]
    decisions = population.decide(SETTINGS, SPACE, 2, scores, VALUES)
    assert [each.member for each in decisions] == [3, 5]
    assert {each.source for each in decisions} <= {1, 4}
    sources = {d.source for e in range(40) for d in population.decide(SETTINGS, SPACE, e, scores, VALUES)}
    assert sources == {1, 4}
    minimized = dataclasses.replace(SETTINGS, direction="minimize")
    assert [each.member for each in population.decide(minimized, SPACE, 2, scores, VALUES)] == [1, 4]


@pytest.mark.parametrize(
    ("scores", "replaced"),
    [
        ([None, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0], [0, 7]),
        ([None, math.nan, -2.0, -3.0, -4.0, -math.inf, -6.0, -7.0], [0, 1, 5]),
        ([None, None, None, None, None, None, None, -7.0], [0, 1, 2, 3, 4, 5, 6]),
        ([None] * 8, []),
    ],
)
def test_a_diverged_member_is_always_replaced(scores: list[float | None], replaced: list[int]):
    assert [each.member for each in population.decide(SETTINGS, SPACE, 1, scores, VALUES)] == replaced


def test_each_number_is_moved_by_one_of_the_factors_and_stays_inside():
    scores = [float(n) for n in range(8)]
    moved = [d for e in range(200) for d in population.decide(SETTINGS, SPACE, e, scores, VALUES)]
    for key in SPACE:
        ratios = Counter(round(each.values[key] / VALUES[each.source][key], 3) for each in moved)
        assert ratios.keys() == {0.8, 1.2}
        assert all(140 < count < 260 for count in ratios.values())  # 200 ± 4 standard deviations
    edge = [{"optimizer.learning_rate": 1e-2, "kl_weight.beta": 0.5}] * 8
    moved = [d for e in range(50) for d in population.decide(SETTINGS, SPACE, e, scores, edge)]
    assert {each.values["optimizer.learning_rate"] for each in moved} == {8e-3, 1e-2}
    assert {each.values["kl_weight.beta"] for each in moved} == {0.5, 0.6}


def test_it_is_drawn_anew_as_often_as_asked():
    often = dataclasses.replace(SETTINGS, resample=0.25)
    scores = [float(n) for n in range(8)]
    moved = [d for e in range(500) for d in population.decide(often, SPACE, e, scores, VALUES)]
    drawn = [d for d in moved if round(d.values["kl_weight.beta"], 6) not in (0.8, 1.2)]
    assert 0.2 < len(drawn) / len(moved) < 0.3
    assert all(0.5 <= each.values["kl_weight.beta"] <= 2 for each in drawn)


def test_decisions_follow_from_seed_epoch_and_member_alone():
    scores = [float(n) for n in range(8)]
    first = population.decide(SETTINGS, SPACE, 3, scores, VALUES)
    assert first == population.decide(SETTINGS, SPACE, 3, scores, VALUES)
    other = dataclasses.replace(SETTINGS, seed=1)
    assert population.begin(SETTINGS, SPACE) == population.begin(SETTINGS, SPACE) != population.begin(other, SPACE)
    drawn = [
        each["optimizer.learning_rate"]
        for s in range(50)
        for each in population.begin(dataclasses.replace(SETTINGS, seed=s), SPACE)
    ]
    assert 0.42 < sum(value < 1e-3 for value in drawn) / len(drawn) < 0.58  # half of a logarithm's interval


def test_listed_values_move_to_a_neighbour():
    choice = Choice((None, 1.0, 10.0))
    found = {choice.move(1.0, population.Random(n), ()) for n in range(20)}
    assert found == {None, 10.0}
    assert {choice.move(None, population.Random(n), ()) for n in range(20)} == {None, 1.0}


def test_a_space_is_read_from_hydras_grammar():
    space, fixed = explored.split(
        [
            "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
            "kl_weight.beta=interval(0.5,2)",
            "training.gradient_clip=null,1.0,10.0",
            "training.max_skips=range(1,4)",
            "training.epochs=4",
        ]
    )
    assert space == SPACE | {
        "training.gradient_clip": Choice((None, 1.0, 10.0)),
        "training.max_skips": Choice((1, 2, 3)),
    }
    assert fixed == ["training.epochs=4"]


def test_a_later_value_takes_a_key_out_of_the_space():
    beta, rate = "kl_weight.beta=interval(0.5,2)", "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"
    assert explored.split([rate, beta, "kl_weight.beta=1"]) == (
        {"optimizer.learning_rate": SPACE["optimizer.learning_rate"]},
        ["kl_weight.beta=1"],
    )
    assert explored.split(["kl_weight.beta=1", beta])[0] == {"kl_weight.beta": SPACE["kl_weight.beta"]}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("a=tag(log,interval(0,1))", "the logarithm needs an interval above 0"),
        ("a=interval(2,1)", "expected interval(low,high) with low below high"),
        ("a=[1],[2]", "expected two numbers or more, each once"),
        ("a=choice(1)", "expected two numbers or more, each once"),
    ],
)
def test_a_wrong_space_is_one_line(override: str, said: str):
    with pytest.raises(ConfigError) as error:
        explored.split([override])
    assert said in str(error.value)
    assert override in str(error.value)
