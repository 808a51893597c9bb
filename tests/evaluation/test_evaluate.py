"""From predictions to everything that is known about them."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, auc, precision_recall_fscore_support, roc_auc_score

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions

CLASSES = ("no", "sphere", "vort")


def predictions(n: int = 300, n_classes: int = 3, separation: float = 1.0) -> Predictions:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % n_classes
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), labels] += separation
    return Predictions.of([f"{i}.npy" for i in range(n)], labels, logits, CLASSES[:n_classes])


def test_every_estimate_equals_scikit_learns():
    made = predictions()
    values = {name: e.value for name, e in evaluate(made, JudgeSpec()).estimates.items()}
    labels, scores, called = made.labels, made.probabilities, made.logits.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, called)
    hits = np.eye(3)[labels]
    expected = {
        "auc_ovr_macro": roc_auc_score(labels, scores, multi_class="ovr"),
        "auc_ovr_micro": roc_auc_score(hits.ravel(), scores.ravel()),
        "accuracy": accuracy_score(labels, called),
    }
    for k, name in enumerate(CLASSES):
        expected[f"auc_ovr/{name}"] = roc_auc_score(hits[:, k], scores[:, k])
        expected[f"precision/{name}"] = precision[k]
        expected[f"recall/{name}"] = recall[k]
        expected[f"f1/{name}"] = f1[k]
    assert values == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_the_error_of_the_micro_auc_is_that_of_resampled_images():
    """Three decisions about one image are not three images."""
    made = predictions(n=240)
    estimate = evaluate(made, JudgeSpec()).estimates["auc_ovr_micro"]
    rng = np.random.default_rng(0)
    hits = np.eye(3)[made.labels]
    resampled = [
        roc_auc_score(hits[rows].ravel(), made.probabilities[rows].ravel())
        for rows in rng.integers(0, 240, (1500, 240))
    ]
    assert estimate.low == pytest.approx(np.quantile(resampled, 0.025), abs=0.005)
    assert estimate.high == pytest.approx(np.quantile(resampled, 0.975), abs=0.005)


def test_perfect_separation_is_not_certainty():
    logits = 9 * np.eye(3)[np.arange(30) % 3]
    made = Predictions.of([str(i) for i in range(30)], np.arange(30) % 3, logits, CLASSES)
    estimate = evaluate(made, JudgeSpec()).estimates["auc_ovr_macro"]
    assert (estimate.value, estimate.high) == (1, 1)
    assert 0.65 < estimate.low < 0.95
    assert "smallest class" in estimate.method


def test_every_estimate_lies_in_its_interval():
    for separation in (0.0, 1.0, 20.0):
        for estimate in evaluate(
            predictions(separation=separation), JudgeSpec()
        ).estimates.values():
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1, estimate


def test_curves_have_the_areas_that_are_reported():
    evaluation = evaluate(predictions(), JudgeSpec())
    assert set(evaluation.roc_curves) == {*CLASSES, "micro", "macro"}
    for name, curve in evaluation.roc_curves.items():
        assert (curve.fpr[0], curve.tpr[0]) == (0, 0)
        assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
        assert auc(curve.fpr, curve.tpr) == pytest.approx(curve.auc, abs=1e-12)
        key = f"auc_ovr_{name}" if name in ("micro", "macro") else f"auc_ovr/{name}"
        assert curve.auc == pytest.approx(evaluation.estimates[key].value, abs=1e-12)


def test_the_confusion_matrix_has_true_classes_in_rows():
    made = Predictions.of(["a", "b", "c"], np.array([0, 1, 1]), np.eye(2)[[1, 1, 1]], ("x", "y"))
    assert evaluate(made, JudgeSpec()).confusion_matrix == ((0, 1), (0, 2))


def test_two_classes_have_one_auc():
    made = predictions(n_classes=2)
    expected = roc_auc_score(made.labels, made.probabilities[:, 1])
    estimates = evaluate(made, JudgeSpec()).estimates
    assert estimates["auc_ovr_macro"].value == pytest.approx(expected, abs=1e-12)


def test_order_does_not_matter():
    made = predictions()
    order = np.random.default_rng(1).permutation(300)
    shuffled = Predictions(made.ids[order], made.labels[order], made.logits[order], made.classes)
    for name, estimate in evaluate(shuffled, JudgeSpec()).estimates.items():
        other = evaluate(made, JudgeSpec()).estimates[name]
        assert (estimate.value, estimate.low) == pytest.approx((other.value, other.low), abs=1e-12)


def test_a_class_without_examples_is_refused():
    made = predictions()
    some = Predictions.of(
        made.ids[made.labels < 2],
        made.labels[made.labels < 2],
        made.logits[made.labels < 2],
        CLASSES,
    )
    with pytest.raises(RecordError, match="no example of vort"):
        evaluate(some, JudgeSpec())
