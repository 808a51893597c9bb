"""Predictions: what they refuse, and that they survive a file."""

import numpy as np
import pytest

from lensbench.errors import RecordError
from lensbench.outcome import Predictions


def make(**changes) -> Predictions:
    parts = {
        "ids": ["a", "b"],
        "labels": np.array([0, 1]),
        "logits": np.array([[2.0, 1.0], [-1.0, 3.0]]),
        "classes": ("no", "vort"),
    }
    return Predictions.of(**(parts | changes))


def test_a_file_keeps_everything(tmp_path):
    made = make(ids=["train/no/1.npy", "é.npy"])
    made.save(tmp_path / "new" / "p.npz")
    read = Predictions.load(tmp_path / "new" / "p.npz")
    np.testing.assert_array_equal(read.ids, made.ids)
    np.testing.assert_array_equal(read.labels, made.labels)
    np.testing.assert_array_equal(read.logits, made.logits)
    assert read.classes == made.classes
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.npz"]


def test_probabilities_are_the_softmax():
    expected = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(make().probabilities[0], [expected, 1 - expected])
    huge = make(logits=np.array([[1e4, 0.0], [0.0, 1e4]]))
    np.testing.assert_array_equal(huge.probabilities, np.eye(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0])}, "need labels of shape"),
        ({"logits": np.zeros((2, 3))}, "need labels of shape"),
        ({"ids": ["a", "a"]}, "predicted once"),
        ({"labels": np.array([0, 2])}, r"labels must lie in 0\.\.1"),
        ({"logits": np.array([[0.0, np.nan], [0.0, 1.0]])}, "1 of 2 examples are not finite"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(RecordError, match=message):
        make(**changes)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "p.npz", ids=np.array([{}], dtype=object), labels=[0], logits=[[0.0]])
    with pytest.raises(RecordError, match="not a predictions file"):
        Predictions.load(tmp_path / "p.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"gone\.npz"):
        Predictions.load(tmp_path / "gone.npz")
