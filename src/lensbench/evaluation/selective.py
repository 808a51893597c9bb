"""Selective prediction: the error rate of the most confident predictions."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from lensbench.errors import RecordError
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.evaluation.ranking import Floats, Integers, cumulate
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

_COVERAGES = (0.5, 0.8, 0.9, 0.95)
_MOST_POINTS = 500


class RiskCoverage(BaseModel):
    """The share of wrong calls among those that are made, against the share that is made.

    Attributes:
        coverage: The share of examples at least as confident as a threshold, ascending to 1, for
            the thresholds that occur, or some 500 of them.
        risk: The share of these that is called wrong.
        aurc: `area_under_risk_coverage`, of all thresholds.
        at: The risk at the smallest coverages of at least 50, 80, 90 and 95 %, with Wilson
            intervals; `n` is the number of examples covered.
        n: All examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    at: tuple[Estimate, ...]
    n: int


def area_under_risk_coverage(scored: Scored, counts: Floats) -> Floats:
    """Return the mean risk over the coverages 1/n, 2/n, ... 1, the most confident first.

    The risk-coverage curve is that of Geifman & El-Yaniv (2017, NeurIPS), its area as in Geifman,
    Uziel & El-Yaniv (2019, ICLR). A wrong example that is accepted as the r-th is part of the risk
    from then on, so with n accepted in all it adds (H(n) - H(r - 1)) / n with the harmonic numbers
    H: only wrong examples have to be looked at. Examples of equal confidence, as are the copies of
    one in a resample, can be accepted in any order: the value is the mean over all orders. Of m
    tied ones after W others, a wrong one adds H(n) - H(W + m) beyond them, and among them
    1 - W (H(W + m) - H(W)) / m on average.

    Args:
        scored: N examples.
        counts: (N, B) how often each resample holds each example, whole numbers.

    Returns:
        (B,) float64 in 0..1.
    """
    all_counts, wrong_counts = scored.errors_by_confidence
    accepted = cumulate(all_counts @ counts)
    before, until, n = accepted[:-1:2], accepted[1::2], accepted[-1]
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, n.max() + 1))])
    at_before, at_until, at_end = (harmonic[one.astype(np.int64)] for one in (before, until, n))
    among = 1 - before * (at_until - at_before) / np.maximum(until - before, 1)
    area: Floats = ((wrong_counts @ counts) * (at_end - at_until + among)).sum(axis=0) / n
    return area


def risk_coverage(predictions: Predictions, level: float) -> RiskCoverage:
    """Return the risk-coverage curve, its area, and the risk at the coverages of common use.

    Args:
        predictions: Of N examples.
        level: Of the intervals.

    Raises:
        RecordError: There is no example.
    """
    n = len(predictions.ids)
    if not n:
        raise RecordError("no predictions: the risk of none does not exist")
    scored = Scored.of(predictions)
    n_tied, n_tied_wrong = _tied(scored)
    covered, wrong = n_tied.cumsum(), n_tied_wrong.cumsum()
    kept = np.unique(np.searchsorted(covered, np.linspace(0, n, _MOST_POINTS)))
    return RiskCoverage(
        coverage=tuple((covered[kept] / n).tolist()),
        risk=tuple((wrong[kept] / covered[kept]).tolist()),
        aurc=float(area_under_risk_coverage(scored, np.ones((n, 1)))[0]),
        at=tuple(
            proportion_estimate(f"risk_at/{wanted}", int(wrong[i]), int(covered[i]), level)
            for wanted in _COVERAGES
            for i in [np.searchsorted(covered / n, wanted)]
        ),
        n=n,
    )


def _tied(scored: Scored) -> tuple[Integers, Integers]:
    """Return (G,) numbers of examples, and of wrong ones, of each confidence, highest first."""
    confidences, place, tied = np.unique(
        -scored.confidence, return_inverse=True, return_counts=True
    )
    return tied, np.bincount(place[~scored.is_right], minlength=len(confidences))
