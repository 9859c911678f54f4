"""Learning-rate sensitivity: planted curves with known answers, relabelled curves, what has no number and why."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.made_runs import STEPS, steady, write_run
from vaex.disk import metrics
from vaex.study import comparing, effects, pairing, runs, sentences
from vaex.study.questions import SENSITIVITY
from vaex.study.run import StudyRun

INITIAL = 100.0
SEEDS = 6
RATES = ("1e-3", "1e-2", "1e-1")
PLANTED = {"gamma": (40.0, 42.0, None), "sigma": (45.0, 300.0, None)}
"""Final losses at each rate: finished below and above the loss at initialisation, and diverged."""

type_of_curves = Mapping[str, tuple[float | None, ...]]


def sweep(folder: Path, planted: type_of_curves = PLANTED, rates: tuple[str, ...] = RATES, seeds: int = SEEDS) -> Path:
    """Runs of each variant, rate and seed; a seed's luck moves what finished by nats."""
    luck = np.random.default_rng(2).normal(size=(seeds, len(rates)))
    for variant, losses in planted.items():
        for seed in range(seeds):
            for rate, loss, chance in zip(rates, losses, luck[seed], strict=True):
                place = folder / f"{variant}-{rate}-{seed}"
                keys = (f"loss={variant}", f"seed={seed}", f"optimizer.learning_rate={rate}")
                end = None if loss is None else -(loss + chance)
                write_run(place, [-90.0, end], *keys, status="diverged" if loss is None else "finished")
                steps = steady(2 * STEPS)
                steps["reconstruction"][0], steps["kl"][0], steps["loss"][0] = INITIAL - 3, 3, 7  # a loss of another β
                (place / "steps.npz").write_bytes(metrics.steps_bytes([steps]))
    return folder


