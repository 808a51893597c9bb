"""AUCs and their errors, against brute force, scikit-learn, a bootstrap and published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lensbench.evaluation.auc import hanley_mcneil_deviation, logit_interval, one_vs_rest


def sample(seed: int, n: int = 120, n_classes: int = 3, ties: bool = True):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    scores = rng.normal(size=(n, n_classes))
    scores[np.arange(n), labels] += 1
    return labels, np.round(scores, 1) if ties else scores


def pairs_won(labels, scores, k) -> float:
    """The definition: every member against every other example, ties counting half."""
    wins = [
        1.0 if member > other else 0.5 if member == other else 0.0
        for member in scores[labels == k, k]
        for other in scores[labels != k, k]
    ]
    return float(np.mean(wins))


@given(st.integers(0, 10_000), st.booleans())
def test_each_auc_is_the_share_of_pairs_won(seed, ties):
    labels, scores = sample(seed, n=30, ties=ties)
    values = one_vs_rest(labels, scores).values
    np.testing.assert_allclose(values, [pairs_won(labels, scores, k) for k in range(3)])


def test_the_macro_auc_is_scikit_learns():
    labels, scores = sample(1)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert one_vs_rest(labels, probabilities).macro == pytest.approx(expected, abs=1e-12)


def test_the_variance_of_one_auc_is_delongs():
    """The sample variances of all placements, written out over every pair."""
    labels, scores = sample(2, n=60)
    influence = one_vs_rest(labels, scores).influence
    for k in range(3):
        members, others = scores[labels == k, k], scores[labels != k, k]
        wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)
        expected = wins.mean(axis=1).var(ddof=1) / len(members) + wins.mean(axis=0).var(
            ddof=1
        ) / len(others)
        assert (influence[:, k] ** 2).sum() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_the_error_of_the_macro_auc_is_that_of_a_bootstrap():
    labels, scores = sample(3, n=300)
    expected = np.sqrt((one_vs_rest(labels, scores).macro_influence ** 2).sum())
    rng = np.random.default_rng(0)
    resampled = [
        one_vs_rest(labels[rows], scores[rows]).macro for rows in rng.integers(0, 300, (3000, 300))
    ]
    assert expected == pytest.approx(np.std(resampled), rel=0.05)


@pytest.mark.slow
def test_the_interval_holds_the_true_auc_as_often_as_it_says():
    """Scores of two normal distributions one apart have the AUC Phi(1 / sqrt 2) = 0.7602."""
    rng = np.random.default_rng(0)
    n_held = 0
    for _ in range(2000):
        labels = np.arange(200) % 2
        scores = rng.normal(size=200) + labels
        areas = one_vs_rest(labels, np.column_stack([-scores, scores]))
        deviation = float(np.sqrt((areas.macro_influence**2).sum()))
        low, high = logit_interval(areas.macro, deviation, 0.95)
        n_held += low <= 0.760250 <= high
    assert 0.935 <= n_held / 2000 <= 0.965


def test_a_class_that_is_absent_has_no_auc():
    values = one_vs_rest(np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 1]]).values
    assert np.isnan(values[2])
    np.testing.assert_array_equal(values[:2], [1, 1])


@given(st.integers(0, 1000))
def test_monotone_transforms_change_nothing(seed):
    labels, scores = sample(seed, n=30)
    before, after = one_vs_rest(labels, scores), one_vs_rest(labels, np.exp(3 * scores))
    np.testing.assert_allclose(after.influence, before.influence, atol=1e-12)


def test_hanley_and_mcneil_is_exact_for_exponential_scores():
    """Their Q1 and Q2 are derived for such scores; there is no approximation left to excuse."""
    rng = np.random.default_rng(0)
    mean, m, n = 4.0, 20, 30
    wins = rng.exponential(mean, (20_000, m, 1)) > rng.exponential(1.0, (20_000, 1, n))
    observed = wins.mean(axis=(1, 2)).std()
    assert hanley_mcneil_deviation(mean / (1 + mean), m, n) == pytest.approx(observed, rel=0.02)


def test_the_interval_stays_inside():
    low, high = logit_interval(0.999, 0.01, 0.95)
    assert 0 < low < 0.999 < high < 1
