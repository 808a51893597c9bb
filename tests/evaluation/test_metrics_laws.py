"""Laws that every metric of the registry obeys, and its value on weighted examples.

The weighted form is what the bootstrap evaluates, so it is what is compared with scikit-learn's
`sample_weight` and with thresholds written out one by one.
"""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from lensbench.config import JudgeSpec
from lensbench.errors import ConfigError
from lensbench.evaluation.estimate import UndefinedMetricWarning
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.metrics import METRICS, metric_of
from lensbench.evaluation.metrics_of_ranks import tpr_at_fpr
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
CLASSES = ("no", "sphere", "vort")

BINNED = {"ece", "ece_debiased", "ece_classwise"}
"""Their bins are those of the examples, whatever a resample holds."""


def scored(seed: int = 0, n: int = 240, n_classes: int = 3) -> Scored:
    """Make examples of unequal classes, every fourth with the probabilities of another one."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(
        n_classes, n, p=np.arange(1, n_classes + 1) / np.arange(n_classes + 1).sum()
    )
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), labels] += 1.2
    logits[: n // 4] = logits[n // 4 : n // 2]
    return of_logits(labels, logits)


def of_logits(labels, logits) -> Scored:
    ids = [f"{i:06d}" for i in range(len(labels))]
    names = [str(k) for k in range(logits.shape[1])]
    return Scored.of(Predictions.of(ids, np.asarray(labels), logits, names))


def rows_of(one: Scored, rows) -> Scored:
    return Scored(
        one.labels[rows], one.probabilities[rows], one.log_probabilities[rows], one.scores[rows]
    )


def values(metric, one: Scored) -> np.ndarray:
    return metric.on_examples(one)


# Laws


@EVERY
def test_the_order_of_examples_is_nothing(metric):
    one = scored()
    shuffled = rows_of(one, np.random.default_rng(1).permutation(240))
    np.testing.assert_allclose(values(metric, shuffled), values(metric, one), rtol=1e-12)


@EVERY
def test_the_order_of_classes_is_nothing(metric):
    one, order = scored(), np.array([2, 0, 1])
    renamed = Scored(
        np.argsort(order)[one.labels],
        one.probabilities[:, order],
        one.log_probabilities[:, order],
        one.scores[:, order],
    )
    expected = values(metric, one)[order] if metric.per_class else values(metric, one)
    np.testing.assert_allclose(values(metric, renamed), expected, rtol=1e-12)


@EVERY
def test_a_metric_reads_what_it_says(metric):
    one = scored()
    squeezed = one.probabilities**3
    monotone = Scored(one.labels, squeezed, np.log(squeezed), squeezed)
    noise = np.random.default_rng(1).random((240, 3))
    same_calls = noise / 9 + np.eye(3)[one.called]
    calls = Scored(one.labels, same_calls, np.log(same_calls), same_calls)
    for other, changes in (
        (monotone, metric.reads == "probabilities"),
        (calls, metric.reads != "calls"),
    ):
        is_same = np.allclose(values(metric, other), values(metric, one), rtol=1e-12)
        assert is_same is not changes


@EVERY
def test_perfect_predictions_have_the_best_value(metric):
    labels = scored().labels
    perfect = of_logits(labels, 80 * np.eye(3)[labels])
    np.testing.assert_allclose(values(metric, perfect), metric.best, atol=1e-12)


@EVERY
@pytest.mark.parametrize("seed", range(5))
def test_no_other_value_is_better(metric, seed):
    found = values(metric, scored(seed))
    least, greatest = metric.limits
    assert (found < greatest).all() if metric.greater_is_better else (found > least).all()
    assert (found >= least).all()
    assert (found <= greatest).all()


CHANCE = {
    "auc_ovr_macro": 1 / 2,
    "auc_ovr_micro": 1 / 2,
    "auc_ovo": 1 / 2,
    "auc_ovr": 1 / 2,
    "accuracy": 1 / 3,
    "precision": 1 / 3,
    "recall": 1 / 3,
    "f1": 1 / 3,
    "f1_macro": 1 / 3,
    "mcc": 0,
    "average_precision": 1 / 3,
    "average_precision_macro": 1 / 3,
    "tpr_at_fpr_0.001": 0.001,
    "tpr_at_fpr_0.01": 0.01,
    "tpr_at_0_fp": 0,
    "tpr_at_10_fp": 11 / 20_000,
    "aurc": 2 / 3,
    # Scores that know nothing and are sure of it: the confidence is the largest of three
    # uniform shares, 11/18 on average, and 11/18 - 1/3 too high.
    "ece": 5 / 18,
    "ece_debiased": 5 / 18,
    # Mean of |p - 1/3| of one of three uniform shares.
    "ece_classwise": 16 / 81,
    # -E log p of such a share, and E sum p^2 - 2/3 + 1.
    "log_loss": 3 / 2,
    "brier": 1 / 2 - 2 / 3 + 1,
}


@EVERY
def test_random_scores_have_the_value_of_chance(metric):
    """Probabilities uniform on the simplex, 10,000 of each class."""
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet([1, 1, 1], 30_000)
    found = values(metric, Scored(np.arange(30_000) % 3, drawn, np.log(drawn), drawn))
    tolerance = 0.004 if metric.name.startswith("tpr") else 0.02
    np.testing.assert_allclose(found, CHANCE[metric.name], atol=tolerance)


ALL_TIED = {
    "auc_ovr_macro": 1 / 2,
    "auc_ovr_micro": 1 / 2,
    "auc_ovo": 1 / 2,
    "auc_ovr": 1 / 2,
    "accuracy": 1 / 3,
    "precision": [1 / 3, np.nan, np.nan],
    "recall": [1, 0, 0],
    "f1": [1 / 2, 0, 0],
    "f1_macro": 1 / 6,
    "mcc": np.nan,
    "average_precision": 1 / 3,
    "average_precision_macro": 1 / 3,
    "tpr_at_fpr_0.001": 0,
    "tpr_at_fpr_0.01": 0,
    "tpr_at_0_fp": 0,
    "tpr_at_10_fp": 0,
    "log_loss": np.log(3),
    "brier": 2 / 3,
    "ece": 0,
    "ece_debiased": 0,  # not less by what a bin's noise would add
    "ece_classwise": 0,
    "aurc": 2 / 3,
}


@EVERY
def test_equal_scores_say_nothing_and_are_not_split(metric):
    """All three classes have probability 1/3 everywhere; the first one is called."""
    found = values(metric, of_logits(np.arange(60) % 3, np.zeros((60, 3))))
    expected = np.broadcast_to(ALL_TIED[metric.name], found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)


ABSENT_LEAVES_UNDEFINED = {"auc_ovr_macro", "auc_ovo", "f1_macro", "average_precision_macro"}


@EVERY
def test_what_an_absent_class_leaves_undefined_is_nan(metric):
    one = scored()
    two = rows_of(one, one.labels != 1)
    found = values(metric, two)
    if metric.name == "precision":  # calls of the absent class are all wrong
        np.testing.assert_array_equal(found == 0, [False, True, False])
    elif metric.per_class:
        np.testing.assert_array_equal(np.isnan(found), [False, True, False])
    else:
        assert np.isnan(found[0]) == (metric.name in ABSENT_LEAVES_UNDEFINED)


@EVERY
def test_a_single_class_is_no_error(metric):
    one = scored()
    found = values(metric, rows_of(one, one.labels == 2))
    compared = metric.name.startswith(("auc_ovr", "tpr")) and metric.per_class
    if compared or metric.name == "mcc":
        assert np.isnan(found).all()


@pytest.mark.parametrize("name", sorted(set(METRICS) - BINNED))
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_counts_stand_for_copies(name, n_classes):
    metric = METRICS[name]
    one, rng = scored(n_classes=n_classes), np.random.default_rng(2)
    counts = rng.poisson(1.0, (240, 4)).astype(float)
    weighted = metric.weighted(one, counts)
    for column in range(4):
        copies = rows_of(one, np.repeat(np.arange(240), counts[:, column].astype(int)))
        np.testing.assert_allclose(
            np.atleast_1d(weighted[..., column]), values(metric, copies), rtol=1e-10
        )


# Oracles


def thresholds_tried(one: Scored, weights, allowed) -> np.ndarray:
    """Try every score as a threshold; `allowed` gives the false positives of n others."""
    best = np.zeros(one.n_classes)
    for k in range(one.n_classes):
        member, score = one.labels == k, one.probabilities[:, k]
        for threshold in score:
            called = score >= threshold
            if weights[called & ~member].sum() <= allowed(weights[~member].sum()):
                best[k] = max(best[k], weights[called & member].sum() / weights[member].sum())
    return best


def precision_recall_f1(part: int):
    return lambda one, weights: sk.precision_recall_fscore_support(
        one.labels, one.called, sample_weight=weights
    )[part]


def of_each_class(function):
    return lambda one, weights: [
        function(one.labels == k, one.probabilities[:, k], sample_weight=weights)
        for k in range(one.n_classes)
    ]


def mean(function):
    return lambda one, weights: np.mean(function(one, weights))


def micro(one: Scored, weights):
    hits = np.eye(one.n_classes)[one.labels].ravel()
    repeated = np.repeat(weights, one.n_classes)
    return sk.roc_auc_score(hits, one.probabilities.ravel(), sample_weight=repeated)


def one_vs_one(one: Scored, weights):
    """scikit-learn takes no weights here; they are counts, so it is given copies."""
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    if one.n_classes == 2:
        return sk.roc_auc_score(one.labels[rows], one.probabilities[rows, 1])
    return sk.roc_auc_score(one.labels[rows], one.probabilities[rows], multi_class="ovo")


def brier(one: Scored, weights):
    squares = [
        sum((p - (k == label)) ** 2 for k, p in enumerate(row))
        for label, row in zip(one.labels, one.probabilities, strict=True)
    ]
    return np.average(squares, weights=weights)


ORACLES = {
    "auc_ovr_macro": mean(of_each_class(sk.roc_auc_score)),
    "auc_ovr_micro": micro,
    "auc_ovo": one_vs_one,
    "auc_ovr": of_each_class(sk.roc_auc_score),
    "accuracy": lambda one, w: sk.accuracy_score(one.labels, one.called, sample_weight=w),
    "precision": precision_recall_f1(0),
    "recall": precision_recall_f1(1),
    "f1": precision_recall_f1(2),
    "f1_macro": mean(precision_recall_f1(2)),
    "mcc": lambda one, w: sk.matthews_corrcoef(one.labels, one.called, sample_weight=w),
    "average_precision": of_each_class(sk.average_precision_score),
    "average_precision_macro": mean(of_each_class(sk.average_precision_score)),
    "tpr_at_fpr_0.001": lambda one, w: thresholds_tried(one, w, lambda n: 0.001 * n),
    "tpr_at_fpr_0.01": lambda one, w: thresholds_tried(one, w, lambda n: 0.01 * n),
    "tpr_at_0_fp": lambda one, w: thresholds_tried(one, w, lambda n: 0),
    "tpr_at_10_fp": lambda one, w: thresholds_tried(one, w, lambda n: 10),
    "log_loss": lambda one, w: sk.log_loss(one.labels, one.probabilities, sample_weight=w),
    "brier": brier,
}

TESTED_ELSEWHERE = BINNED | {"aurc"}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_weighted_values_are_those_of_an_oracle(name, n_classes, seed):
    one, rng = scored(seed, n_classes=n_classes), np.random.default_rng(seed)
    weights = rng.integers(0, 4, (240, 3)).astype(float)
    found = METRICS[name].weighted(one, weights)
    for column in range(3):
        expected = ORACLES[name](one, weights[:, column])
        np.testing.assert_allclose(found[..., column], expected, rtol=1e-10)


def test_false_positives_are_found_however_deep_they_lie():
    """So few resampled others among the first that the search has to go on."""
    rng = np.random.default_rng(0)
    labels, score = np.arange(2000) % 2, rng.random(2000)
    both = np.column_stack([1 - score, score])
    one = Scored(labels, both, np.zeros((2000, 2)), both)
    counts = np.ones((2000, 2))
    highest = np.argsort(-score)[:500]
    counts[highest[labels[highest] == 0], 1] = 0
    found = METRICS["tpr_at_0_fp"].weighted(one, counts)[1]
    others = score[labels == 0]
    below = np.sort(others)[::-1][(labels[highest] == 0).sum()]
    members = score[labels == 1]
    np.testing.assert_allclose(found, [(members > others.max()).mean(), (members > below).mean()])


def test_a_share_of_the_others_is_not_missed_by_rounding():
    """0.29 * 100 is 28.999999999999996."""
    rng = np.random.default_rng(0)
    labels, score = np.arange(200) % 2, rng.random(200)
    both = np.column_stack([1 - score, score])
    one = Scored(labels, both, np.zeros((200, 2)), both)
    found = tpr_at_fpr(0.29)(one, np.ones((200, 1)))[1, 0]
    threshold = np.sort(score[labels == 0])[::-1][29]
    assert found == (score[labels == 1] > threshold).mean()


# The registry


def test_no_metric_is_missing():
    assert set(CHANCE) == set(ALL_TIED) == set(METRICS)
    assert set(ORACLES) | TESTED_ELSEWHERE == set(METRICS)
    assert all(name == metric.name for name, metric in METRICS.items())


@EVERY
def test_an_entry_is_consistent(metric):
    assert metric.title
    assert metric.about
    assert (metric.counted is not None) == (metric.interval == "wilson")
    assert metric.interval != "delong" or metric.influences is not None
    assert metric.greater_is_better == (metric.best > metric.worst)
    if metric.mean_of:
        assert METRICS[metric.mean_of].per_class
        of_classes = values(METRICS[metric.mean_of], scored())
        assert values(metric, scored())[0] == pytest.approx(of_classes.mean(), rel=1e-12)


@EVERY
def test_influences_have_the_values_of_the_metric(metric):
    if metric.influences is not None:
        found, influence = metric.influences(scored())
        np.testing.assert_allclose(found, values(metric, scored()), rtol=1e-12)
        assert influence.shape == (240, len(found))
        np.testing.assert_allclose(influence.sum(axis=0), 0, atol=1e-12)


def test_evaluate_has_every_key_of_the_registry():
    one = scored()
    made = Predictions.of(
        [f"{i:06d}" for i in range(240)], one.labels, one.log_probabilities, CLASSES
    )
    keys = [key for metric in METRICS.values() for key in metric.keys(CLASSES)]
    assert list(evaluate(made, JudgeSpec(n_resamples=100)).estimates) == keys
    assert "tpr_at_fpr_0.001/vort" in keys
    assert "average_precision_macro" in keys


def test_one_class_absent_warns_of_each_undefined_estimate():
    one = scored()
    rows = one.labels != 1
    made = Predictions.of(
        [f"{i:06d}" for i in range(rows.sum())],
        one.labels[rows],
        one.log_probabilities[rows],
        CLASSES,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimates = evaluate(made, JudgeSpec(n_resamples=100)).estimates
    assert {one.category for one in caught} == {UndefinedMetricWarning}
    undefined = {key for key, estimate in estimates.items() if str(estimate) == "undefined"}
    assert {str(one.message).split()[0] for one in caught} == undefined
    assert undefined == ABSENT_LEAVES_UNDEFINED | {
        f"{name}/sphere" for name, one in METRICS.items() if one.per_class and name != "precision"
    }
    message = next(str(one.message) for one in caught if "recall" in str(one.message))
    assert "recall/sphere is undefined: it needs examples of the class" in message
    assert "sphere 0" in message


def test_a_metric_is_found_by_the_key_of_an_estimate():
    assert metric_of("recall/vort").name == "recall"
    assert metric_of("recall/a/b").title_of("recall/a/b") == "recall of a/b"
    assert metric_of("mcc").title_of("mcc") == "Matthews correlation"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("recal/vort", "no metric is called 'recal'; there are recall"),
        ("xyz", "there are auc_ovr_macro, .*aurc"),
        ("recall", "ask for 'recall/<class>'"),
        ("accuracy/vort", "ask for 'accuracy', not 'accuracy/vort'"),
        ("recall/wort", "names no class of these: no, sphere, vort"),
    ],
)
def test_a_key_that_names_nothing_is_an_error(key, message):
    with pytest.raises(ConfigError, match=message):
        metric_of(key, CLASSES)
