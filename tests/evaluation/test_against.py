"""Recall in bins of a number."""

import numpy as np
import pytest

from lensbench.errors import RecordError
from lensbench.evaluation.against import recall_against
from lensbench.evaluation.proportions import wilson_interval
from lensbench.outcome import Predictions


def predicted(labels, called, classes=("no", "sphere")) -> Predictions:
    ids = [f"{row}.npy" for row in range(len(labels))]
    logits = np.eye(len(classes))[called]
    return Predictions.of(ids, np.asarray(labels), logits, classes)


def by_id(values) -> dict[str, float]:
    return {f"{row}.npy": value for row, value in enumerate(values)}


def test_each_example_of_a_class_counts_in_the_bin_of_its_number():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    values = rng.lognormal(0, 1, 600)
    called = np.where(values > np.median(values), labels, 1 - labels)  # right for large numbers
    bins = recall_against(predicted(labels, called), by_id(values), n_bins=4)
    for k, name in enumerate(("no", "sphere")):
        assert sum(one.recall.n for one in bins[name]) == (labels == k).sum()
        assert (
            max(one.recall.n for one in bins[name]) - min(one.recall.n for one in bins[name]) <= 1
        )
        for one in bins[name]:
            inside = (labels == k) & (values >= one.low) & (values <= one.high)
            n_right = int((called == labels)[inside].sum())
            assert one.recall.n == inside.sum()
            assert one.recall.value == n_right / inside.sum()
            assert (one.recall.low, one.recall.high) == wilson_interval(n_right, inside.sum(), 0.95)
            assert one.middle == np.median(values[inside])
        assert [one.low for one in bins[name]] == sorted(one.low for one in bins[name])


def test_equal_numbers_share_a_bin_and_missing_ones_are_left_out():
    labels, called = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0]
    bins = recall_against(
        predicted(labels, called), by_id([0, 0, 0, 2.0, float("nan"), float("nan")])
    )
    (only,) = bins["no"]
    assert (only.low, only.high, only.recall.n, only.recall.value) == (0, 0, 3, 2 / 3)
    (only,) = bins["sphere"]
    assert (only.recall.n, only.recall.value) == (1, 1)


def test_a_class_without_numbers_has_no_bins():
    bins = recall_against(predicted([0, 1], [0, 1]), by_id([float("nan"), 1.0]))
    assert bins["no"] == []


def test_an_example_that_the_table_does_not_know_is_an_error():
    with pytest.raises(RecordError, match=r"no number is known of 1 of 2 examples.*1\.npy"):
        recall_against(predicted([0, 1], [0, 1]), {"0.npy": 1.0})
