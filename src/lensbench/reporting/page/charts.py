"""The plots of all models together, as plain dictionaries that plotly.js draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lensbench.evaluation.estimate import Estimate
from lensbench.figures.style import CYCLE, GREY
from lensbench.reporting.page.thinning import LOWEST_FPR, ThinCurve, thinned
from lensbench.runs.record import RunRecord

Figure = dict[str, Any]
"""`data` and `layout` as plotly.js takes them; the page adds fonts and colours of its scheme, and
on a narrow screen what `narrow` changes of the layout."""

PALE = "rgba(128,128,128,0.45)"
"""A grey that is seen, and not more, on white and on black."""

LOGARITHMIC = {"type": "log", "dtick": "D2", "tickformat": "~s"}
"""Of an axis; its ticks at 1, 2 and 5 are written out."""

_CORNER = 0.01  # the false positive rate above which curves are to be seen whole


@dataclass(frozen=True)
class Chart:
    """A plot of the page, in one variant or in several that a menu chooses from.

    Attributes:
        name: Of the plot among all of the page.
        menu: What the menu chooses; empty where there is nothing to choose.
        variants: A figure for each item of the menu; None where it cannot be drawn.
    """

    name: str
    menu: str
    variants: dict[str, Figure | None]


MACRO_MEAN = "macro mean"


def roc_chart(models: Mapping[str, Mapping[str, ThinCurve]]) -> Chart | None:
    """Draw the ROC curves of all models, a variant for each class; None if there are no curves.

    Args:
        models: The curves of each model, the best one first.
    """
    titles = dict.fromkeys(title for curves in models.values() for title in curves)
    variants: dict[str, Figure | None] = {
        title: roc_figure({name: mine[title] for name, mine in models.items() if title in mine})
        for title in titles
    }
    return Chart("roc", "Curve", variants) if variants else None


def roc_curves(record: RunRecord) -> dict[str, ThinCurve]:
    """Return the curves of a record: their mean, if it is known, and that of each class."""
    known = record.test_results.roc_curve_data if record.test_results else {}
    keys = {"macro": MACRO_MEAN} | {str(k): name for k, name in enumerate(record.classes)}
    return {
        title: thinned(known[key].fpr, known[key].tpr)
        for key, title in keys.items()
        if key in known
    }


def roc_figure(curves: Mapping[str, ThinCurve], mean: str | None = None) -> Figure:
    """Draw ROC curves twice: whole, and their upper part against the logarithm of the rate.

    The first six are drawn in colour, the others grey.

    Args:
        curves: By name, the most important first.
        mean: The name of a mean of the others, which leaves them the colours that they have
            elsewhere.
    """
    traces: list[Figure] = []
    colours = dict(zip((name for name in curves if name != mean), CYCLE, strict=False))
    for place, (name, curve) in enumerate(curves.items()):
        in_colour = name in colours or name == mean
        look = {
            "name": plain(name),
            "legendgroup": str(place),
            "mode": "lines",
            "line": {
                "color": GREY if name == mean else colours.get(name, PALE),
                "dash": "dash" if name == mean else "solid",
                "width": 1.8 if in_colour else 1.1,
            },
            "hovertemplate": f"%{{y:.4f}} at %{{x:.4g}}<extra>{plain(name)}</extra>",
            "y": curve.tpr,
        }
        logged = [max(rate, LOWEST_FPR) for rate in curve.fpr]
        traces.append({**look, "x": curve.fpr, "showlegend": in_colour})
        traces.append({**look, "x": logged, "xaxis": "x2", "yaxis": "y2", "showlegend": False})
    lowest = min(
        (rate for c in curves.values() for at, rate in zip(*c, strict=True) if at >= _CORNER),
        default=0,
    )
    return {
        "data": traces[::-1],  # the most important on top
        "layout": {
            "height": 470,
            "legend": {"traceorder": "reversed"},
            "xaxis": {
                "title": {"text": "False positive rate"},
                "range": [0, 1],
                "domain": [0, 0.46],
            },
            "yaxis": {"title": {"text": "True positive rate"}, "range": [0, 1.005]},
            "xaxis2": {
                "title": {"text": "False positive rate (log)"},
                "type": "log",
                "range": [math.log10(_CORNER) - 1, 0],
                "dtick": 1,
                "tickformat": "~g",
                "domain": [0.54, 1],
                "anchor": "y2",
            },
            "yaxis2": {"range": [min(0.9, math.floor(lowest * 10) / 10), 1.003], "anchor": "x2"},
        },
        "narrow": {
            "height": 760,
            "xaxis": {"domain": [0, 1]},
            "yaxis": {"domain": [0.58, 1]},
            "xaxis2": {"domain": [0, 1]},
            "yaxis2": {"domain": [0, 0.42]},
        },
    }


def error_bars(estimates: Sequence[Estimate]) -> Figure:
    """Return the bounds of intervals as plotly.js takes them; none where there is no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [_finite(one.high - one.value) for one in estimates],
        "arrayminus": [_finite(one.value - one.low) for one in estimates],
    }


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def plain(name: str) -> str:
    """Escape a name: plotly.js reads some of HTML in labels, and fields in braces."""
    for mark, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("%{", "%&#123;")):
        name = name.replace(mark, code)
    return name
