"""From predictions to everything that is known about them."""

import warnings

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, auc, precision_recall_fscore_support, roc_auc_score

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.bootstrap import bootstrap, deviation_interval
from lensbench.evaluation.estimate import Estimate, Evaluation, UndefinedMetricWarning
from lensbench.evaluation.estimates import estimate
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.joint import joint
from lensbench.evaluation.metrics import METRICS, metric_of
from lensbench.evaluation.scored import Scored
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
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_the_error_of_the_micro_auc_is_that_of_resampled_images():
    """Three decisions about one image are not three images."""
    made = predictions(n=240)
    estimate = evaluate(made, JudgeSpec()).estimates["auc_ovr_micro"]
    rng = np.random.default_rng(0)
    hits = np.eye(3)[made.labels]
    resampled = [
        roc_auc_score(hits[rows].ravel(), made.probabilities[rows].ravel())
        for rows in rng.integers(0, 240, (600, 240))
    ]
    assert estimate.low == pytest.approx(np.quantile(resampled, 0.025), abs=0.006)
    assert estimate.high == pytest.approx(np.quantile(resampled, 0.975), abs=0.006)


def test_perfect_separation_is_not_certainty():
    logits = 9 * np.eye(3)[np.arange(30) % 3]
    made = Predictions.of([str(i) for i in range(30)], np.arange(30) % 3, logits, CLASSES)
    estimate = evaluate(made, JudgeSpec()).estimates["auc_ovr_macro"]
    assert (estimate.value, estimate.high) == (1, 1)
    assert 0.65 < estimate.low < 0.95
    assert "smallest class" in estimate.method


def test_every_estimate_lies_in_its_interval():
    for separation in (0.0, 1.0, 12.0):
        found = evaluate(predictions(separation=separation), JudgeSpec(n_resamples=200)).estimates
        for key, one in found.items():
            if key == "mcc" and one.value == 1:
                continue  # has no interval
            assert one.low <= one.value <= one.high, one
            assert one.low < one.high, one
            least, greatest = metric_of(key).limits
            assert least <= one.low <= one.high <= greatest, one


def test_an_estimate_alone_is_that_of_all():
    made, spec = predictions(), JudgeSpec(n_resamples=200)
    for key, expected in evaluate(made, spec).estimates.items():
        assert estimate(made, key, spec) == expected


def test_the_interval_of_a_mean_over_classes_is_that_of_resampled_means():
    made, spec = predictions(), JudgeSpec(n_resamples=300)
    for name in ("f1_macro", "average_precision_macro"):
        metric, scored = METRICS[name], Scored.of(made)
        resampled = bootstrap([scored], {name: metric.weighted}, 300)[name][0]
        value = metric.on_examples(scored)[0]
        found = estimate(made, name, spec)
        expected = deviation_interval(value, resampled, 0.95, (0, 1))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_each_estimate_says_how_it_was_made():
    estimates = evaluate(predictions(), JudgeSpec(n_resamples=200, level=0.8)).estimates
    assert {one.level for one in estimates.values()} == {0.8}
    assert estimates["auc_ovo"].method == "DeLong, logit scale"
    assert estimates["precision/no"].method == "Wilson"
    assert estimates["recall/no"].n == 100
    resampled = "stratified bootstrap, 200 resamples, "
    assert estimates["brier"].method == f"{resampled}logit scale"
    assert estimates["log_loss"].method == f"{resampled}log scale"
    assert estimates["ece"].method.startswith(f"{resampled}centred percentiles; ")

    assert "too narrow" in estimates["tpr_at_0_fp/no"].method
    assert estimates["brier"].n == 300


