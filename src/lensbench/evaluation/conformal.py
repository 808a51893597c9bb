"""Conformal prediction: sets of classes that hold the true one as often as was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lensbench.errors import ConfigError, RecordError
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.evaluation.ranking import Booleans, Floats, Integers
from lensbench.evaluation.scored import Scored
from lensbench.outcome import Predictions

Kind = Literal["marginal", "class-conditional"]


class ConformalResult(BaseModel):
    """How the prediction sets of one level did on the test examples.

    Attributes:
        kind: Whether the level is promised over all examples, or for each class by itself.
        nominal: The level.
        coverage: The share of sets that hold the true class, with its Wilson interval.
        class_coverage: The same among the examples of each class, keyed by its name; undefined for
            a class without test examples.
        mean_set_size: Classes in a set.
        share_empty: Of the sets, those without a class: nothing seen in validation is as odd.
        share_single: Those of one class.
        share_larger: Those of more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    nominal: float
    coverage: Estimate
    class_coverage: dict[str, Estimate]
    mean_set_size: float
    share_empty: float
    share_single: float
    share_larger: float


def conformal(
    validation: Predictions,
    test: Predictions,
    levels: Sequence[float] = (0.9, 0.95, 0.99),
    level: float = 0.95,
) -> tuple[ConformalResult, ...]:
    """Calibrate prediction sets on the validation examples and count how they do on the test ones.

    Split conformal prediction (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random
    World") with one minus the probability of a class as its nonconformity: a class is in the set
    of an example unless a share of 1 - nominal or less of the validation examples, the example
    itself counted as one more, conforms as little with its label. Class-conditional sets compare
    with the validation examples of that class alone.

    If validation and test examples are exchangeable, and the classifier was fixed without the
    labels of either, a test example's set holds its class with a probability of at least
    `nominal`, whatever the classifier; the class-conditional one also within every class. A
    classifier whose epoch or temperature was chosen on these very validation examples meets that
    nearly, not strictly. The promise is for the mean over validation sets as well: the coverage
    that belongs to one validation set of n examples scatters by about
    sqrt(nominal (1 - nominal) / n), which the interval, one of these sets' coverage, leaves out.

    A temperature changes the sets, not the promise: with more than two classes it changes the
    order of examples by their probability. With two it does not, and the sets stay.

    With fewer than 1 / (1 - nominal) - 1 validation examples every set holds every class.

    Args:
        validation: Of n examples, some of each class.
        test: Of N others, with the same classes.
        levels: Nominal coverages, in (0, 1).
        level: Confidence level of the intervals.

    Returns:
        For each nominal coverage the marginal result, then the class-conditional one.

    Raises:
        ConfigError: A nominal coverage is not between 0 and 1.
        RecordError: The classes differ, a class has no validation example, there is no test
            example, or an example is in both.
    """
    for nominal in levels:
        if not 0 < nominal < 1:
            raise ConfigError(f"the coverage of conformal sets lies between 0 and 1, not {nominal}")
    _require_comparable(validation, test)
    scored = Scored.of(test)
    p_values = _p_values(Scored.of(validation), scored)
    # p-values are multiples of 1 / (n + 1); 1 - nominal is rounded and must not decide a tie.
    return tuple(
        _count(kind, nominal, p > 1 - nominal + 1e-9, scored.labels, test.classes, level)
        for nominal in levels
        for kind, p in p_values.items()
    )


def _require_comparable(validation: Predictions, test: Predictions) -> None:
    if validation.classes != test.classes:
        raise RecordError(
            f"validation has the classes {', '.join(validation.classes)}, but test has "
            f"{', '.join(test.classes)}: sets need the same, in the same order"
        )
    shared = np.intersect1d(validation.ids, test.ids)
    if len(shared):
        raise RecordError(
            f"{len(shared):,} examples, the first of them {shared[0]}, are in validation and in "
            "test: sets that were calibrated on test examples prove nothing"
        )
    if not len(test.ids):
        raise RecordError("no test examples: the coverage of none does not exist")
    counts = np.bincount(validation.labels, minlength=len(validation.classes))
    if (counts == 0).any():
        absent = ", ".join(validation.classes[k] for k in np.flatnonzero(counts == 0))
        raise RecordError(
            f"no validation example of {absent}: sets are calibrated on examples of every class"
        )


def _p_values(validation: Scored, test: Scored) -> dict[Kind, Floats]:
    """Return (N, K) for each kind: how usual each example would be with each class as its label."""
    # Imported here because it brings pandas. It also changes the filters of warnings.
    with warnings.catch_warnings():
        from crepes import ConformalClassifier

    # Ranked as one minus the probability is, but small probabilities do not round to one.
    of_label = -validation.log_probabilities[np.arange(len(validation.labels)), validation.labels]
    of_class = -test.log_probabilities
    marginal = ConformalClassifier().fit(of_label)
    by_class = ConformalClassifier().fit(of_label, bins=validation.labels)
    n = len(test.labels)
    return {
        "marginal": marginal.predict_p(of_class, smoothing=False),
        "class-conditional": np.column_stack(
            [
                by_class.predict_p(of_class[:, k], bins=np.full(n, k), smoothing=False)
                for k in range(test.n_classes)
            ]
        ),
    }


def _count(
    kind: Kind,
    nominal: float,
    is_in_set: Booleans,
    labels: Integers,
    classes: tuple[str, ...],
    level: float,
) -> ConformalResult:
    covered = is_in_set[np.arange(len(labels)), labels]
    size = is_in_set.sum(axis=1)
    return ConformalResult(
        kind=kind,
        nominal=nominal,
        coverage=proportion_estimate("coverage", int(covered.sum()), len(labels), level),
        class_coverage={
            name: proportion_estimate(
                f"coverage/{name}", int(covered[labels == k].sum()), int((labels == k).sum()), level
            )
            for k, name in enumerate(classes)
        },
        mean_set_size=float(size.mean()),
        share_empty=float((size == 0).mean()),
        share_single=float((size == 1).mean()),
        share_larger=float((size > 1).mean()),
    )
