"""AUCs and their errors, against brute force, scikit-learn, a bootstrap and published values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lensbench.evaluation.auc import (
    auc_estimate,
    hanley_mcneil_deviation,
    micro_average,
    one_vs_one,
    one_vs_rest,
)
from lensbench.evaluation.bootstrap import resample
from lensbench.evaluation.intervals import interval_within, normal_half_width
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.proportions import wilson_interval
from lensbench.evaluation.scored import Scored


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
    expected = np.sqrt((one_vs_rest(labels, scores).influence.mean(axis=1) ** 2).sum())
    rng = np.random.default_rng(0)
    resampled = [
        one_vs_rest(labels[rows], scores[rows]).macro for rows in rng.integers(0, 300, (3000, 300))
    ]
    assert expected == pytest.approx(np.std(resampled), rel=0.05)


def delong_by_hand(labels, scores_of_models) -> np.ndarray:
    """DeLong's covariance of the AUCs of class 1, its components written out over every pair."""
    v10, v01 = [], []
    for scores in scores_of_models:
        members, others = scores[labels == 1], scores[labels == 0]
        wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    return np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])


@given(st.integers(0, 10_000))
def test_the_covariance_of_two_models_is_delongs(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(50) % 3 // 2
    models = [np.round(rng.normal(size=50) + labels, 1) for _ in range(2)]
    influence = np.stack(
        [one_vs_rest(labels, np.column_stack([-one, one])).influence[:, 1] for one in models]
    )
    expected = delong_by_hand(labels, models)
    np.testing.assert_allclose(influence @ influence.T, expected, rtol=1e-10, atol=1e-15)


def test_a_published_auc_and_its_error():
    """Ratings of 109 CT images (Hanley & McNeil 1982, Radiology 143, 29, table I).

    Stata's manual of `roctab` has their AUC with DeLong's error and normal interval. Five ratings
    for 109 images are nearly all ties.
    """
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    labels = np.repeat([0, 1], [58, 51])
    ratings = np.concatenate([np.repeat(np.arange(1.0, 6), n) for n in (normal, abnormal)])
    areas = one_vs_rest(labels, np.column_stack([-ratings, ratings]))
    value, deviation = areas.values[1], np.sqrt((areas.influence[:, 1] ** 2).sum())
    assert round(value, 4) == 0.8932
    assert round(deviation, 4) == 0.0307
    z = 1.959964
    assert (round(value - z * deviation, 5), round(value + z * deviation, 5)) == (0.83295, 0.95339)


def pairs_of_classes_won(labels, scores) -> float:
    """Hand & Till's M, written out."""
    areas = []
    for i in range(scores.shape[1]):
        for j in range(scores.shape[1]):
            if i != j:
                first, second = scores[labels == i, i], scores[labels == j, i]
                wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
                areas.append(wins.mean())
    return float(np.mean(areas))


@given(st.integers(0, 10_000), st.integers(2, 4), st.booleans())
def test_the_one_vs_one_auc_is_hand_and_tills(seed, n_classes, ties):
    labels, scores = sample(seed, n=40, n_classes=n_classes, ties=ties)
    assert one_vs_one(labels, scores)[0] == pytest.approx(pairs_of_classes_won(labels, scores))


def test_the_one_vs_one_influence_is_that_of_leaving_out():
    """Without an example the AUC moves by its influence, to the order of 1/n."""
    labels, scores = sample(4, n=150)
    value, influence = one_vs_one(labels, scores)
    for row in range(0, 150, 10):
        rest = np.arange(150) != row
        moved = value - one_vs_one(labels[rest], scores[rest])[0]
        assert moved == pytest.approx(influence[row], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auc_ovr_macro", "auc_ovr_micro", "auc_ovo"])
def test_errors_of_means_are_those_of_10000_resamples(name):
    labels, scores = sample(5, n=300)
    made = Scored(labels, scores, scores, scores)
    influence = METRICS[name].influences(made)[1][:, 0]
    rng = np.random.default_rng(0)
    resampled = np.concatenate(
        [METRICS[name].weighted(made, resample(labels, 500, rng)) for _ in range(20)]
    )
    assert np.sqrt((influence**2).sum()) == pytest.approx(resampled.std(), rel=0.03)


def test_the_micro_influence_sums_the_decisions_of_an_example():
    labels, scores = sample(6, n=30)
    hits = np.eye(3, dtype=int)[labels].ravel()
    flat = one_vs_rest(hits, np.column_stack([-scores.ravel(), scores.ravel()]))
    value, influence = micro_average(labels, scores)
    assert value == flat.values[1]
    np.testing.assert_allclose(influence, flat.influence[:, 1].reshape(30, 3).sum(axis=1))


def test_a_perfect_auc_beside_an_absent_class_has_an_interval():
    labels = np.array([0, 0, 0, 2, 2, 2, 2])
    estimate = auc_estimate("auc_ovr/a", 1.0, np.zeros(7), labels, 0.95)
    assert (estimate.low, estimate.high) == (pytest.approx(0.4385, abs=1e-4), 1)


def test_the_interval_of_an_auc_says_when_it_is_too_narrow():
    for m in (1, 2, 9, 10):
        labels = (np.arange(100) < m).astype(int)
        scores = np.random.default_rng(0).normal(size=100) + labels
        areas = one_vs_rest(labels, np.column_stack([-scores, scores]))
        value = areas.values[1]
        found = auc_estimate("auc", value, areas.influence[:, 1], labels, 0.95)
        deviation = np.sqrt((areas.influence[:, 1] ** 2).sum())
        if m == 1:
            low, high = wilson_interval(round(value), 1, 0.95)
            assert (found.low, found.high) == (min(low, value), max(high, value))
            assert "smallest class, since one example has no variance" in found.method
        else:
            assert (found.low, found.high) == interval_within(
                value, normal_half_width(deviation, 0.95), (0, 1)
            )
            clause = f"; too narrow with so few of a class ({m})"
            assert found.method == "DeLong, logit scale" + (clause if m < 10 else "")


def test_a_class_that_is_absent_has_no_auc():
    values = one_vs_rest(np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 1]]).values
    assert np.isnan(values[2])
    np.testing.assert_array_equal(values[:2], [1, 1])
    assert np.isnan(one_vs_one(np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 1]])[0])


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
