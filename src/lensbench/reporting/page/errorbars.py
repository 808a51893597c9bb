"""Intervals as small pictures that stand in the cells of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lensbench.comparison.compare import Entry
from lensbench.comparison.variance import Uncertainty
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.metrics import metric_of

_WIDTH, _HEIGHT, _MARGIN = 190, 20, 6


@dataclass(frozen=True)
class Scale:
    """The values between which all error bars of a column are drawn."""

    low: float
    high: float

    @classmethod
    def of(cls, estimates: Sequence[Estimate]) -> Scale:
        """Take the range of all values and of their intervals."""
        ends = [end for one in estimates for end in _ends(one)]
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        return cls(low, high) if high > low else cls(low - 0.5, high + 0.5)

    def place(self, value: float) -> float:
        """Return the distance of a value from the left edge, in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + (_WIDTH - 2 * _MARGIN) * share, 1)


def error_bar(entry: Entry, scale: Scale) -> Markup:
    """Draw the result of a model, with its interval, as an inline SVG.

    The whole interval is a thin line. Where seeds of training are part of it, the interval that the
    test set alone would give is drawn thicker.
    """
    estimate, middle = entry.estimate, _HEIGHT / 2
    if math.isnan(estimate.value):
        return Markup("")
    low, high = (scale.place(end) for end in _ends(estimate))
    at = scale.place(estimate.value)
    inner_low, inner_high = low, high
    if entry.training_deviation:
        limits = metric_of(estimate.name).limits
        alone = Uncertainty(entry.test_deviation**2).interval(
            estimate.value, estimate.level, limits
        )
        inner_low, inner_high = (scale.place(end) for end in alone)
    return Markup(
        '<svg class="bar" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'aria-hidden="true" focusable="false">'
        '<line x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
        '<line class="test" x1="{inner_low:.1f}" x2="{inner_high:.1f}" y1="{y}" y2="{y}"/>'
        '<circle cx="{at}" cy="{y}" r="4"/></svg>'
    ).format(
        width=_WIDTH,
        height=_HEIGHT,
        low=low,
        high=high,
        y=middle,
        inner_low=inner_low,
        inner_high=inner_high,
        at=at,
    )


def _ends(estimate: Estimate) -> tuple[float, float]:
    known = [v for v in (estimate.low, estimate.value, estimate.high) if not math.isnan(v)]
    return (min(known), max(known)) if known else (math.nan, math.nan)
