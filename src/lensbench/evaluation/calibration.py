"""Calibration errors, reliability diagrams and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.special import erf, log_softmax

from lensbench.errors import ConfigError, RecordError
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.metrics_of_probabilities import LARGEST_LOSS
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.evaluation.ranking import Booleans, Floats, Integers
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

_N_BINS = 15


class ReliabilityBin(BaseModel):
    """Examples of neighbouring confidence.

    Attributes:
        low: The smallest confidence among them.
        confidence: The mean.
        high: The largest.
        accuracy: The share of them that was called right, of `accuracy.n`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    confidence: float
    high: float
    accuracy: Estimate


class Reliability(BaseModel):
    """Accuracy against confidence, and how far apart they are.

    Attributes:
        bins: In order of confidence.
        error: The expected calibration error in these bins.
        error_by_chance: What it would be on average, were each confidence exactly the probability
            to be right, since no bin of finite size is right exactly as often as its probability
            (normal approximation).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bins: tuple[ReliabilityBin, ...]
    error: float
    error_by_chance: float


def expected_calibration_error(scored: Scored, counts: Floats) -> Floats:
    """Return the mean distance of accuracy from confidence (Guo et al. 2017, ICML, sec. 2).

    In 15 bins of equally many examples, as nearly as can be; equal confidences share a bin. Guo's
    bins have equal width: values in such bins are other ones, and do not compare with these. Bins
    are those of the examples, not of each resample. Finite bins make it too large: it is above
    zero for perfect probabilities, and the mean over bootstrap resamples is above the value.

    Args:
        scored: N examples.
        counts: (N, B) how often each resample holds each example.

    Returns:
        (B,) float64 in 0..1.
    """
    return _binned(scored.confidence, scored.is_right, counts).error


def debiased_calibration_error(scored: Scored, counts: Floats) -> Floats:
    """Return the expected calibration error less what finite bins add to it, as far as known.

    Kumar, Liang & Ma (2019, NeurIPS, "Verified Uncertainty Calibration") describe the bias; their
    program estimates it as what the error grows by when the accuracy of each bin, a of n examples,
    is drawn again from a normal distribution of variance a (1 - a) / n. The mean of such draws is
    that of a folded normal distribution (Leone, Nelson & Nottingham 1961, Technometrics 3, 543),
    so none is drawn here.

    Where probabilities are wrong by a bin's standard error or more, the result is right to a tenth
    of that standard error on average. Of perfect ones 2 - sqrt(2), or 59 %, of the bias stays,
    because the first draw's noise is in the second; `Reliability.error_by_chance` says what to
    expect of these. Where the subtraction would leave less than nothing, the value is 0: there is
    no sign of miscalibration, and no more or less of none.

    Args:
        scored: N examples.
        counts: (N, B) how often each resample holds each example.

    Returns:
        (B,) float64 in 0..1.
    """
    binned = _binned(scored.confidence, scored.is_right, counts)
    deviation = np.sqrt(binned.accuracy * (1 - binned.accuracy) / np.maximum(binned.n, 1))
    drawn_again = (binned.share * _folded_normal_mean(binned.gap, deviation)).sum(axis=0)
    debiased: Floats = np.maximum(2 * binned.error - drawn_again, 0)
    return debiased


def classwise_calibration_error(scored: Scored, counts: Floats) -> Floats:
    """Return the mean over classes of the calibration error of each class's probability.

    The probability of each class, of all examples, against the share of the class (Kull et al.
    2019, NeurIPS, "Beyond temperature scaling"). Bins hold equally many examples, as in
    `expected_calibration_error`; Kull's have equal width, so that values do not compare.

    Args:
        scored: N examples.
        counts: (N, B) how often each resample holds each example.

    Returns:
        (B,) float64 in 0..1.
    """
    errors = [
        _binned(scored.probabilities[:, k], scored.labels == k, counts).error
        for k in range(scored.n_classes)
    ]
    mean: Floats = np.mean(errors, axis=0)
    return mean


def reliability(predictions: Predictions, level: float, n_bins: int = _N_BINS) -> Reliability:
    """Return accuracy against confidence in bins that hold about as many examples each.

    Args:
        predictions: Of N examples.
        level: Of the intervals, which are Wilson's.
        n_bins: Bins, at most: equal confidences share one.

    Raises:
        ConfigError: There is less than one bin.
        RecordError: There is no example.
    """
    if n_bins < 1:
        raise ConfigError(f"a reliability diagram needs at least 1 bin, not {n_bins}")
    if not len(predictions.ids):
        raise RecordError("no predictions: the reliability of none does not exist")
    scored = Scored.of(predictions)
    confidence, is_right = scored.confidence, scored.is_right
    number_of_bin = _number_of_bin(confidence, n_bins)
    bins = []
    for number in range(number_of_bin.max() + 1):
        inside = number_of_bin == number
        n_right = int(is_right[inside].sum())
        bins.append(
            ReliabilityBin(
                low=float(confidence[inside].min()),
                confidence=float(confidence[inside].mean()),
                high=float(confidence[inside].max()),
                accuracy=proportion_estimate(
                    f"accuracy/bin {number + 1}", n_right, int(inside.sum()), level
                ),
            )
        )
    # A bin's count of right calls has this variance if the confidences are its probabilities.
    variance = np.bincount(number_of_bin, confidence * (1 - confidence))
    binned = _binned(confidence, is_right, np.ones((len(confidence), 1)), n_bins)
    return Reliability(
        bins=tuple(bins),
        error=float(binned.error[0]),
        error_by_chance=float(np.sqrt(variance * 2 / np.pi).sum() / len(confidence)),
    )


class AllRightError(RecordError):
    """A classifier that makes no mistake has no best temperature."""


def fit_temperature(validation: Predictions) -> float:
    """Return the temperature T whose logits / T have the least mean cross-entropy.

    Temperature scaling (Guo et al. 2017, ICML, sec. 4.2). The cross-entropy is convex in 1 / T, so
    its slope has one root at most. One temperature serves all classes, also those of which
    `validation` has no example. T > 1 says that confidences were too high.

    Args:
        validation: Never the test examples.

    Raises:
        AllRightError: All examples are called right, so that a lower temperature is always better.
        RecordError: There is no example or no best temperature: logits tell nothing of labels, so
            that higher is always better; or they are too far apart to reckon with.
    """
    n = len(validation.ids)
    if not n:
        raise RecordError("no validation examples: a temperature is fitted to some")
    with np.errstate(over="ignore"):
        below_best = validation.logits - validation.logits.max(axis=1, keepdims=True)
    if below_best.min() < -LARGEST_LOSS:
        raise RecordError(
            f"validation logits lie up to {-below_best.min():.3g} apart, beyond what cross-entropy "
            "can be reckoned with: training diverged; try a lower learning rate"
        )
    of_label = below_best[np.arange(n), validation.labels]

    def slope(inverse: float) -> float:
        weights = np.exp(inverse * below_best)
        expected = (weights * below_best).sum(axis=1) / weights.sum(axis=1)
        return float((expected - of_label).mean())

    if (of_label == 0).all():
        raise AllRightError(
            f"all {n:,} validation examples are called right, so that no temperature is too low: "
            "fit it to more or harder validation examples, or do without"
        )
    if slope(0) >= 0:
        raise RecordError(
            "validation logits are no higher for the labels than for other classes, so that no "
            "temperature is too high: the classifier has learnt nothing, or its classes are in "
            "another order"
        )

    # Takes a fifth of a second, which who fits no temperature does without.
    from scipy.optimize import brentq

    high = -1 / float(below_best.mean())
    while slope(high) <= 0:
        high *= 2
    return 1 / float(brentq(slope, 0, high, xtol=1e-12 * high))


def with_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """Return the predictions with the log-softmax of logits / temperature; no call changes.

    It is taken here, since logits whose exponentials sum to nearly 1 pass for logarithms of
    probabilities, and those of a temperature near 1 would, without being any.

    Raises:
        ConfigError: The temperature is not a positive finite number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"a temperature is a positive finite number, not {temperature}")
    logits = log_softmax(predictions.logits / temperature, axis=1)
    return Predictions(predictions.ids, predictions.labels, logits, predictions.classes)


