"""Values and their standard errors."""

import math

import numpy as np
import pytest

from vaex.evaluations.nll import remark
from vaex.judging.estimate import Estimate, share


def test_a_share_of_none_or_all_claims_no_certainty():
    """Of 20 examples that all fail, up to one in seven of others may well not: 0 ± 0 would deny it."""
    assert share(np.zeros(20, bool)) == (0, None)
    assert share(np.ones(20, bool)) == (1, None)
    value, error = share(np.arange(20) < 5)
    assert (value, error) == (0.25, pytest.approx(math.sqrt(0.25 * 0.75 / 20)))


@pytest.mark.parametrize(("effective", "samples", "told"), [(1.2, 100, True), (20.0, 100, False), (1.2, 5, False)])
def test_a_bound_that_one_draw_decides_is_remarked_on(effective: float, samples: int, told: bool):
    found = {"nll": Estimate(300, 1), "nll/effective_samples": Estimate(effective, 0.1)}
    said = remark({**found, "nll/curve": [{"samples": samples, "value": 300, "standard_error": 1}]})
    assert (said is not None) == told
    assert said is None or said.startswith(f"nll: 1.2 of {samples} draws are effective on average")
