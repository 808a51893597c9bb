"""A number with its uncertainty, and everything that is known about one set of predictions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Estimate(BaseModel):
    """A named value with its confidence interval.

    `low` and `high` bound the interval of confidence `level`; `method` names how it was computed
    and `n` the number of examples behind it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    low: float
    high: float
    level: float
    method: str
    n: int

    def __str__(self) -> str:
        """Return the value and its interval to four digits, as tables show it."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class RocCurve(BaseModel):
    """False and true positive rates at falling thresholds, and the area under them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    auc: float


class Evaluation(BaseModel):
    """What one set of predictions is worth.

    `estimates` is keyed by name: `auc_ovr_macro`, `auc_ovr_micro`, `accuracy`, and for each class
    `auc_ovr/<class>`, `precision/<class>`, `recall/<class>`, `f1/<class>`. `roc_curves` is keyed
    by class name, `micro` and `macro`. `confusion_matrix[i][j]` counts the examples of class i
    that were called class j. `report` is scikit-learn's text table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    estimates: dict[str, Estimate]
    roc_curves: dict[str, RocCurve]
    confusion_matrix: tuple[tuple[int, ...], ...]
    report: str
