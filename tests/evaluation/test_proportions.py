"""Intervals of counted things."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from lensbench.evaluation.proportions import f1_intervals, f1_scores, wilson_interval


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys(n_hits, n, level):
    n_hits = min(n_hits, n)
    expected = binomtest(n_hits, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson_interval(n_hits, n, level), expected, atol=1e-12)


def test_nothing_counted_is_nothing_known():
    assert wilson_interval(0, 0, 0.95) == (0.0, 1.0)


def test_f1_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 3, (2, 200))
    confusion = np.zeros((3, 3), dtype=np.int64)
    np.add.at(confusion, (labels, called), 1)
    np.testing.assert_allclose(f1_scores(confusion), f1_score(labels, called, average=None))


def test_the_interval_of_f1_is_that_of_resampled_examples():
    confusion = np.array([[50, 10], [5, 35]])
    low, high = f1_intervals(confusion, 0.95, 20_000, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(4000):
        called_0 = (rng.random(60) < 10 / 60).sum(), (rng.random(40) < 35 / 40).sum()
        scores.append(
            f1_scores(np.array([[60 - called_0[0], called_0[0]], [40 - called_0[1], called_0[1]]]))
        )
    np.testing.assert_allclose(low, np.quantile(scores, 0.025, axis=0), atol=0.01)
    np.testing.assert_allclose(high, np.quantile(scores, 0.975, axis=0), atol=0.01)
