"""The registry of metrics.

A new metric is one entry here, and the tests of the registry's laws hold it to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from lensbench.errors import ConfigError
from lensbench.evaluation import caveats, influences
from lensbench.evaluation import metrics_of_calls as calls
from lensbench.evaluation import metrics_of_probabilities as probabilities
from lensbench.evaluation import metrics_of_ranks as ranks
from lensbench.evaluation.calibration import (
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
)
from lensbench.evaluation.estimate import ACCURACY, MACRO_AUC
from lensbench.evaluation.metric import Metric
from lensbench.evaluation.metrics_of_calls import Counted
from lensbench.evaluation.proportions import share
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored, WeightedMetric
from lensbench.evaluation.selective import area_under_risk_coverage


def _share_of(counted: Callable[[Scored, Floats], Counted]) -> WeightedMetric:
    return lambda scored, counts: share(*counted(scored, counts))


_BOTH = "examples of the class and examples of others"
_ALL = "examples of every class"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            MACRO_AUC,
            "macro AUC",
            "Mean over classes of the AUC of each against the rest (DeLong et al. 1988)",
            ranks.auc_ovr_macro,
            "delong",
            "ranks",
            needs=_ALL,
            mean_of="auc_ovr",
            influences=influences.auc_ovr_macro,
            caveat=caveats.few_examples,
        ),
        Metric(
            "auc_ovr_micro",
            "micro AUC",
            "AUC of all pairs of an example and a class, the right ones against the wrong ones",
            ranks.auc_ovr_micro,
            "delong",
            "ranks",
            pooled=True,
            influences=influences.auc_ovr_micro,
            caveat=caveats.few_examples,
        ),
        Metric(
            "auc_ovo",
            "one-vs-one AUC",
            "Mean AUC of all pairs of classes (Hand & Till 2001)",
            ranks.auc_ovo,
            "delong",
            "ranks",
            needs=_ALL,
            influences=influences.auc_ovo,
            caveat=caveats.few_examples,
        ),
        Metric(
            "auc_ovr",
            "AUC",
            "Probability that an example of the class scores higher than another (DeLong 1988)",
            ranks.auc_ovr,
            "delong",
            "ranks",
            needs=_BOTH,
            per_class=True,
            influences=influences.auc_ovr,
            caveat=caveats.few_examples,
        ),
        Metric(
            ACCURACY,
            "accuracy",
            "Share of examples that are called by their class (interval: Wilson 1927)",
            _share_of(calls.right_of_all),
            "wilson",
            "calls",
            counted=calls.right_of_all,
            influences=influences.accuracy,
        ),
        Metric(
            "precision",
            "precision",
            "Share of the examples called the class that are of it (interval: Wilson 1927)",
            _share_of(calls.right_of_called),
            "wilson",
            "calls",
            needs="examples that are called the class",
            per_class=True,
            counted=calls.right_of_called,
            caveat=caveats.few_examples,
        ),
        Metric(
            "recall",
            "recall",
            "Share of the examples of the class that are called it (interval: Wilson 1927)",
            _share_of(calls.right_of_class),
            "wilson",
            "calls",
            needs="examples of the class",
            per_class=True,
            counted=calls.right_of_class,
            influences=influences.recall,
            caveat=caveats.few_examples,
        ),
        Metric(
            "f1",
            "F1",
            "Harmonic mean of precision and recall",
            calls.f1,
            "deviation",
            "calls",
            needs="examples of the class",
            per_class=True,
            caveat=caveats.few_examples,
        ),
        Metric(
            "f1_macro",
            "macro F1",
            "Mean of F1 over classes",
            calls.f1_macro,
            "deviation",
            "calls",
            needs=_ALL,
            mean_of="f1",
            caveat=caveats.few_examples,
        ),
        Metric(
            "mcc",
            "Matthews correlation",
            "Correlation of true and called class, for any number of them (Gorodkin 2004)",
            calls.matthews_correlation,
            "deviation",
            "calls",
            needs="examples of two classes and calls of two classes",
            worst=-1.0,
        ),
        Metric(
            "average_precision",
            "average precision",
            "Area of steps under the precision-recall curve, without interpolation",
            ranks.average_precision,
            "deviation",
            "ranks",
            needs="examples of the class",
            per_class=True,
            caveat=caveats.few_examples,
        ),
        Metric(
            "average_precision_macro",
            "macro average precision",
            "Mean of the average precision over classes",
            ranks.average_precision_macro,
            "deviation",
            "ranks",
            needs=_ALL,
            mean_of="average_precision",
            caveat=caveats.few_examples,
        ),
        *(
            Metric(
                f"tpr_at_fpr_{rate}",
                f"TPR at FPR {rate:.1%}",
                f"Highest true positive rate with at most {rate:.1%} false positives",
                ranks.tpr_at_fpr(rate),
                "percentiles",
                "ranks",
                needs=_BOTH,
                per_class=True,
                caveat=caveats.few_false_positives(ranks.share_of_others(rate)),
            )
            for rate in (0.001, 0.01)
        ),
        *(
            Metric(
                f"tpr_at_{n}_fp",
                f"TPR at {n} false positives",
                f"Highest true positive rate with at most {n} false positives: TPR{n} of the "
                "lens finding challenge (Metcalf et al. 2019)",
                ranks.tpr_at_false_positives(n),
                "percentiles",
                "ranks",
                needs=f"examples of the class and more than {n} of others",
                per_class=True,
                caveat=caveats.few_false_positives(ranks.number_of_others(n)),
            )
            for n in (0, 10)
        ),
        Metric(
            "log_loss",
            "log loss",
            "Mean of minus the natural log of the label's probability",
            probabilities.log_loss,
            "deviation",
            "probabilities",
            needs="a probability above 0 for each label (logits less than 1e150 apart)",
            best=0.0,
            worst=math.inf,
            greater_is_better=False,
            influences=influences.log_loss,
            caveat=caveats.few_wrong_calls,
        ),
        Metric(
            "brier",
            "Brier score",
            "Mean squared error of the probabilities, summed over classes (Brier 1950)",
            probabilities.brier_score,
            "deviation",
            "probabilities",
            best=0.0,
            worst=2.0,
            greater_is_better=False,
            influences=influences.brier_score,
            caveat=caveats.few_wrong_calls,
        ),
        Metric(
            "ece",
            "calibration error",
            "Mean distance of accuracy from confidence, as Guo et al. (2017), but in 15 bins of "
            "equally many examples",
            expected_calibration_error,
            "percentiles",
            "probabilities",
            best=0.0,
            worst=1.0,
            greater_is_better=False,
            caveat=caveats.noise_of_bins,
        ),
        Metric(
            "ece_debiased",
            "debiased calibration error",
            "Calibration error less what finite bins add to it, 0 if that is more (Kumar et al. "
            "2019)",
            debiased_calibration_error,
            "percentiles",
            "probabilities",
            best=0.0,
            worst=1.0,
            greater_is_better=False,
            caveat=caveats.noise_that_stays,
        ),
        Metric(
            "ece_classwise",
            "classwise calibration error",
            "Mean over classes of each probability's calibration error, as Kull et al. (2019), but "
            "in 15 bins of equally many examples",
            classwise_calibration_error,
            "percentiles",
            "probabilities",
            best=0.0,
            worst=1.0,
            greater_is_better=False,
            caveat=caveats.noise_of_bins,
        ),
        Metric(
            "aurc",
            "area under risk-coverage",
            "Mean share of wrong calls when only the surest are made (Geifman et al. 2019)",
            area_under_risk_coverage,
            "deviation",
            "ranks",
            best=0.0,
            worst=1.0,
            greater_is_better=False,
        ),
    )
}


def metric_of(key: str, classes: Sequence[str] | None = None) -> Metric:
    """Return the metric that an estimate's key names.

    Args:
        key: Such as `accuracy` or `recall/vort`.
        classes: The classes that there are, if that is known.

    >>> metric_of("recall/vort").title
    'recall'

    Raises:
        ConfigError: There is none of that name, or the key lacks a class, has one too many, or
            one that there is not.
    """
    name, slash, one = key.partition("/")
    if name not in METRICS:
        close = get_close_matches(name, METRICS, n=3) or list(METRICS)
        raise ConfigError(f"no metric is called {name!r}; there are {', '.join(close)}")
    metric = METRICS[name]
    if metric.per_class and not slash:
        raise ConfigError(f"each class has its own {name}: ask for '{name}/<class>'")
    if slash and not metric.per_class:
        raise ConfigError(f"{name} is one number for all classes: ask for {name!r}, not {key!r}")
    if slash and classes is not None and one not in classes:
        raise ConfigError(f"{key!r} names no class of these: {', '.join(classes)}")
    return metric