@dataclass(frozen=True)
class _Binned:
    """(M, B) examples, mean probability and share of hits of M bins in B resamples."""

    n: Floats
    probability: Floats
    accuracy: Floats

    @property
    def share(self) -> Floats:
        share: Floats = self.n / self.n.sum(axis=0)
        return share

    @property
    def gap(self) -> Floats:
        gap: Floats = np.abs(self.accuracy - self.probability)
        return gap

    @property
    def error(self) -> Floats:
        error: Floats = (self.share * self.gap).sum(axis=0)
        return error


def _binned(
    probability: Floats, is_hit: Booleans, counts: Floats, n_bins: int = _N_BINS
) -> _Binned:
    number_of_bin = _number_of_bin(probability, n_bins)
    member = np.equal.outer(np.arange(number_of_bin.max() + 1), number_of_bin).astype(np.float64)
    n = member @ counts
    # A resample may miss a bin, whose share is then 0.
    divisor = np.maximum(n, 1)
    return _Binned(
        n, (member * probability) @ counts / divisor, (member * is_hit) @ counts / divisor
    )


def _number_of_bin(values: Floats, n_bins: int) -> Integers:
    """Return (N,) which bin of about equal number each value is in; no bin is empty."""
    last = -(-len(values) * np.arange(1, n_bins) // n_bins) - 1
    number = np.searchsorted(np.sort(values)[last], values, side="left")
    numbers: Integers = np.unique(number, return_inverse=True)[1]
    return numbers


def _folded_normal_mean(mean: Floats, deviation: Floats) -> Floats:
    """Return the mean of |x| of a normal x."""
    ratio = np.divide(mean, deviation, out=np.full_like(mean, np.inf), where=deviation > 0)
    around_zero = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2)
    folded: Floats = around_zero + mean * erf(ratio / np.sqrt(2))
    return folded
