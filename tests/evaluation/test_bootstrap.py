"""The stratified bootstrap: what a resample is, pairing, and what comes of it."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from lensbench.evaluation import bootstrap as module
from lensbench.evaluation.bootstrap import (
    bootstrap,
    deviation_interval,
    percentile_interval,
    resample,
)
from lensbench.evaluation.intervals import interval_within
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.ranking import cumulate
from lensbench.evaluation.scored import Scored


def scored(seed: int = 0, n: int = 300) -> Scored:
    rng = np.random.default_rng(seed)
    labels = np.minimum(np.arange(n) % 4, 2)
    shares = rng.dirichlet([1, 1, 1], n) + 0.5 * np.eye(3)[labels]
    probabilities = np.round(shares / 1.5, 2)
    logs = np.log(np.maximum(probabilities, 1e-9))
    return Scored(labels, probabilities, logs, probabilities)


def test_a_resample_holds_as_many_of_each_class():
    labels = np.array([2, 0, 0, 2, 2, 0, 2, 5])
    counts = resample(labels, 700, np.random.default_rng(0))
    assert counts.shape == (8, 700)
    for label, n in ((0, 3), (2, 4), (5, 1)):
        np.testing.assert_array_equal(counts[labels == label].sum(axis=0), n)


def test_counts_are_multinomial():
    """Mean 1, variance 1 - 1/n, covariance -1/n within a class and none between classes."""
    labels = np.array([0, 1, 0, 1, 1, 0, 1])
    counts = resample(labels, 100_000, np.random.default_rng(0))
    size = np.where(labels == 0, 3, 4)
    expected = np.eye(7) - (labels[:, None] == labels) / size
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.02)
    np.testing.assert_allclose(np.cov(counts), expected, atol=0.02)


def test_every_resample_is_another_one():
    counts = resample(np.zeros(50, dtype=int), 300, np.random.default_rng(0))
    assert len(np.unique(counts, axis=1).T) == 300


def test_threads_change_nothing_and_more_resamples_begin_alike(monkeypatch):
    metrics = {name: METRICS[name].weighted for name in ("mcc", "average_precision")}
    many = bootstrap([scored()], metrics, 2 * module.CHUNK + 7)
    monkeypatch.setattr(module, "cpu_count", lambda: 1)
    alone = bootstrap([scored()], metrics, 2 * module.CHUNK + 7)
    first = bootstrap([scored()], metrics, module.CHUNK)
    assert many["mcc"].shape == (1, 2 * module.CHUNK + 7)
    assert many["average_precision"].shape == (1, 3, 2 * module.CHUNK + 7)
    for name in metrics:
        np.testing.assert_array_equal(many[name], alone[name])
        np.testing.assert_array_equal(many[name][..., : module.CHUNK], first[name])
    chunks = many["mcc"][0, : module.CHUNK], many["mcc"][0, module.CHUNK : 2 * module.CHUNK]
    assert not np.isclose(*chunks).all()


def test_models_meet_the_same_resamples():
    one, other = scored(0), scored(1)
    both = bootstrap([one, other, one], {"brier": METRICS["brier"].weighted}, 300)["brier"]
    np.testing.assert_array_equal(both[0], both[2])
    alone = bootstrap([other], {"brier": METRICS["brier"].weighted}, 300)["brier"]
    np.testing.assert_array_equal(both[1], alone[0])


def test_models_of_other_examples_are_refused():
    with pytest.raises(ValueError, match="the labels differ"):
        bootstrap([scored(), scored(n=299)], {"mcc": METRICS["mcc"].weighted}, 100)


def test_values_are_distributed_as_those_of_examples_drawn_one_by_one():
    one, rng = scored(), np.random.default_rng(1)
    strata = [np.flatnonzero(one.labels == k) for k in range(3)]
    drawn = []
    for _ in range(500):
        rows = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        labels, scores = one.labels[rows], one.probabilities[rows]
        drawn.append(
            (
                f1_score(labels, scores.argmax(axis=1), average="macro"),
                average_precision_score(labels == 2, scores[:, 2]),
            )
        )
    names = ("f1_macro", "average_precision")
    found = bootstrap([one], {name: METRICS[name].weighted for name in names}, 4000)
    for ours, theirs in (
        (found["f1_macro"][0], np.array(drawn)[:, 0]),
        (found["average_precision"][0, 2], np.array(drawn)[:, 1]),
    ):
        quantiles = [0.025, 0.5, 0.975]
        spread = np.std(theirs)
        np.testing.assert_allclose(
            np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=0.2 * spread
        )
        assert np.std(ours) == pytest.approx(spread, rel=0.1)


def test_the_interval_is_that_of_the_quantiles_and_holds_the_value():
    values, anywhere = np.arange(1001.0), (-np.inf, np.inf)
    assert percentile_interval(500, values, 0.9, anywhere) == pytest.approx((50, 950))
    with_nan = np.append(values, np.nan)
    assert percentile_interval(500, with_nan, 0.9, anywhere) == pytest.approx((50, 950))
    assert percentile_interval(500, values, 0.9, (60, 940)) == (60, 940)
    assert percentile_interval(500, values, 0.9, (501, 502)) == (500, 502)
    skewed = np.append(np.arange(99) / 98, 9900.0)
    low, high = percentile_interval(99.5, skewed, 0.9, anywhere)
    assert (low, high) == pytest.approx((4.95 / 98 + 0.005, 99.5))


@pytest.mark.parametrize("value", [0.0, 1 / 3, 0.38, 1e6])
@pytest.mark.parametrize("rounding", [0, 1e-16, 1e-14])
def test_resamples_that_do_not_vary_but_for_rounding_give_no_bounds(value, rounding):
    noise = np.random.default_rng(0).normal(size=300)
    resampled = value + rounding * max(1, value) * noise
    assert np.isnan(percentile_interval(value, resampled, 0.95, (0, np.inf))).all()
    resampled[0] += 0.1  # one that varies moves their mean and neither percentile
    assert np.isnan(percentile_interval(value, resampled, 0.95, (0, np.inf))).all()
    varied = value + 1e-9 * max(1, value) * noise
    low, high = percentile_interval(value, varied, 0.95, (-np.inf, np.inf))
    assert low < value < high


def test_what_resampling_shifts_is_moved_back():
    values = np.arange(1001.0)
    assert percentile_interval(400, values, 0.9, (-np.inf, np.inf)) == pytest.approx((-50, 850))
    assert percentile_interval(400, values, 0.9, (0, 1000)) == pytest.approx((0, 850))


def test_where_no_resample_is_defined_there_are_no_bounds():
    for interval in (percentile_interval, deviation_interval):
        assert np.isnan(interval(1, np.full(3, np.nan), 0.9, (0, 1))).all()


def test_the_interval_of_a_deviation_is_normal_on_the_scale_of_the_metric():
    resampled = np.array([0.97, np.nan, 0.99, 0.98, 0.96])
    half_width = 1.6448536 * np.std([0.97, 0.99, 0.98, 0.96], ddof=1)
    for limits in ((0, 1), (0, np.inf), (-1, 1)):
        found = deviation_interval(0.975, resampled, 0.9, limits)
        assert found == pytest.approx(interval_within(0.975, half_width, limits), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e6])
def test_resamples_without_a_deviation_give_no_bounds(value):
    noise = np.random.default_rng(0).normal(size=300)
    resampled = value + 1e-15 * max(1, value) * noise
    assert np.isnan(deviation_interval(value, resampled, 0.95, (0, np.inf))).all()
    assert np.isnan(deviation_interval(value, resampled[:1], 0.95, (0, np.inf))).all()


@pytest.mark.parametrize("n_rows", [1, 2, 31, 32, 33, 64, 100])
def test_running_sums_are_numpys(n_rows):
    rows = np.random.default_rng(0).integers(0, 9, (n_rows, 5)).astype(float)
    np.testing.assert_array_equal(cumulate(rows.copy()), np.cumsum(rows, axis=0))
