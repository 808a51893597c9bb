"""Conformal sets."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import betabinom

from lensbench.errors import ConfigError, RecordError
from lensbench.evaluation.conformal import ConformalResult, conformal
from lensbench.evaluation.estimate import UndefinedMetricWarning
from lensbench.evaluation.proportions import wilson_interval
from lensbench.outcome import Predictions

CLASSES = ("no", "sphere", "vort")


def drawn(n: int, rng, tag: str, shares=(0.6, 0.3, 0.1), classes=CLASSES) -> Predictions:
    """Overconfident logits of classes that are not equally frequent."""
    n_classes = len(classes)
    shares = np.array(shares[:n_classes]) / sum(shares[:n_classes])
    labels = rng.choice(n_classes, n, p=shares)
    logits = rng.normal(0, 2, (n, n_classes)) + 2 * np.eye(n_classes)[labels]
    return Predictions.of([f"{tag}{i}" for i in range(n)], labels, 2 * logits, classes)


def slow_sets(validation: Predictions, test: Predictions, nominal: float, is_by_class: bool):
    """Take the ceil((n + 1) nominal)-th smallest score (Angelopoulos & Bates 2021, sec. 1)."""
    scores = 1 - validation.probabilities[np.arange(len(validation.ids)), validation.labels]
    sets = np.zeros(test.logits.shape, dtype=bool)
    for k in range(len(test.classes)):
        of_class = scores[validation.labels == k] if is_by_class else scores
        n = len(of_class)
        rank = math.ceil(round((n + 1) * nominal, 9))
        largest = sorted(of_class)[rank - 1] if rank <= n else math.inf
        sets[:, k] = 1 - test.probabilities[:, k] <= largest
    return sets


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2]])
@pytest.mark.parametrize("n", [19, 99, 501])
def test_sets_are_those_of_the_quantile_of_validation_scores(classes, n):
    rng = np.random.default_rng(n)
    validation, test = drawn(n, rng, "v", classes=classes), drawn(300, rng, "t", classes=classes)
    results = conformal(validation, test, levels=(0.8, 0.9, 0.95), level=0.9)
    expected = [(x, kind) for x in (0.8, 0.9, 0.95) for kind in ("marginal", "class-conditional")]
    assert [(one.nominal, one.kind) for one in results] == expected
    for one in results:
        sets = slow_sets(validation, test, one.nominal, one.kind == "class-conditional")
        covered, size = sets[np.arange(300), test.labels], sets.sum(axis=1)
        assert one.coverage.value == covered.mean()
        assert (one.coverage.low, one.coverage.high) == wilson_interval(covered.sum(), 300, 0.9)
        assert list(one.class_coverage) == list(classes)
        for k, estimate in enumerate(one.class_coverage.values()):
            of_class = covered[test.labels == k]
            assert estimate.value == of_class.mean()
            assert (estimate.low, estimate.high) == wilson_interval(
                of_class.sum(), len(of_class), 0.9
            )
        assert one.mean_set_size == pytest.approx(size.mean())
        assert one.share_empty == (size == 0).mean()
        assert one.share_single == (size == 1).mean()
        assert one.share_larger == (size > 1).mean()
        assert ConformalResult.model_validate_json(one.model_dump_json()) == one


def test_coverage_of_exchangeable_examples_is_the_nominal_one():
    """Coverages of many draws have the law of Vovk (2012): beta-binomial."""
    rng = np.random.default_rng(0)
    n, n_test, nominal, n_draws = 79, 50, 0.9, 200
    covered = []
    for _ in range(n_draws):
        validation, test = (
            drawn(n, rng, "v", classes=CLASSES[:2]),
            drawn(n_test, rng, "t", classes=CLASSES[:2]),
        )
        marginal, _ = conformal(validation, test, levels=(nominal,))
        covered.append(round(n_test * marginal.coverage.value))
    rank = math.ceil((n + 1) * nominal)
    law = betabinom(n_test, rank, n + 1 - rank)
    assert law.mean() == pytest.approx(nominal * n_test)
    assert np.mean(covered) == pytest.approx(law.mean(), abs=4 * law.std() / n_draws**0.5)
    assert np.std(covered) == pytest.approx(law.std(), rel=0.2)


def test_class_conditional_sets_cover_rare_classes_as_well():
    rng = np.random.default_rng(1)
    marginal, by_class = [], []
    for _ in range(40):
        validation, test = hard_for_vort(rng, "v"), hard_for_vort(rng, "t")
        one, other = conformal(validation, test, levels=(0.9,))
        marginal.append(one.class_coverage["vort"].value)
        by_class.append(other.class_coverage["vort"].value)
    assert np.mean(marginal) < 0.8
    assert np.mean(by_class) == pytest.approx(0.905, abs=0.02)


def hard_for_vort(rng, tag: str) -> Predictions:
    easy = drawn(600, rng, tag)
    is_vort = (easy.labels == 2)[:, None]
    logits = np.where(is_vort, easy.logits - 4 * np.eye(3)[2], easy.logits)
    return Predictions(easy.ids, easy.labels, logits, easy.classes)


@pytest.mark.parametrize(("classes", "is_same"), [(CLASSES[:2], True), (CLASSES, False)])
def test_a_temperature_changes_sets_of_more_than_two_classes(classes, is_same):
    rng = np.random.default_rng(2)
    validation, test = drawn(500, rng, "v", classes=classes), drawn(500, rng, "t", classes=classes)
    warm = [
        Predictions(one.ids, one.labels, one.logits / 5, one.classes) for one in (validation, test)
    ]
    assert (conformal(validation, test) == conformal(*warm)) == is_same


def test_very_small_probabilities_are_still_told_apart():
    """One minus any of them is 1 in double precision, but their logarithms differ."""
    margins = np.linspace(50, 90, 41)

    def wrong(tag):
        logits = np.column_stack([margins, np.zeros(41)])
        return Predictions.of(
            [f"{tag}{i}" for i in range(42)],
            np.array([1] * 41 + [0]),
            np.vstack([logits, [1, 0]]),
            ("a", "b"),
        )

    marginal, _ = conformal(wrong("v"), wrong("t"), levels=(0.5,))
    assert marginal.coverage.value == 22 / 42


def test_too_few_validation_examples_leave_every_class_in_every_set():
    rng = np.random.default_rng(3)
    validation = drawn(18, rng, "v", shares=(0.4, 0.3, 0.3))
    marginal, _ = conformal(validation, drawn(50, rng, "t"), levels=(0.95,))
    assert (marginal.coverage.value, marginal.mean_set_size) == (1, 3)


def test_a_class_without_test_examples_has_no_coverage():
    rng = np.random.default_rng(4)
    test = drawn(30, rng, "t", shares=(0.5, 0.5, 0))
    with pytest.warns(UndefinedMetricWarning, match="coverage/vort is undefined"):
        marginal, _ = conformal(drawn(100, rng, "v"), test, levels=(0.9,))
    assert math.isnan(marginal.class_coverage["vort"].value)


def test_what_cannot_be_calibrated_is_refused():
    rng = np.random.default_rng(5)
    validation, test = drawn(50, rng, "v"), drawn(50, rng, "t")
    with pytest.raises(RecordError, match="50 examples, the first of them t0, are in validation"):
        conformal(test, test)
    with pytest.raises(RecordError, match="no validation example of vort"):
        conformal(drawn(50, rng, "v", shares=(0.5, 0.5, 0)), test)
    with pytest.raises(RecordError, match="no test examples"):
        conformal(validation, drawn(0, rng, "t"))
    with pytest.raises(RecordError, match="has the classes no, sphere, but test has no, sphere, v"):
        conformal(drawn(50, rng, "v", classes=CLASSES[:2]), test)
    with pytest.raises(RecordError, match="the classes no, vort, sphere, but test has no, sphere"):
        conformal(drawn(50, rng, "v", classes=("no", "vort", "sphere")), test)
    for level in (0, 1, 90):
        with pytest.raises(ConfigError, match=f"between 0 and 1, not {level}"):
            conformal(validation, test, levels=(0.9, level))


def test_the_library_is_loaded_when_it_is_needed_and_leaves_warnings_alone():
    program = """
import sys, warnings
from lensbench.evaluation.conformal import conformal
assert "crepes" not in sys.modules
import numpy as np
from lensbench.outcome import Predictions
before = list(warnings.filters)
make = lambda tag: Predictions.of(
    [tag + "0", tag + "1"], np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]), ["a", "b"])
conformal(make("v"), make("t"))
assert "crepes" in sys.modules and "torch" not in sys.modules
assert warnings.filters == before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
