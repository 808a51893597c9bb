"""Paired tests against other libraries and by their size; how many images would be enough."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels

from lensbench.comparison.judged import Judged, judged_from
from lensbench.comparison.paired import all_pairs, images_to_separate, mcnemar
from lensbench.comparison.variance import of_difference
from lensbench.config import JudgeSpec
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.joint import Joint, joint
from lensbench.outcome import Predictions
from lensbench.runs.compose import foreign_record

SPEC = JudgeSpec(n_resamples=200)
CLASSES = ("no", "sphere", "vort")


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_that_of_statsmodels(first, second):
    table = [[10, first], [second, 10]]
    assert mcnemar(first, second) == pytest.approx(
        float(mcnemar_of_statsmodels(table, exact=True).pvalue), abs=1e-12
    )


def predictions(rng: np.random.Generator, n: int, separation: float, common: np.ndarray):
    labels = np.arange(n) % 3
    logits = 0.6 * rng.normal(size=(n, 3)) + 0.8 * common
    logits[np.arange(n), labels] += separation
    return Predictions.of([str(i) for i in range(n)], labels, logits, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auc_ovr_macro", "log_loss", "recall/vort"])
def test_the_paired_test_has_its_size_and_finds_a_difference(metric):
    """2,000 pairs of equal models: 5 % are called different, and most of really different ones."""
    rng = np.random.default_rng(5)
    n, rejected, found = 240, [], []
    for _ in range(2000):
        common = rng.normal(size=(n, 3))
        models = [predictions(rng, n, gain, common) for gain in (1.0, 1.0, 1.5)]
        results = joint(models, metric, SPEC)
        for hits, one, other in ((rejected, 0, 1), (found, 0, 2)):
            difference = results.values[one] - results.values[other]
            hits.append(of_difference(results, [one], [other]).p_value(difference) < 0.05)
    assert 0.038 < np.mean(rejected) < 0.063  # 0.05 +- 2.6 standard errors
    assert np.mean(found) > 0.6


def test_accuracies_of_single_runs_meet_mcnemar():
    rng = np.random.default_rng(3)
    common = rng.normal(size=(300, 3))
    runs = []
    for name, separation in (("a", 1.0), ("b", 1.4)):
        made = predictions(rng, 300, separation, common)
        record = foreign_record(name, "file", evaluate(made, SPEC), "x.npz")
        runs.append(judged_from(record, Path(name), made))
    results = joint([run.predictions for run in runs], "accuracy", SPEC)
    (pair,) = all_pairs(runs, [[0], [1]], results, "accuracy", 0.95)
    right = [run.predictions.logits.argmax(1) == run.predictions.labels for run in runs]
    table = [[sum((right[0] == x) & (right[1] == y)) for y in (True, False)] for x in (True, False)]
    assert pair.p_value == pytest.approx(
        float(mcnemar_of_statsmodels(table, exact=True).pvalue), abs=1e-12
    )
    assert "McNemar" in pair.method


def test_the_number_of_images_gives_the_power_it_promises():
    """A test set of that size finds the difference four times in five."""
    results = Joint(
        values=np.array([0.96, 0.95]), covariance=np.diag([4e-5, 6e-5]), method="", n=1000
    )
    for n_pairs in (1, 10):
        n = images_to_separate(results, [0], [1], 0.95, n_pairs)
        deviation = np.sqrt(1e-4 * 1000 / n)
        power = stats.norm.sf(stats.norm.isf(0.025 / n_pairs) - 0.01 / deviation)
        assert power == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(("n_seeds", "deviation"), [(2, 3e-4), (3, 1e-3), (5, 2e-3)])
def test_the_number_of_images_reckons_with_the_few_seeds_of_the_test(n_seeds, deviation):
    """Their test is Student's: with the normal quantile the power would be 8 to 68 %."""
    n_now, per_image, rows = 1000, 0.05, [[*range(n_seeds)], [*range(n_seeds, 2 * n_seeds)]]
    values = np.repeat([0.96, 0.95], n_seeds) + deviation * np.tile(
        stats.zscore(np.arange(n_seeds), ddof=1), 2
    )
    shared = np.kron(np.eye(2), np.full((n_seeds, n_seeds), per_image))
    n = images_to_separate(Joint(values, shared / n_now, "", n_now), *rows, 0.95, 1)
    rng, n_found = np.random.default_rng(0), 0
    for _ in range(1000):
        test = np.repeat(rng.normal(0, np.sqrt(per_image / n), 2), n_seeds)
        drawn = np.repeat([0.96, 0.95], n_seeds) + test + rng.normal(0, deviation, 2 * n_seeds)
        then = Joint(drawn, shared / n, "", n)
        difference = drawn[rows[0]].mean() - drawn[rows[1]].mean()
        n_found += difference > of_difference(then, *rows).half_width(0.95)
    assert 0.7 < n_found / 1000 < 0.97


