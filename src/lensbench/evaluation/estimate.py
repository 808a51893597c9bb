"""A number with its uncertainty, and everything that is known about one set of predictions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

MACRO_AUC = "auc_ovr_macro"
ACCURACY = "accuracy"

_FEWEST_DECIMALS, _MOST_DECIMALS = 4, 6


class UndefinedMetricWarning(UserWarning):
    """A metric does not exist on these examples; its value and bounds are NaN."""


@contextmanager
def undefined_silenced() -> Iterator[None]:
    """Silence `UndefinedMetricWarning` where the user learns in another way what is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        yield


def _nan_of_null(value: object) -> object:
    return math.nan if value is None else value


Number = Annotated[float, BeforeValidator(_nan_of_null)]
"""A float that may be NaN, which JSON has no word for but null."""


class Estimate(BaseModel):
    """A named value with its confidence interval.

    `low` and `high` bound the interval of confidence `level`; `method` names how it was computed
    and `n` the number of examples behind it. All three numbers are NaN, null in JSON, where the
    value does not exist, and the bounds alone where nothing bounds it; `method` then says why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: Number
    low: Number
    high: Number
    level: float
    method: str
    n: int

    def shown(self, sign: str = "") -> tuple[str, str, str]:
        """Return value, low and high as every table shows them, all to the same decimals.

        These are four, or as many up to six as tell a value below 1 from 1, and the three from
        each other. Rounded alike, a value never leaves its interval.

        Args:
            sign: `+` to have one before positive numbers too.
        """
        finest = self._rounded(sign, _MOST_DECIMALS)
        for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS):
            rounded = self._rounded(sign, decimals)
            if _what_is_told(rounded) == _what_is_told(finest):
                return rounded
        return finest

    def _rounded(self, sign: str, decimals: int) -> tuple[str, str, str]:
        value, low, high = (f"{x:{sign}.{decimals}f}" for x in (self.value, self.low, self.high))
        return value, low, high

    def __str__(self) -> str:
        """Return the value and its interval, if it has one, as tables show it."""
        if math.isnan(self.value):
            return "undefined"
        value, low, high = self.shown()
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"


def percent(level: float) -> str:
    """Return a level as it was asked for.

    >>> percent(0.95), percent(0.9973)
    ('95%', '99.73%')
    """
    return f"{100 * level:.12g}%"


def _what_is_told(rounded: tuple[str, str, str]) -> tuple[bool, int]:
    value, low, high = map(float, rounded)
    return value >= 1, len({value, low, high})


def undefined_estimate(name: str, level: float, n: int, reason: str) -> Estimate:
    """Return the estimate of what does not exist, and warn that it does not.

    Args:
        name: Of the estimate.
        level: Confidence level that was asked for.
        n: Number of examples.
        reason: What is lacking, as a clause.
    """
    warnings.warn(f"{name} is undefined: {reason}", UndefinedMetricWarning, stacklevel=2)
    return Estimate(
        name=name,
        value=math.nan,
        low=math.nan,
        high=math.nan,
        level=level,
        method=f"undefined: {reason}",
        n=n,
    )


class RocCurve(BaseModel):
    """False and true positive rates at falling thresholds, and the area under them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    auc: float


class Evaluation(BaseModel):
    """What one set of predictions is worth.

    `estimates` is keyed by the names of `lensbench.evaluation.metrics.METRICS`: `accuracy`,
    `auc_ovr_macro`, and for each class `recall/<class>` and so on. `roc_curves` is keyed by class
    name, `micro` and `macro`; a class that has no example, or is the only one, has no curve, and
    the mean over classes then neither. `confusion_matrix[i][j]` counts the examples of class i
    that were called class j. `report` is scikit-learn's text table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    estimates: dict[str, Estimate]
    roc_curves: dict[str, RocCurve]
    confusion_matrix: tuple[tuple[int, ...], ...]
    report: str

    @property
    def undefined(self) -> tuple[str, ...]:
        """A line for each reason why estimates do not exist, with their names."""
        names: dict[str, list[str]] = {}
        for one in self.estimates.values():
            if math.isnan(one.value):
                names.setdefault(one.method, []).append(one.name)
        return tuple(f"{', '.join(mine)}: {reason}" for reason, mine in names.items())
