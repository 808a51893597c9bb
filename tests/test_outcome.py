"""Predictions: what they refuse, and that they survive a file."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from lensbench.errors import RecordError
from lensbench.outcome import Predictions, ranking_scores


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


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_scores_rank_as_probabilities_that_never_round(n_classes):
    """The oracle has 300 digits."""
    logits = np.random.default_rng(n_classes).normal(0, 60, size=(60, n_classes)).round(3)
    scores = ranking_scores(logits)
    with localcontext() as context:
        context.prec = 300
        odds = []
        for row in logits.tolist():
            weights = [Decimal(str(one)).exp() for one in row]
            odds.append([weight / (sum(weights) - weight) for weight in weights])
    for k in range(n_classes):
        assert np.argsort(scores[:, k]).tolist() == sorted(range(60), key=lambda i: odds[i][k])
        np.testing.assert_allclose(scores[:, k], [float(row[k].ln()) for row in odds], rtol=1e-9)
    rounded = Predictions.of(
        [str(i) for i in range(60)],
        np.zeros(60, dtype=np.int64),
        logits,
        [str(k) for k in range(n_classes)],
    )
    assert (rounded.probabilities == 1).any()


def test_equal_examples_have_equal_scores():
    """Whatever is added to all logits of an example, and however probabilities were rounded."""
    logits = np.array([[0.1, 1.3, -2.7], [0.1, 1.3, -2.7], [1.0, 2.0, 4.0]])
    scores = ranking_scores(logits + np.array([[0.0], [64.0], [0.0]]))
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)
    whole = ranking_scores(np.array([[1.0, 2.0, 4.0], [65.0, 66.0, 68.0]]))
    np.testing.assert_array_equal(whole[0], whole[1])
    written = np.log([[0.33, 0.33, 0.33], [0.33, 0.34, 0.33]])
    np.testing.assert_array_equal(ranking_scores(written), written)
    assert np.isfinite(ranking_scores(np.array([[1e308, -1e308, 0.0], [0.0, 0.0, -1e200]]))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0])}, "need labels of shape"),
        ({"logits": np.zeros((2, 3))}, "need labels of shape"),
        ({"ids": ["a", "a"]}, "predicted once"),
        ({"labels": np.array([0, 2])}, r"labels must lie in 0\.\.1"),
        ({"logits": np.array([[0.0, np.nan], [0.0, 1.0]])}, "1 of 2 examples are not finite"),
        ({"labels": [0.0, 1.0]}, "labels are the numbers of classes, integers, not float64"),
        ({"classes": ("a", "a")}, "two or more classes of different names"),
        ({"classes": ("a",), "logits": [[0.0], [0.0]]}, "two or more classes of different names"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(RecordError, match=message):
        make(**changes)


def test_plain_sequences_serve_as_well_as_arrays():
    made = Predictions.of(["a", "b"], [0, 1], [[0, 1], [2, 3]], ["no", "vort"])
    assert (made.labels.dtype, made.logits.dtype) == (np.int64, np.float64)
    single = Predictions.of(made.ids, made.labels, made.logits.astype(np.float32), made.classes)
    assert single.logits.dtype == np.float64


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "p.npz", ids=np.array([{}], dtype=object), labels=[0], logits=[[0.0]])
    with pytest.raises(RecordError, match="not a predictions file"):
        Predictions.load(tmp_path / "p.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"gone\.npz"):
        Predictions.load(tmp_path / "gone.npz")
