"""Calibration errors, reliability and temperature."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import foldnorm

from lensbench.errors import ConfigError, RecordError
from lensbench.evaluation.calibration import (
    Reliability,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)
from lensbench.evaluation.proportions import wilson_interval
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

METRICS = [
    expected_calibration_error,
    debiased_calibration_error,
    classwise_calibration_error,
]


def calibrated(
    n: int, seed: int, n_classes: int = 3, spread: float = 3.0, sharpness: float = 1.0
) -> Predictions:
    """Draw labels from the probabilities of logits, which are then multiplied by the sharpness."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, n_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    ids = [f"{i:06}" for i in range(n)]
    return Predictions.of(ids, labels, logits * sharpness, [f"c{k}" for k in range(n_classes)])


def once(n: int) -> np.ndarray:
    return np.ones((n, 1))


def equal_mass_bins(values: np.ndarray, n_bins: int) -> list[list[int]]:
    """Fill bins one value after the other; a value that was in the last bin stays in it."""
    bins: list[list[int]] = [[]]
    for n_taken, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        is_tied = bool(bins[-1]) and values[bins[-1][-1]] == values[i]
        while not is_tied and n_taken * n_bins >= len(bins) * len(values):
            bins.append([])
        bins[-1].append(i)
    return [one for one in bins if one]


def slow_error(values, hits, weights, n_bins=15) -> float:
    error = 0.0
    for inside in equal_mass_bins(values, n_bins):
        weight = sum(weights[i] for i in inside)
        if weight:
            accuracy = sum(weights[i] * hits[i] for i in inside) / weight
            confidence = sum(weights[i] * values[i] for i in inside) / weight
            error += weight / sum(weights) * abs(accuracy - confidence)
    return error


def slow_debiased(values, hits, weights) -> float:
    excess = 0.0
    for inside in equal_mass_bins(values, 15):
        n = sum(weights[i] for i in inside)
        if n:
            accuracy = sum(weights[i] * hits[i] for i in inside) / n
            gap = abs(accuracy - sum(weights[i] * values[i] for i in inside) / n)
            deviation = (accuracy * (1 - accuracy) / n) ** 0.5
            again = foldnorm(gap / deviation, scale=deviation).mean() if deviation else gap
            excess += n / sum(weights) * (again - gap)
    return slow_error(values, hits, weights) - excess


def with_ties(seed: int) -> Predictions:
    drawn = calibrated(400, seed, sharpness=1.5)
    logits = np.round(drawn.logits)
    logits[:90] = [40, 0, 0]  # a confidence of exactly 1, in more than one bin's worth
    return Predictions(drawn.ids, drawn.labels, logits, drawn.classes)


@pytest.mark.parametrize("predictions", [calibrated(401, 0), with_ties(1)])
def test_errors_are_those_of_the_definitions_on_resamples(predictions):
    scored = Scored.of(predictions)
    n = len(scored.labels)
    counts = np.random.default_rng(2).multinomial(n, np.full(n, 1 / n), 4).T.astype(float)
    counts[:, 0] = 1
    confidence, right = scored.confidence, scored.is_right
    for b, weights in enumerate(counts.T):
        assert expected_calibration_error(scored, counts)[b] == pytest.approx(
            slow_error(confidence, right, weights)
        )
        assert debiased_calibration_error(scored, counts)[b] == pytest.approx(
            slow_debiased(confidence, right, weights)
        )
        assert classwise_calibration_error(scored, counts)[b] == pytest.approx(
            np.mean(
                [
                    slow_error(scored.probabilities[:, k], scored.labels == k, weights)
                    for k in range(3)
                ]
            )
        )


