"""Test-set and training variance: against closed forms and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from lensbench.comparison.variance import (
    SeedVariance,
    Uncertainty,
    of_difference,
    of_mean,
)
from lensbench.evaluation.intervals import interval_within
from lensbench.evaluation.joint import Joint


def joint(values, covariance) -> Joint:
    return Joint(np.array(values), np.array(covariance), "made up", 100)


def test_one_run_knows_the_test_set_alone():
    found = of_mean(joint([0.9], [[4e-4]]), [0])
    assert found == Uncertainty(test=4e-4)
    assert found.half_width(0.95) == pytest.approx(1.959964 * 0.02)


def test_the_total_is_that_of_obuchowski_and_rockette():
    """s^2 / R + C, where training adds anything."""
    values, variance, shared = [0.90, 0.94, 0.95], 3e-4, 2e-4
    covariance = np.full((3, 3), shared) + (variance - shared) * np.eye(3)
    found = of_mean(joint(values, covariance), [0, 1, 2])
    assert found.test + found.training == pytest.approx(np.var(values, ddof=1) / 3 + shared)
    assert found.test == pytest.approx((variance + 2 * shared) / 3)


def test_seeds_that_scatter_less_than_the_test_set_makes_them_add_nothing():
    found = of_mean(joint([0.9, 0.9], np.diag([1e-4, 1e-4])), [0, 1])
    assert found.training == 0
    assert found.half_width(0.95) == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(0.5e-4))


def test_a_difference_pairs_the_test_set_and_adds_the_training():
    rng = np.random.default_rng(0)
    influences = rng.normal(size=(5, 400)) * 1e-3 + 2e-3 * rng.normal(size=400)
    covariance = influences @ influences.T
    values = [0.90, 0.93, 0.91, 0.95, 0.96]
    results = joint(values, covariance)
    found = of_difference(results, [0, 1, 2], [3, 4])
    paired = influences[:3].mean(0) - influences[3:].mean(0)
    assert found.test == pytest.approx((paired**2).sum())
    parts = [of_mean(results, rows).training for rows in ([0, 1, 2], [3, 4])]
    assert found.training == pytest.approx(sum(parts))


def test_each_part_alone_is_the_textbook_test():
    assert Uncertainty(4e-4).p_value(0.03) == pytest.approx(2 * stats.norm.sf(1.5))
    seeds = Uncertainty(0.0, (SeedVariance(4e-4, 4),))
    assert seeds.p_value(-0.03) == pytest.approx(2 * stats.t.sf(1.5, 3))
    assert seeds.half_width(0.9) == pytest.approx(stats.t.ppf(0.95, 3) * 0.02)


def test_the_p_value_is_where_the_interval_reaches_zero():
    found = Uncertainty(3e-4, (SeedVariance(1e-4, 3), SeedVariance(2e-4, 2)))
    for difference in (1e-3, 0.01, 0.05):
        p_value = found.p_value(difference)
        assert found.half_width(1 - p_value) == pytest.approx(difference, rel=1e-6)


def test_certainty_and_equality():
    assert Uncertainty(0.0).p_value(0.1) == 1  # without variance there is no test
    assert Uncertainty(1e-9).p_value(0.0) == 1
    assert Uncertainty(1e-12).p_value(0.9) == 0


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize("training", [0, 1, 6])
@pytest.mark.parametrize(("truth", "own", "common"), [(0.9, 0.008, 0.015), (0.985, 2e-4, 5e-4)])
def test_intervals_over_seeds_cover_the_expected_result(truth, own, common, training, n_seeds):
    """95 % of intervals hold what an infinite test set of infinitely many seeds would give.

    Args:
        truth: That result.
        own: Deviation that the test set gives each run alone.
        common: Deviation that it gives all runs.
        training: Deviation between seeds, over `own`.
    """
    rng, n_sets, n_covered = np.random.default_rng(1), 2000, 0
    covariance = np.full((n_seeds, n_seeds), common**2) + own**2 * np.eye(n_seeds)
    for _ in range(n_sets):
        noise = np.hypot(own, training * own) * rng.normal(size=n_seeds)
        values = np.minimum(truth + common * rng.normal() + noise, 1)
        low, high = of_mean(joint(values, covariance), range(n_seeds)).interval(
            values.mean(), 0.95, (0, 1)
        )
        n_covered += low <= truth <= high
    assert 0.93 < n_covered / n_sets < 0.98


def test_two_seeds_near_a_limit_leave_an_interval_that_says_something():
    """On the logit scale, Student's factor of two seeds would make it 0.15 to 1."""
    found = of_mean(joint([0.9995, 0.9975], np.full((2, 2), 2.5e-7)), [0, 1])
    low, high = found.interval(0.9985, 0.95, (0, 1))
    reach = stats.t.ppf(0.975, 1) * np.std([0.9995, 0.9975], ddof=1) / math.sqrt(2)
    assert low == pytest.approx(0.9985 - reach, abs=2e-4)
    assert high == 1


def test_the_interval_of_the_test_set_alone_is_that_of_the_metrics_scale():
    assert Uncertainty(1e-4).interval(0.97, 0.95, (0, 1)) == pytest.approx(
        interval_within(0.97, stats.norm.ppf(0.975) * 0.01, (0, 1))
    )
