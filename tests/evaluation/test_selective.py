"""Risk and coverage."""

from itertools import permutations

import numpy as np
import pytest

from lensbench.errors import RecordError
from lensbench.evaluation.proportions import wilson_interval
from lensbench.evaluation.scored import Scored
from lensbench.evaluation.selective import (
    RiskCoverage,
    area_under_risk_coverage,
    risk_coverage,
)
from lensbench.outcome import Predictions


def predicted(confidence, is_right) -> Predictions:
    """Two classes; the first is called, with these confidences above one half."""
    confidence = np.asarray(confidence, dtype=float)
    logits = np.column_stack([np.log(confidence / (1 - confidence)), np.zeros(len(confidence))])
    labels = np.where(np.asarray(is_right, dtype=bool), 0, 1)
    return Predictions.of([f"{i:05}" for i in range(len(labels))], labels, logits, ["a", "b"])


def area(predictions: Predictions) -> float:
    n = len(predictions.ids)
    return float(area_under_risk_coverage(Scored.of(predictions), np.ones((n, 1)))[0])


def slow_area(is_wrong_in_order) -> float:
    n = len(is_wrong_in_order)
    return sum(sum(is_wrong_in_order[:covered]) / covered for covered in range(1, n + 1)) / n


def test_without_ties_it_is_the_mean_of_the_risks():
    rng = np.random.default_rng(0)
    confidence = rng.permutation(np.linspace(0.51, 0.99, 200))
    is_right = rng.random(200) < confidence
    expected = slow_area((~is_right)[np.argsort(-confidence)].tolist())
    assert area(predicted(confidence, is_right)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("is_right", [(1, 0, 1, 0, 0, 1), (0, 0, 1, 1, 1, 0), (0, 1, 1, 1, 1, 1)])
def test_ties_count_as_the_mean_over_all_orders_of_them(is_right):
    confidence = np.array([0.9, 0.9, 0.9, 0.7, 0.7, 0.6])
    areas = [
        slow_area([1 - is_right[i] for i in order])
        for order in permutations(range(6))
        if (np.diff(confidence[list(order)]) <= 0).all()
    ]
    assert len(areas) == 12
    assert area(predicted(confidence, is_right)) == pytest.approx(np.mean(areas), rel=1e-12)


def test_when_all_are_tied_the_risk_is_the_same_at_every_coverage():
    assert area(predicted([0.8] * 50, [1] * 37 + [0] * 13)) == pytest.approx(13 / 50)


@pytest.mark.parametrize(("is_right", "value"), [([1] * 9, 0), ([0] * 9, 1)])
def test_never_and_always_wrong(is_right, value):
    assert area(predicted(np.linspace(0.6, 0.9, 9), is_right)) == pytest.approx(value)


def test_an_example_that_counts_twice_is_an_example_repeated():
    rng = np.random.default_rng(1)
    confidence = np.round(rng.uniform(0.55, 0.95, 80), 2)
    is_right = rng.random(80) < confidence
    counts = rng.multinomial(80, np.full(80, 1 / 80), 5).T.astype(float)
    counts[:, 0] *= 3
    top = confidence == confidence.max()
    counts[top, 1] = 0  # a resample without the most confident
    values = area_under_risk_coverage(Scored.of(predicted(confidence, is_right)), counts)
    for b, column in enumerate(counts.T.astype(int)):
        repeated = predicted(np.repeat(confidence, column), np.repeat(is_right, column))
        assert values[b] == pytest.approx(area(repeated), rel=1e-12)


def test_the_order_of_the_examples_is_nothing():
    rng = np.random.default_rng(2)
    confidence = np.round(rng.uniform(0.55, 0.95, 100), 2)
    is_right = rng.random(100) < confidence
    order = rng.permutation(100)
    shuffled = predicted(confidence[order], is_right[order])
    assert area(shuffled) == pytest.approx(area(predicted(confidence, is_right)), rel=1e-12)
    ours, theirs = (risk_coverage(p, 0.95) for p in (predicted(confidence, is_right), shuffled))
    assert (ours.coverage, ours.risk, ours.at) == (theirs.coverage, theirs.risk, theirs.at)


@pytest.mark.parametrize(("n", "decimals", "n_points"), [(300, 2, None), (4000, 9, 500)])
def test_every_point_of_the_curve_is_a_threshold(n, decimals, n_points):
    rng = np.random.default_rng(3)
    confidence = np.round(rng.uniform(0.55, 0.95, n), decimals)
    is_right = rng.random(n) < confidence
    predictions = predicted(confidence, is_right)
    curve = risk_coverage(predictions, 0.95)
    reachable = {}
    for threshold in np.unique(confidence):
        accepted = confidence >= threshold
        reachable[accepted.mean()] = (~is_right[accepted]).mean()
    for coverage, risk in zip(curve.coverage, curve.risk, strict=True):
        assert reachable[coverage] == pytest.approx(risk, abs=1e-12)
    assert len(curve.coverage) == (n_points or len(reachable))
    assert curve.coverage[0] == min(reachable)
    assert curve.coverage[-1] == 1
    assert max(np.diff(curve.coverage)) < (0.003 if n_points else 0.06)
    assert curve.aurc == area(predictions)
    assert curve.n == n
    assert RiskCoverage.model_validate_json(curve.model_dump_json()) == curve


def test_the_risk_at_a_coverage_is_of_at_least_as_many_and_has_wilsons_interval():
    confidence = [0.95] * 4 + [0.9] * 2 + [0.8] * 3 + [0.6]
    is_right = [1, 1, 1, 0, 1, 0, 1, 1, 0, 0]
    curve = risk_coverage(predicted(confidence, is_right), level=0.9)
    # 50 % falls among the second confidence, 80 % among the third; 90 % is met exactly.
    assert [(one.name, one.n) for one in curve.at] == [
        ("risk_at/0.5", 6),
        ("risk_at/0.8", 9),
        ("risk_at/0.9", 9),
        ("risk_at/0.95", 10),
    ]
    for one, n_wrong in zip(curve.at, (2, 3, 3, 4), strict=True):
        assert one.value == n_wrong / one.n
        assert (one.low, one.high) == wilson_interval(n_wrong, one.n, 0.9)


def test_nothing_has_no_risk():
    with pytest.raises(RecordError, match="no predictions"):
        risk_coverage(predicted([], []), 0.95)
