"""How often a classifier is right, against a number that is known of each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.outcome import Predictions


@dataclass(frozen=True)
class Bin:
    """The examples of a class whose number lies between two values.

    Attributes:
        low: The smallest number among them.
        middle: Their median.
        high: The largest.
        recall: The share of them that was called by their class.
    """

    low: float
    middle: float
    high: float
    recall: Estimate


def recall_against(
    predictions: Predictions,
    numbers: Mapping[str, float],
    n_bins: int = 6,
    spec: JudgeSpec = JudgeSpec(),
) -> dict[str, list[Bin]]:
    """Return the recall of each class in bins of a number.

    Each bin holds about as many examples of the class as another; equal numbers share a bin.

    Args:
        predictions: Of N examples.
        numbers: A number for every id, NaN where an example has none; these are left out.
        n_bins: Bins of a class, at most.
        spec: Level of the intervals, which are Wilson's.

    Returns:
        For each class its bins, in order; an empty list where no example has a number.

    Raises:
        RecordError: An example is not in `numbers`.
    """
    missing = [name for name in predictions.ids.tolist() if name not in numbers]
    if missing:
        raise RecordError(
            f"no number is known of {len(missing):,} of {len(predictions.ids):,} examples, "
            f"the first of them {missing[0]}"
        )
    values = np.array([numbers[name] for name in predictions.ids.tolist()])
    is_right = predictions.logits.argmax(1) == predictions.labels
    bins = {}
    for k, name in enumerate(predictions.classes):
        chosen = (predictions.labels == k) & np.isfinite(values)
        bins[name] = _bins(f"recall_{name}", values[chosen], is_right[chosen], n_bins, spec)
    return bins


def _bins(
    name: str,
    values: NDArray[np.float64],
    is_right: NDArray[np.bool_],
    n_bins: int,
    spec: JudgeSpec,
) -> list[Bin]:
    if not len(values):
        return []
    edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
    number_of_bin = np.searchsorted(np.unique(edges), values, side="left")
    bins = []
    for number in np.unique(number_of_bin):
        inside = number_of_bin == number
        n_right = int(is_right[inside].sum())
        bins.append(
            Bin(
                low=float(values[inside].min()),
                middle=float(np.median(values[inside])),
                high=float(values[inside].max()),
                recall=proportion_estimate(name, n_right, int(inside.sum()), spec.level),
            )
        )
    return bins
