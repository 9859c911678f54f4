"""The stability of a run as numbers: known answers."""

import json
import math

import numpy as np
import pytest

from vaex.disk import metrics
from vaex.study import stability

COLUMNS = {name: np.zeros(0, np.float32) for name in metrics.STEP_COLUMNS}


def rows_of(losses):
    return [{"epoch": number, "valid/loss": loss} for number, loss in enumerate(losses, start=1)]


def test_gradient_norms_of_a_run_that_ends_not_finite():
    """1, 2, …, 101 in a shuffled order: the quantiles are whole numbers; the step that diverged is in none."""
    norms = np.random.default_rng(0).permutation(np.arange(1.0, 102.0))
    found = stability.measures([], COLUMNS | {"grad_norm": np.float32([*norms, np.inf])})
    assert found["stability/grad_norm_p50"] == 51
    assert found["stability/grad_norm_p99"] == 100
    assert found["stability/grad_norm_max"] == 101
    assert found["stability/grad_norm_max_over_p50"] == pytest.approx(101 / 51)


def test_norms_are_added_up_in_float64():
    found = stability.measures([], COLUMNS | {"grad_norm": np.float32([1e38, 3e38, 2e38])})
    assert found["stability/grad_norm_p50"] == pytest.approx(2e38)
    zero = stability.measures([], COLUMNS | {"grad_norm": np.zeros(3, np.float32)})
    assert zero["stability/grad_norm_max_over_p50"] is None


def test_range_of_sigma_over_all_steps():
    found = stability.measures(
        [], COLUMNS | {"sigma_min": np.float32([0.5, 0.25, np.nan]), "sigma_max": np.float32([3, 7, np.nan])}
    )
    assert (found["stability/sigma_min"], found["stability/sigma_max"]) == (0.25, 7)


def test_unrest_counts_rises_above_10_nats_and_no_change_to_or_from_nothing():
    found = stability.measures(rows_of([300, 280, 290, 300.5, None, 400, 380]), None)
    assert found["stability/valid_jumps"] == 1
    assert found["stability/valid_change_mean"] == pytest.approx((20 + 10 + 10.5 + 20) / 4)


def test_a_run_without_rows_and_steps_has_no_measures():
    for steps in (None, COLUMNS):
        found = stability.measures([], steps)
        assert set(found.values()) == {None}
        assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == set(stability.measures(rows_of([1.0]), None))


def test_damaged_rows_count_as_nothing():
    found = stability.measures(rows_of([True, "x", [1], 10**400, 5.0, 6.0]), None)
    assert found["stability/valid_change_mean"] == 1


ROWS = [
    {"step": 10 * number, "seconds": 2.0, "valid/elbo": elbo} for number, elbo in enumerate([-100, -60, -70, -40], 1)
]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (-100, (10, 2)),
        (-150, (10, 2)),  # before the first epoch's end nothing is known
        (-80, (15, 3)),
        (-60, (20, 4)),
        (-55, (35, 7)),
        (-40, (40, 8)),
        (-39.9, None),
    ],
)
def test_to_target_in_a_straight_line_between_epochs(target, expected):
    assert stability.to_target(ROWS, float(target)) == (None if expected is None else pytest.approx(expected))


def test_to_target_skips_an_epoch_that_is_not_finite_and_keeps_its_time():
    rows = [ROWS[0], ROWS[1] | {"valid/elbo": None}, ROWS[3]]
    assert stability.to_target(rows, -70.0) == pytest.approx((10 + 30 * 0.5, 2 + 4 * 0.5))
    assert stability.to_target([], -70.0) is None
    assert stability.whole(rows) == (40, 6)


def test_measures_are_in_the_summary_of_a_run(digits_run):
    directory = digits_run.directory
    summary = json.loads((directory / "summary.json").read_text())
    with np.load(directory / "steps.npz") as file:
        norms, sigma = np.sort(file["grad_norm"].astype(np.float64)), file["sigma_min"]
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert summary["stability/grad_norm_p50"] == pytest.approx((norms[11] + norms[12]) / 2)
    assert summary["stability/grad_norm_max"] == norms[-1]
    assert summary["stability/sigma_min"] == float(sigma.min())
    change = rows[1]["valid/loss"] - rows[0]["valid/loss"]
    assert summary["stability/valid_change_mean"] == pytest.approx(abs(change))
    assert summary["stability/valid_jumps"] == int(change > 10)


def test_measures_are_columns_of_a_sweeps_table(digits_sweep):
    header = (digits_sweep.directory / "sweep.csv").read_text().splitlines()[0].split(",")
    assert set(stability.measures([], None)) <= set(header)


def test_number_takes_finite_numbers_only():
    assert [stability.number(value) for value in (1, 2.5, -0.0)] == [1, 2.5, 0]
    for value in (None, True, "1", math.nan, math.inf, [1], {}, 10**400):
        assert stability.number(value) is None
