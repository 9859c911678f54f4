"""Hydra's grammar of sweeps as a search space: every form by its known meaning, every mistake one line."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.support.configurations import make
from vaex.errors import ConfigError
from vaex.search import objectives, space
from vaex.search.settings import parse
from vaex.search.space import as_text


def parameter(line: str) -> space.Parameter:
    (found,) = space.parameters([line])
    return found


def test_choices_are_what_the_grammar_says():
    assert parameter("loss=gamma,sigma").choices == ("gamma", "sigma")
    assert parameter("loss=choice(gamma,sigma,gamma)").choices == ("gamma", "sigma")
    assert parameter("x=sort(3,1,2)").choices == (1, 2, 3)
    assert parameter("x=shuffle(choice(1,2,3))").choices == (1, 2, 3)
    assert parameter("x=str(choice(1,2))").choices == ("1", "2")
    assert parameter("x=null,true,0.5,[1,2],'a b'").choices == (None, True, 0.5, "[1,2]", "'a b'")


def test_numbers_are_what_the_grammar_says():
    latents = parameter("model.latent_dim=range(2,65)")
    assert (latents.low, latents.high, latents.step, latents.log) == (2, 64, 1, False)
    down = parameter("x=range(10,2,-3)")
    assert (down.low, down.high, down.listed()) == (4, 10, (4, 7, 10))
    rate = parameter("x=tag(log,interval(1e-4,1e-2))")
    assert (rate.low, rate.high, rate.step, rate.log) == (1e-4, 1e-2, None, True)
    whole = parameter("x=int(interval(2,64))")
    assert (whole.low, whole.high, type(whole.low)) == (2, 64, int)
    assert parameter("x=tag(int,log,interval(2,64))").log
    assert parameter("x=range(0.0,1.0,0.25)").listed() == (0.0, 0.25, 0.5, 0.75)


def test_optuna_draws_from_it():
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    assert parameter("x=a,b").distribution() == CategoricalDistribution(("a", "b"))
    assert parameter("x=range(2,65)").distribution() == IntDistribution(2, 64)
    assert parameter("x=range(2,65,4)").distribution() == IntDistribution(2, 62, step=4)
    assert parameter("x=tag(log,interval(1e-4,1e-2))").distribution() == FloatDistribution(1e-4, 1e-2, log=True)


@pytest.mark.parametrize("value", [None, True, 3, 1e-05, 0.1 + 0.2, "[64,32]", "'a b'", "gamma"])
def test_an_override_gives_the_value_back(value: space.Value):
    item = OverridesParser.create().parse_override(f"x={as_text(value)}")
    texts = {"[64,32]": [64, 32], "'a b'": "a b"}
    assert item.value() == texts.get(value, value) if isinstance(value, str) else item.value() == value


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x=tag(log,interval(0,1))", "begins above 0"),
        ("x=tag(log,range(0,9))", "begins above 0"),
        ("x=interval(2,2)", "low below high"),
        ("x=int(tag(log,interval(-2,5)))", "begins above 0"),
        ("x=tag(log,choice(1,2))", "means nothing here"),
        ("x=tag(gauss,interval(1,2))", "'gauss'"),
        ("x=tag(log,range(1,9,2))", "no steps"),
        ("x=range(0,100000)", "100000 values"),
        ("x=int(range(1,3,0.5))", "steps of 0"),
        ("x=tag(int,range(1,3,0.5))", "whole"),
        ("x=choice(0,false,1,true)", "0 and false cannot be told apart"),
        ("x=choice(1,2,1.0)", "1 and 1.0 cannot"),
        ("x=1", "expected choice"),
        ("seed=0,1", "nothing to search"),
    ],
)
def test_a_wrong_space_is_one_line(line: str, says: str):
    with pytest.raises(ConfigError, match=says) as caught:
        space.parameters([line])
    assert "\n" not in str(caught.value)


def test_a_list_of_seeds_is_no_dimension():
    assert space.seeds(["seed=3,1", "x=1,2"], base=0, repeats=1) == (3, 1)
    assert space.seeds(["seed=range(0,3)"], base=0, repeats=1) == (0, 1, 2)
    assert space.seeds(["x=1,2"], base=5, repeats=3) == (5, 6, 7)
    for lines, repeats in ((["seed=0,1"], 2), (["seed=interval(0,9)"], 1), (["seed=-1,0"], 1)):
        with pytest.raises(ConfigError, match="seed"):
            space.seeds(lines, base=0, repeats=repeats)
    with pytest.raises(ConfigError, match="largest seed"):
        space.seeds([], base=2**32 - 1, repeats=2)


def test_directions_follow_from_the_meaning_or_are_asked_for():
    assert objectives.check(["valid/elbo"], None, []) == ("maximize",)
    assert objectives.check(["test/loss", "valid/elbo"], None, []) == ("minimize", "maximize")
    assert objectives.check(["active_latents"], ["minimize"], []) == ("minimize",)
    for keys, directions, says in (
        (["active_latents"], None, "large or small"),
        (["valid/elbo", "valid/elbo"], None, "twice"),
        (["valid/elbo"], ["maximize", "minimize"], "one for each"),
        (["valid/elbow"], None, "did you mean 'valid/elbo'"),
        (["first_nonfinite_step"], None, "no run has the number"),  # a trial that has it has failed
    ):
        with pytest.raises(ConfigError, match=says):
            objectives.check(keys, directions, [])


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            "sweep.objective=valid/elboo",
            "sweep.objective: no run has the number 'valid/elboo'; did you mean 'valid/elbo'",
        ),
        ("sweep.objective=[test/elbo,nope]", "sweep.objective: no run has the number 'nope'"),
        ("sweep.objective=eval/nll", r"sweep.objective: eval/nll is of a metric that no run measures: .* is \[\]"),
    ],
)
def test_what_another_sweeper_is_told_is_a_number_of_a_run(typed: str, says: str):
    """Also of a lone run and a grid: nobody would notice until its sweeper got nothing but nan."""
    with pytest.raises(ConfigError, match=says):
        objectives.check_of_sweep([make("dataset=digits", typed)])
    objectives.check_of_sweep([make("dataset=digits", "sweep.objective=[test/elbo,loss_spikes]")])


def test_an_empty_list_is_said_in_the_words_of_a_configuration():
    section = {"trials": 1, "objective": [], "direction": None, "sampler": "random", "startup": 1}
    with pytest.raises(ConfigError) as caught:
        parse(section | {"repeats": 1, "seed": 0, "ordered": False, "at_once": None})
    assert str(caught.value) == "hydra.sweeper.objective: expected a list of 1 or more, got []"