@pytest.mark.parametrize("metric", METRICS)
def test_an_example_that_counts_twice_is_an_example_repeated(metric):
    """All twice, so that the bins are the same."""
    predictions = with_ties(3)
    twice = Predictions(
        np.concatenate([np.char.add(predictions.ids, "a"), np.char.add(predictions.ids, "b")]),
        np.tile(predictions.labels, 2),
        np.tile(predictions.logits, (2, 1)),
        predictions.classes,
    )
    once_each = metric(Scored.of(twice), once(800))
    np.testing.assert_allclose(metric(Scored.of(predictions), 2 * once(400)), once_each, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_resample_without_the_examples_of_a_bin_has_a_value(metric):
    scored = Scored.of(calibrated(300, 4))
    counts = np.where(scored.confidence > np.median(scored.confidence), 1.0, 0.0)[:, None]
    assert np.isfinite(metric(scored, counts)).all()


def test_always_sure_and_right_two_times_in_three():
    labels = np.array([0, 0, 1] * 20)
    logits = np.tile([1000.0, 0.0], (60, 1))
    predictions = Predictions.of([str(i) for i in range(60)], labels, logits, ["a", "b"])
    scored = Scored.of(predictions)
    assert expected_calibration_error(scored, once(60))[0] == pytest.approx(1 / 3)
    assert classwise_calibration_error(scored, once(60))[0] == pytest.approx(1 / 3)
    assert debiased_calibration_error(scored, once(60))[0] == pytest.approx(1 / 3, abs=1e-6)
    assert len(reliability(predictions, 0.95).bins) == 1


def test_of_perfect_probabilities_the_error_is_chance_and_the_correction_takes_two_fifths():
    plain, debiased, by_chance = [], [], []
    for seed in range(150):
        predictions = calibrated(1500, seed, spread=1.5)
        scored = Scored.of(predictions)
        plain.append(expected_calibration_error(scored, once(1500))[0])
        debiased.append(debiased_calibration_error(scored, once(1500))[0])
        by_chance.append(reliability(predictions, 0.95).error_by_chance)
    assert np.mean(plain) > 0.025
    assert np.mean(by_chance) == pytest.approx(np.mean(plain), rel=0.04)
    # E|z| = c of a standard normal z and E|z + z'| = c sqrt(2), so c (2 - sqrt 2) stays.
    assert np.mean(debiased) == pytest.approx((2 - np.sqrt(2)) * np.mean(plain), rel=0.06)


def test_of_wrong_probabilities_the_correction_takes_most_of_what_finite_bins_add():
    truth = expected_calibration_error(
        Scored.of(calibrated(400_000, 0, spread=1.5, sharpness=1.25)), once(400_000)
    )[0]
    plain, debiased = [], []
    for seed in range(1, 151):
        scored = Scored.of(calibrated(1500, seed, spread=1.5, sharpness=1.25))
        plain.append(expected_calibration_error(scored, once(1500))[0])
        debiased.append(debiased_calibration_error(scored, once(1500))[0])
    # A bin of 100 has a standard error of 0.04: 2 f(1, 1) - f(1, sqrt 2) is 0.93, with the mean
    # f(m, s) of a folded normal distribution, where f(1, 1) is 1.17.
    assert np.mean(plain) - truth > 0.004
    assert abs(np.mean(debiased) - truth) < 0.004


def test_reliability_holds_each_example_once_with_wilsons_intervals():
    predictions = calibrated(1003, 5, sharpness=2)
    scored = Scored.of(predictions)
    result = reliability(predictions, n_bins=10, level=0.9)
    inside = equal_mass_bins(scored.confidence, 10)
    assert len(result.bins) == len(inside) == 10
    for one, members in zip(result.bins, inside, strict=True):
        confidence, right = scored.confidence[members], scored.is_right[members]
        assert (one.low, one.high) == (confidence.min(), confidence.max())
        assert one.confidence == pytest.approx(confidence.mean())
        assert one.accuracy.n == len(members)
        assert one.accuracy.value == right.mean()
        assert (one.accuracy.low, one.accuracy.high) == wilson_interval(
            right.sum(), len(members), 0.9
        )
    assert result.error == pytest.approx(
        slow_error(scored.confidence, scored.is_right, np.ones(1003), 10)
    )
    assert Reliability.model_validate_json(result.model_dump_json()) == result


def test_fewer_examples_than_bins_are_a_bin_each():
    assert [one.accuracy.n for one in reliability(calibrated(7, 6), 0.95).bins] == [1] * 7


def test_reliability_needs_a_bin_and_an_example():
    with pytest.raises(ConfigError, match="at least 1 bin, not 0"):
        reliability(calibrated(10, 0), 0.95, n_bins=0)
    with pytest.raises(RecordError, match="no predictions"):
        reliability(calibrated(0, 0), 0.95)


@pytest.mark.parametrize("size", [1e151, 1e308])
def test_logits_beyond_reckoning_have_no_temperature(size):
    logits = calibrated(200, 7).logits.copy()
    logits[0] = -size, size, 0
    validation = Predictions.of(range(200), np.arange(200) % 3, logits, ["a", "b", "c"])
    with pytest.raises(RecordError, match=r"lie up to \S+ apart.*lower learning rate"):
        fit_temperature(validation)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("factor", [0.001, 0.4, 3.0, 1000.0])
def test_the_temperature_is_the_factor_of_the_logits(n_classes, factor):
    n = 60_000
    fitted = fit_temperature(calibrated(n, 7, n_classes, spread=2, sharpness=factor))
    assert fitted == pytest.approx(factor, rel=0.02)


def test_the_temperature_has_the_least_cross_entropy():
    predictions = calibrated(200, 8, sharpness=2)

    def cross_entropy(log_temperature: float) -> float:
        logs = log_softmax(predictions.logits / np.exp(log_temperature), axis=1)
        return -logs[np.arange(200), predictions.labels].mean()

    best = minimize_scalar(cross_entropy, bounds=(-3, 3), options={"xatol": 1e-10})
    assert fit_temperature(predictions) == pytest.approx(np.exp(best.x), rel=1e-5)
    moved = predictions.logits + np.random.default_rng(0).normal(0, 50_000, (200, 1))
    shifted = Predictions(predictions.ids, predictions.labels, moved, predictions.classes)
    assert fit_temperature(shifted) == pytest.approx(fit_temperature(predictions), rel=1e-7)


def test_a_temperature_mends_the_probabilities_and_changes_no_call():
    validation, test = calibrated(4000, 9, sharpness=3), calibrated(4000, 10, sharpness=3)
    mended = with_temperature(test, fit_temperature(validation))
    np.testing.assert_array_equal(Scored.of(mended).called, Scored.of(test).called)
    np.testing.assert_array_equal(mended.labels, test.labels)
    before, after = reliability(test, 0.95), reliability(mended, 0.95)
    assert before.error > 5 * before.error_by_chance
    assert after.error < 2 * after.error_by_chance


@pytest.mark.parametrize("temperature", [0.985, 1.0, 1.018])
def test_probabilities_that_were_logarithms_add_up_to_one_after_any_temperature(temperature):
    """Those near 1 leave sums near 1, which could pass for rounding."""
    drawn = calibrated(400, 12)
    logs = Predictions(drawn.ids, drawn.labels, log_softmax(drawn.logits, axis=1), drawn.classes)
    scaled = with_temperature(logs, temperature).probabilities
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(scaled, softmax(drawn.logits / temperature, axis=1), atol=1e-12)


def test_nearly_separable_examples_have_a_temperature():
    logits = np.array([[1e-6, 0], [3.0, 0], [0, 40.0]])
    predictions = Predictions.of(["a", "b", "c"], np.array([1, 0, 1]), logits, ["no", "vort"])
    fitted = fit_temperature(predictions)
    inverse = np.linspace(0.9, 1.1, 2001) / fitted
    slow = [-log_softmax(logits * one, axis=1)[range(3), [1, 0, 1]].mean() for one in inverse]
    # Beyond it the cross-entropy rises so slowly that only its slope shows the place.
    assert min(slow) == pytest.approx(slow[1000], abs=1e-9)


def test_a_class_without_validation_examples_is_no_obstacle():
    drawn = calibrated(40_000, 11, sharpness=2)
    kept = drawn.labels != 2
    part = Predictions(drawn.ids[kept], drawn.labels[kept], drawn.logits[kept], drawn.classes)
    assert 1.5 < fit_temperature(part) < 2.5


def test_temperatures_that_do_not_exist():
    ids, labels, classes = ["a", "b"], np.array([0, 1]), ["no", "vort"]
    separable = Predictions.of(ids, labels, np.array([[2.0, 1], [0, 0]]), classes)
    with pytest.raises(RecordError, match="all 2 validation examples are called right"):
        fit_temperature(separable)
    useless = Predictions.of(ids, labels, np.array([[1.0, 2], [4, 0]]), classes)
    with pytest.raises(RecordError, match="no higher for the labels"):
        fit_temperature(useless)
    with pytest.raises(RecordError, match="no validation examples"):
        fit_temperature(Predictions.of([], labels[:0], np.empty((0, 2)), classes))


@pytest.mark.parametrize("temperature", [0, -1, np.inf, np.nan])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ConfigError, match="positive finite number, not"):
        with_temperature(calibrated(5, 0), temperature)