def test_the_micro_auc_takes_all_classes_for_one_sample():
    """A class of one example has no variance of its own, but is no sample of its own either."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [200, 200, 1])
    logits = rng.normal(size=(401, 3)) + 1.5 * np.eye(3)[labels]
    made = Predictions.of([f"{i:03}" for i in range(401)], labels, logits, "abc")
    found = estimate(made, "auc_ovr_micro", JudgeSpec(n_resamples=400))
    resampled = bootstrap([Scored.of(made)], {"auc": METRICS["auc_ovr_micro"].weighted}, 400)[
        "auc"
    ][0]
    assert found.method == "DeLong, logit scale"
    assert (found.high - found.low) / 3.92 == pytest.approx(resampled.std(), rel=0.15)


def test_wider_levels_have_wider_intervals():
    narrow, wide = (
        evaluate(predictions(), JudgeSpec(n_resamples=200, level=level)).estimates
        for level in (0.8, 0.99)
    )
    for key, one in narrow.items():
        assert wide[key].low <= one.low < one.high < wide[key].high, key


def test_perfect_calls_are_not_certainty_either():
    logits = 9 * np.eye(3)[np.arange(30) % 3]
    made = Predictions.of([str(i) for i in range(30)], np.arange(30) % 3, logits, CLASSES)
    found = evaluate(made, JudgeSpec(n_resamples=200)).estimates
    for key in ("f1_macro", "tpr_at_0_fp/no", "average_precision/vort"):
        assert found[key].value == found[key].high == 1
        assert found[key].low == pytest.approx(binomtest(10, 10).proportion_ci(method="wilson").low)
        assert "smallest class" in found[key].method
    # A correlation is no share.
    assert (str(found["mcc"]), found["mcc"].method) == (
        "1.0000",
        "no interval: resamples do not vary",
    )
    assert (found["aurc"].value, found["aurc"].low) == (0, 0)
    assert found["aurc"].high == pytest.approx(binomtest(0, 10).proportion_ci(method="wilson").high)


def test_what_is_no_share_has_no_interval_where_resamples_do_not_vary():
    """Constant scores: the log loss is log 3 whatever is drawn, and the macro F1 is 1/6."""
    made = Predictions.of(
        [str(i) for i in range(60)], np.arange(60) % 3, np.zeros((60, 3)), CLASSES
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = evaluate(made, JudgeSpec(n_resamples=200)).estimates
    constant = {"log_loss": "1.0986", "brier": "0.6667", "f1_macro": "0.1667", "f1/no": "0.5000"}
    constant |= dict.fromkeys(("ece", "ece_debiased", "ece_classwise"), "0.0000")
    for key, shown in constant.items():
        assert str(found[key]) == shown
        assert found[key].method == "no interval: resamples do not vary"
        assert np.isnan(found[key].high)
    never_called = binomtest(0, 20).proportion_ci(method="wilson").high
    assert (found["f1/vort"].low, found["f1/vort"].high) == (0, pytest.approx(never_called))
    assert str(Estimate.model_validate_json(found["brier"].model_dump_json())) == "0.6667"
    assert "[" in str(found["auc_ovr_macro"])


def test_an_auc_is_as_sure_as_the_classes_that_it_compares():
    """One example of a class: its AUC has no variance to go by, that of the other two has."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [1, 99, 100])
    logits = rng.normal(size=(200, 3)) + np.eye(3)[labels]
    found = evaluate(
        Predictions.of([str(i) for i in range(200)], labels, logits, CLASSES),
        JudgeSpec(n_resamples=100),
    ).estimates
    for key in ("auc_ovr_macro", "auc_ovo", "auc_ovr/no"):
        assert found[key].method.endswith("smallest class, since one example has no variance")
        assert found[key].high - found[key].low > 0.75
    assert found["auc_ovr/vort"].method == "DeLong, logit scale"
    assert "too narrow with so few of a class (1)" in found["average_precision/no"].method
    assert "too narrow" not in found["average_precision/vort"].method
    assert "too narrow with so few of a class (1)" in found["f1_macro"].method


