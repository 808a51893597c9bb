"""Several models on the same examples, and the covariance of their errors."""

import numpy as np
import pytest

from lensbench.config import JudgeSpec
from lensbench.errors import ConfigError
from lensbench.evaluation.bootstrap import bootstrap
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.joint import joint
from lensbench.evaluation.metrics import METRICS
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

CLASSES = ("no", "sphere", "vort")
SPEC = JudgeSpec(n_resamples=4000)
N = 400


def models(n_models: int = 3, labels=None) -> list[Predictions]:
    """Make models that share half of their noise, each with its examples in another order."""
    rng = np.random.default_rng(0)
    labels = np.minimum(np.arange(N) % 4, 2) if labels is None else labels
    common = rng.normal(size=(len(labels), 3))
    made = []
    for model in range(n_models):
        logits = common + rng.normal(size=common.shape)
        logits[np.arange(len(labels)), labels] += 1 + 0.3 * model
        order = rng.permutation(len(labels))
        ids = [f"{row}.npy" for row in order]
        made.append(Predictions.of(ids, labels[order], logits[order], CLASSES))
    return made


KEYS = [metric.keys(CLASSES)[-1] for metric in METRICS.values()]


@pytest.mark.parametrize("key", KEYS)
def test_values_are_those_of_evaluate(key):
    both = models(2)
    found = joint(both, key, JudgeSpec(n_resamples=100))
    expected = [METRICS[key.split("/")[0]].on_examples(Scored.of(one))[-1] for one in both]
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert found.n == N


@pytest.mark.parametrize(
    "key", [key for key in KEYS if METRICS[key.split("/")[0]].influences is not None]
)
def test_influences_have_the_covariance_of_the_bootstrap(key):
    metric = METRICS[key.split("/")[0]]
    found = joint(models(), key, SPEC)
    assert "influences" in found.method
    scored = [Scored.of(one) for one in models()]
    resampled = bootstrap(scored, {key: metric.weighted}, 4000)[key]
    expected = np.cov(resampled[:, -1] if metric.per_class else resampled)
    spread = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        found.covariance / np.outer(spread, spread), expected / np.outer(spread, spread), atol=0.1
    )


def test_other_metrics_have_the_covariance_of_paired_resamples():
    found = joint(models(), "f1/vort", SPEC)
    assert found.method == "paired bootstrap stratified by class, 4,000 resamples"
    scored = [Scored.of(one) for one in models()]
    resampled = bootstrap(scored, {"f1": METRICS["f1"].weighted}, 4000)["f1"]
    np.testing.assert_allclose(found.covariance, np.cov(resampled[:, 2]), rtol=1e-12)
    correlation = found.covariance[0, 1] / np.sqrt(found.covariance[0, 0] * found.covariance[1, 1])
    assert 0.1 < correlation < 0.9


def test_the_variance_of_recall_by_hand():
    """Unbiased sample variance of right and wrong within the class, over its size."""
    one = models(1)
    vort = one[0].labels == 2
    is_right = (one[0].logits.argmax(axis=1) == 2)[vort].astype(float)
    found = joint(one, "recall/vort", SPEC)
    assert found.values[0] == is_right.mean()
    assert found.covariance[0, 0] == pytest.approx(is_right.var(ddof=1) / vort.sum(), rel=1e-12)


def test_the_variance_of_accuracy_adds_those_of_the_classes():
    one = models(1)
    is_right = one[0].logits.argmax(axis=1) == one[0].labels
    expected = sum(
        is_right[one[0].labels == k].var(ddof=1) * (one[0].labels == k).sum() for k in range(3)
    )
    found = joint(one, "accuracy", SPEC).covariance
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(expected / N**2, rel=1e-12)


def test_the_error_of_a_macro_auc_is_that_of_its_interval():
    one = models(1)[0]
    found = joint([one], "auc_ovr_macro", SPEC)
    estimate = evaluate(one, JudgeSpec(n_resamples=100)).estimates["auc_ovr_macro"]
    value, half = found.values[0], 1.959964 * np.sqrt(found.covariance[0, 0])
    logit = np.log(value / (1 - value))
    expected = 1 / (1 + np.exp(-(logit - half / (value * (1 - value)))))
    assert estimate.low == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("key", ["auc_ovr_macro", "f1/sphere", "recall/sphere"])
def test_what_is_undefined_has_no_covariance(key):
    labels = 2 * (np.arange(100) % 2)
    found = joint(models(2, labels), key, JudgeSpec(n_resamples=100))
    assert np.isnan(found.values).all()
    assert np.isnan(found.covariance).all()


def test_an_undefined_model_leaves_the_others_their_covariance():
    one, other = models(2)
    constant = Predictions(one.ids, one.labels, np.zeros((N, 3)), CLASSES)
    found = joint([one, constant, other], "mcc", JudgeSpec(n_resamples=200))
    np.testing.assert_array_equal(np.isnan(found.values), [False, True, False])
    alone = joint([one, other], "mcc", JudgeSpec(n_resamples=200))
    np.testing.assert_array_equal(found.covariance[::2, ::2], alone.covariance)
    assert np.isnan(found.covariance[1]).all()


def test_what_cannot_be_judged_together_is_refused():
    one, other = models(2)
    with pytest.raises(ValueError, match="no predictions"):
        joint([], "mcc", SPEC)
    renamed = Predictions(np.char.add(other.ids, "x"), other.labels, other.logits, CLASSES)
    with pytest.raises(ValueError, match="classes and ids"):
        joint([one, renamed], "mcc", SPEC)
    fewer = Predictions(other.ids[1:], other.labels[1:], other.logits[1:], CLASSES)
    with pytest.raises(ValueError, match="classes and ids"):
        joint([one, fewer], "mcc", SPEC)
    relabelled = Predictions(other.ids, 2 - other.labels, other.logits, CLASSES)
    with pytest.raises(ValueError, match="same labels"):
        joint([one, relabelled], "accuracy", SPEC)
    with pytest.raises(ConfigError, match="names no class"):
        joint([one, other], "recall/wort", SPEC)
