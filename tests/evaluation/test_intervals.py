"""Intervals within the limits of a metric, against closed forms."""

import math

import numpy as np
import pytest
from scipy import special, stats

from lensbench.evaluation.intervals import interval_within, normal_half_width


def test_intervals_stay_within_the_limits_of_a_metric():
    for limits, value in (((0, 1), 0.98), ((-1, 1), -0.9), ((0, math.inf), 0.02), ((0, 2), 1.9)):
        narrow, wide = (interval_within(value, half, limits) for half in (1e-6, 1e3))
        assert narrow == pytest.approx((value - 1e-6, value + 1e-6), abs=1e-10)
        assert limits[0] <= wide[0] < value < wide[1] <= limits[1]


@pytest.mark.parametrize(("value", "deviation"), [(0.97, 0.01), (0.999, 0.01), (0.2, 0.1)])
def test_an_interval_of_a_share_is_symmetric_on_the_logit_scale(value, deviation):
    """logit(A) +- z deviation / (A (1 - A)), as Pepe (2003) has it for AUCs."""
    reach = stats.norm.ppf(0.975) * deviation / (value * (1 - value))
    expected = special.expit(special.logit(value) + np.array([-reach, reach]))
    found = interval_within(value, normal_half_width(deviation, 0.95), (0, 1))
    assert found == pytest.approx(tuple(expected))
    assert 0 < found[0] < value < found[1] < 1


def test_an_interval_at_a_limit_is_cut():
    assert interval_within(1.0, 0.2, (0, 1)) == (0.8, 1.0)
    assert interval_within(0.0, 0.2, (0, math.inf)) == (0.0, 0.2)