@pytest.mark.parametrize(
    ("key", "n", "caveat"),
    [
        ("tpr_at_0_fp/vort", 3000, "no higher score than the highest one seen"),
        ("tpr_at_fpr_0.001/vort", 1200, "no higher score than the highest one seen"),
        ("tpr_at_fpr_0.001/vort", 3000, "the threshold hangs on so few others (3)"),
        ("tpr_at_fpr_0.01/vort", 1497, "the threshold hangs on so few others (10)"),
        ("tpr_at_fpr_0.01/vort", 1500, ""),
        ("tpr_at_10_fp/vort", 60, ""),
        ("tpr_at_10_fp/vort", 27, "so few of a class (9)"),
        ("ece", 3000, "noise of finite bins"),
        ("ece_classwise", 3000, "noise of finite bins"),
        ("ece_debiased", 3000, "nearly right"),
        ("auc_ovr_macro", 27, "so few of a class (9)"),
        ("auc_ovo", 30, ""),
        ("auc_ovr_micro", 27, ""),
        ("auc_ovr_micro", 9, "so few of a class (9)"),
        ("brier", 27, ""),
    ],
)
def test_what_is_too_narrow_says_so(key, n, caveat):
    spec = JudgeSpec(n_resamples=100)
    own = estimate(predictions(n), key, spec).method
    paired = joint([predictions(n)] * 2, key, spec).method
    assert ("too narrow" in own) == ("too narrow" in paired) == bool(caveat)
    assert caveat in own
    assert caveat in paired
    assert ("equal models are called different" in paired) == ("highest" in caveat)


@pytest.mark.parametrize("size", [1e151, 1e308])
def test_a_loss_beyond_all_bounds_is_undefined(size):
    made = predictions()
    logits = made.logits.copy()
    logits[0] = -size, size, 0  # of class 0
    huge = Predictions(made.ids, made.labels, logits, CLASSES)
    spec = JudgeSpec(n_resamples=100)
    with pytest.warns(UndefinedMetricWarning, match="log_loss .* less than 1e150 apart"):
        found = evaluate(huge, spec).estimates
    assert [key for key, one in found.items() if np.isnan(one.value)] == ["log_loss"]
    logits = logits.copy()
    logits[0] = -1e3, 1e3, 0
    wrong = Predictions(made.ids, made.labels, logits, CLASSES)
    for key in ("accuracy", "brier", "auc_ovr_macro", "ece"):
        assert found[key] == estimate(wrong, key, spec)
    both = joint([made, huge], "log_loss", spec)
    np.testing.assert_array_equal(np.isnan(both.values), [False, True])
    np.testing.assert_array_equal(np.isnan(both.covariance), [[False, True], [True, True]])


def test_the_largest_loss_is_still_judged():
    made = predictions()
    logits = made.logits.copy()
    logits[0] = -4e149, 4e149, 0
    huge = Predictions(made.ids, made.labels, logits, CLASSES)
    found = estimate(huge, "log_loss", JudgeSpec(n_resamples=100))
    assert found.value == pytest.approx(8e149 / 300)
    assert found.low < found.value < found.high
    assert np.isfinite(joint([huge], "log_loss", JudgeSpec()).covariance).all()


@pytest.mark.parametrize("name", ["micro", "macro"])
def test_a_class_named_as_a_mean_of_curves_is_refused(name):
    made = predictions()
    renamed = Predictions(made.ids, made.labels, made.logits, ("no", name, "vort"))
    with pytest.raises(RecordError, match=f"class is called '{name}'.*rename"):
        evaluate(renamed, JudgeSpec())


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
    warnings.simplefilter("ignore", UndefinedMetricWarning)
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
    assert evaluate(shuffled, JudgeSpec()) == evaluate(made, JudgeSpec())


def without(absent: int) -> Predictions:
    made = predictions()
    rows = made.labels != absent
    return Predictions.of(made.ids[rows], made.labels[rows], made.logits[rows], CLASSES)


def test_a_class_without_examples_has_no_recall_and_no_curve():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        evaluation = evaluate(without(2), JudgeSpec(n_resamples=100))
    assert str(evaluation.estimates["recall/vort"]) == "undefined"
    assert evaluation.estimates["recall/no"].value > 0.5
    assert set(evaluation.roc_curves) == {"no", "sphere", "micro"}
    assert evaluation.confusion_matrix[2] == (0, 0, 0)
    again = Evaluation.model_validate_json(evaluation.model_dump_json())
    assert np.isnan(again.estimates["recall/vort"].value)
    assert again.estimates["recall/no"] == evaluation.estimates["recall/no"]


def test_no_predictions_are_refused():
    nothing = Predictions.of([], np.zeros(0, dtype=int), np.zeros((0, 3)), CLASSES)
    with pytest.raises(RecordError, match="no predictions"):
        evaluate(nothing, JudgeSpec())