def by_hand(losses: tuple[float | None, ...], seeds: int = SEEDS) -> np.ndarray:
    """Wortsman et al.'s definition for each seed: E[min(loss, loss at initialisation)] less the best."""
    luck = np.random.default_rng(2).normal(size=(seeds, len(losses)))
    found = np.array([[np.nan if loss is None else loss for loss in losses]]) + luck
    found = np.where(np.isnan(found), INITIAL, np.minimum(found, INITIAL))
    return found.mean(axis=1) - found.min(axis=1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted sweep. Read only."""
    return sweep(tmp_path_factory.mktemp("planted") / "sweep")


def told(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in comparison["questions"] if each["key"] == SENSITIVITY.key]


def test_planted_curves_have_their_known_sensitivity(planted: Path):
    comparison = comparing.compare(runs.read([planted]))
    (question,) = told(comparison)
    (item,) = question["comparisons"]
    gamma, sigma = (by_hand(PLANTED[name]) for name in ("gamma", "sigma"))
    assert gamma.mean() == pytest.approx((40 + 42 + 100) / 3 - 40, abs=1)
    assert sigma.mean() == pytest.approx((45 + 100 + 100) / 3 - 45, abs=1)
    assert item["mean_against"] == pytest.approx(gamma.mean())
    assert item["mean_variant"] == pytest.approx(sigma.mean())
    assert item["estimate"] == pytest.approx((sigma - gamma).mean())
    assert item["low"] < (sigma - gamma).mean() < item["high"]
    assert (item["answer"], item["seeds"], item["pairs"], item["rates"]) == ("more", 6, 6, 3)
    assert item["sentence"].startswith("gamma has a lower learning-rate sensitivity than sigma: ")
    assert "6 curves over 3 learning rates, 6 seeds" in item["sentence"]
    assert [place["setting"] for place in item["by_setting"]] == [{"optimizer.learning_rate": "0.001, 0.01, 0.1"}]
    assert item["sentence"] in comparison["verdicts"]
    means = {name: row["means"][SENSITIVITY.key] for name, row in comparison["by_variant"].items()}
    assert means["gamma"] == {"mean": pytest.approx(gamma.mean()), "runs": 6}
    assert means["sigma"]["mean"] == pytest.approx(sigma.mean())


def relabelled(found: runs.Study, rng: np.random.Generator) -> runs.Study:
    """The same curves with the variants of each seed exchanged or not, by a coin."""
    other, coins = {"sigma": "gamma", "gamma": "sigma"}, rng.integers(2, size=SEEDS)
    return dataclasses.replace(
        found,
        runs=[
            dataclasses.replace(run, variant=other[run.variant]) if coins[run.flat["seed"]] else run
            for run in found.runs
        ],
    )


def test_relabelled_curves_show_no_difference(planted: Path):
    found, rng, shown = runs.read([planted]), np.random.default_rng(0), []
    for _ in range(25):
        mixed = relabelled(found, rng)
        (some,) = pairing.pairs(mixed)[0].values()
        shown.append(effects.effect(mixed, SENSITIVITY, some, None)["p"] <= 0.05)
    assert np.mean(shown) <= 0.1
    (some,) = pairing.pairs(found)[0].values()
    assert effects.effect(found, SENSITIVITY, some, None)["p"] <= 0.05


def test_a_seed_without_all_its_ends_is_left_out(planted: Path, tmp_path: Path):
    folder = Path(shutil.copytree(planted, tmp_path / "sweep"))
    shutil.rmtree(folder / "sigma-1e-2-3")
    (folder / "gamma-1e-1-5" / "summary.json").unlink()  # interrupted: nobody knows how it would have ended
    ((item,),) = (question["comparisons"] for question in told(comparing.compare(runs.read([folder]))))
    kept = [seed for seed in range(SEEDS) if seed not in (3, 5)]
    assert (item["seeds"], item["pairs"]) == (4, 4)
    assert item["mean_variant"] == pytest.approx(by_hand(PLANTED["sigma"])[kept].mean())


def changed(found: runs.Study, change: Callable[[StudyRun], StudyRun]) -> runs.Study:
    """The study with every run of sigma changed."""
    return dataclasses.replace(found, runs=[change(run) if run.variant == "sigma" else run for run in found.runs])


def test_what_never_trains_has_no_sensitivity(planted: Path):
    """Its curve is flat at the loss at initialisation: the definition would call that the best there is."""

    def dead(run: StudyRun) -> StudyRun:
        return dataclasses.replace(run, summary=run.summary | {"status": "diverged"})

    comparison = comparing.compare(changed(runs.read([planted]), dead))
    ((item,),) = (question["comparisons"] for question in told(comparison))
    assert (item["answer"], item["seeds"]) == (sentences.TOO_FEW, 0)
    assert SENSITIVITY.key not in comparison["by_variant"]["sigma"]["means"]
    assert comparison["by_variant"]["gamma"]["means"][SENSITIVITY.key]["runs"] == SEEDS


@pytest.mark.parametrize("rates", [1, 2])
def test_fewer_than_three_rates_are_no_curve_and_one_line_says_so(rates: int, tmp_path: Path):
    losses = {name: curve[:rates] for name, curve in PLANTED.items()}
    comparison = comparing.compare(runs.read([sweep(tmp_path / "sweep", losses, RATES[:rates], 1)]))
    line = "not compared: learning-rate sensitivity, which needs three learning rates; here are 2 (0.001, 0.01)"
    assert not told(comparison)
    assert comparison["apart"] == ([line] if rates == 2 else [])


def test_it_is_not_asked_where_the_rates_are_what_is_compared(planted: Path):
    comparison = comparing.compare(runs.read([planted], by="optimizer.learning_rate"))
    assert not told(comparison)
    assert comparison["apart"] == []


def test_other_bounds_do_not_compare(planted: Path):
    def of_another(run: StudyRun) -> StudyRun:
        return dataclasses.replace(run, config=run.config | {"likelihood": {"name": "gaussian"}})

    ((item,),) = (each["comparisons"] for each in told(comparing.compare(changed(runs.read([planted]), of_another))))
    assert item["answer"] == sentences.NOT_COMPARABLE
    assert item["sentence"].startswith("not comparable in learning-rate sensitivity: gamma and sigma have another")


def test_a_first_step_that_was_not_finite_tells_of_no_loss_at_initialisation(planted: Path):
    found = runs.read([planted])
    curves = pairing.curves(found, [run for run in found.runs if run.variant == "gamma"])
    curve = curves[("0.001, 0.01, 0.1",), "0"]
    assert [run.flat["optimizer.learning_rate"] for run in curve] == [0.001, 0.01, 0.1]
    assert effects.sensitivity(curve) == pytest.approx(by_hand(PLANTED["gamma"])[0])

    def without_first(run: StudyRun) -> StudyRun:
        return dataclasses.replace(run, steps=dict(run.steps or {}) | {"kl": np.array([np.nan, 1.0])})

    assert effects.sensitivity(list(map(without_first, curve))) is None
    assert effects.sensitivity([without_first(curve[0]), *curve[1:]]) == effects.sensitivity(curve)  # others know it
