"""Intervals of counted things."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest

from lensbench.evaluation.estimate import Estimate, UndefinedMetricWarning, undefined_estimate
from lensbench.evaluation.proportions import proportion_estimate, share, wilson_interval


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys(n_hits, n, level):
    n_hits = min(n_hits, n)
    expected = binomtest(n_hits, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson_interval(n_hits, n, level), expected, atol=1e-12)


def test_nothing_counted_is_nothing_known():
    assert wilson_interval(0, 0, 0.95) == (0.0, 1.0)


def test_a_share_of_nothing_is_undefined_and_says_so():
    with pytest.warns(UndefinedMetricWarning, match="precision/vort is undefined: a share of no"):
        estimate = proportion_estimate("precision/vort", 0, 0, 0.95)
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert str(estimate) == "undefined"
    found = share(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 4.0]))
    np.testing.assert_array_equal(found, [0.5, np.nan, 0.75])


def test_nan_survives_json():
    with pytest.warns(UndefinedMetricWarning):
        estimate = undefined_estimate("mcc", 0.95, 3, "one class")
    written = estimate.model_dump_json()
    assert '"value":null' in written
    read = Estimate.model_validate_json(written)
    assert np.isnan([read.value, read.low, read.high]).all()
    assert (read.name, read.method, read.n) == ("mcc", "undefined: one class", 3)
    with pytest.raises(ValidationError):
        Estimate.model_validate_json(written.replace("null", '"none"', 1))