def test_models_that_are_tied_need_more_images_than_there_are():
    """Where Holm's correction lets a difference pass as noise, the number reckons with it."""
    results = Joint(np.array([0.96, 0.95]), np.diag([5e-6, 5e-6]), "", 1000)
    p_value = of_difference(results, [0], [1]).p_value(0.01)
    assert 0.05 / 100 < p_value < 0.05
    assert images_to_separate(results, [0], [1], 0.95, 100) > 1000


def test_no_number_of_images_parts_equal_models_or_seeds_that_scatter_more():
    equal = Joint(np.array([0.95, 0.95]), np.diag([1e-5, 1e-5]), "", 100)
    assert images_to_separate(equal, [0], [1], 0.95, 1) is None
    values = np.array([0.90, 0.99, 0.91, 0.995])
    scattered = Joint(values, np.diag([1e-6] * 4), "", 100)
    assert images_to_separate(scattered, [0, 1], [2, 3], 0.95, 1) is None
    certain = Joint(np.array([1.0, 0.5]), np.zeros((2, 2)), "", 100)
    assert images_to_separate(certain, [0], [1], 0.95, 1) is None


def collapsed(name: str, logits: np.ndarray, labels: np.ndarray) -> Judged:
    """Return a run that says the same of each image."""
    tiled = np.tile(logits, (len(labels), 1)).astype(float)
    made = Predictions.of([f"{i:04}" for i in range(len(labels))], labels, tiled, "abc")
    with undefined_silenced():
        record = foreign_record(name, "file", evaluate(made, SPEC), "x.npz")
    return judged_from(record, Path(name), made)


@pytest.mark.parametrize(
    ("metric", "one", "other"),
    [
        ("accuracy", [[5, 0, 0], [6, 0, 0]], [[0, 5, 0], [0, 6, 0]]),
        ("accuracy", [[5, 0, 0]], [[5, 0, 0], [6, 0, 0], [7, 0, 0]]),
        ("f1_macro", [[5, 0, 0]], [[0, 5, 0]]),
        ("log_loss", [[0.01, 0, 0]], [[0, 0.01, 0]]),
    ],
)
def test_collapsed_models_are_not_told_apart(metric, one, other):
    """They do not vary within a class, which proves nothing; nor does rounding."""
    labels = np.repeat([0, 1, 2], [90, 100, 110])
    logits = [*one, *other]
    runs = [collapsed(str(i), np.array(row), labels) for i, row in enumerate(logits)]
    models = [[*range(len(one))], [*range(len(one), len(logits))]]
    results = joint([run.predictions for run in runs], metric, SPEC)
    (pair,) = all_pairs(runs, models, results, metric, 0.95)
    assert pair.p_value == 1


@pytest.mark.parametrize(("n_of_class", "p_value"), [(3, 0.25), (100, 2.0**-99)])
def test_where_no_example_disagrees_signs_are_counted(n_of_class, p_value):
    """Perfect and constant predictions vary in nothing, and are not equal for that."""
    labels = np.repeat([0, 1], [n_of_class, 2 * n_of_class])
    logits = {"perfect": 9.0 * np.eye(2)[labels], "constant": np.zeros((len(labels), 2))}
    runs = []
    for name, one in logits.items():
        made = Predictions.of([f"{i:04}" for i in range(len(labels))], labels, one, "ab")
        with undefined_silenced():
            record = foreign_record(name, "file", evaluate(made, SPEC), "x.npz")
        runs.append(judged_from(record, Path(name), made))
    for metric in ("auc_ovr_macro", "average_precision_macro", "recall/b"):
        results = joint([run.predictions for run in runs], metric, SPEC)
        (pair,) = all_pairs(runs, [[0], [1]], results, metric, 0.95)
        assert pair.p_value == pytest.approx(p_value)
        assert "sign test" in pair.method


@pytest.mark.parametrize(
    "metric", ["auc_ovr_macro", "auc_ovr/c", "recall/c", "f1_macro", "average_precision/c"]
)
def test_a_class_of_one_example_lets_no_models_differ(metric):
    """Its variance is unknown, so that any difference may be chance."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], [40, 40, 1])
    runs = []
    for name in "xyz":
        logits = rng.normal(size=(81, 3)) + 2 * np.eye(3)[labels]
        made = Predictions.of([f"{i:03}" for i in range(81)], labels, logits, "abc")
        record = foreign_record(name, "file", evaluate(made, SPEC), "x.npz")
        runs.append(judged_from(record, Path(name), made))
    results = joint([run.predictions for run in runs], metric, SPEC)
    for pair in all_pairs(runs, [[0], [1], [2]], results, metric, 0.95):
        assert pair.p_value == 1
        assert (pair.difference.low, pair.difference.high) == (-1, 1)
        assert "one example of a class leaves unknown" in pair.method
    assert images_to_separate(results, [0], [1], 0.95, 3) is None
    assert np.isfinite(joint([run.predictions for run in runs], "accuracy", SPEC).covariance).all()
