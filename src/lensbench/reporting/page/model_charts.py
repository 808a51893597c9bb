"""The plots of one model, as plain dictionaries that plotly.js draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from lensbench.evaluation.against import Bin
from lensbench.evaluation.calibration import Reliability
from lensbench.evaluation.selective import RiskCoverage
from lensbench.figures.style import BLUE, CYCLE, GREEN, ORANGE, VERMILION
from lensbench.reporting.page.charts import LOGARITHMIC, PALE, Figure, error_bars, plain
from lensbench.runs.record import RunRecord

_HEIGHT = 360
_MOST_TICKS = 10


def reliability_figure(diagrams: Mapping[str, Reliability]) -> Figure:
    """Draw accuracy against confidence, with the intervals of each bin.

    Args:
        diagrams: By what the probabilities went through, such as temperature scaling.
    """
    traces: list[Figure] = [
        {
            "name": "as sure as right",
            "x": [0, 1],
            "y": [0, 1],
            "mode": "lines",
            "line": {"color": PALE, "width": 1.2, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    lowest = min(one.bins[0].confidence for one in diagrams.values())
    for (name, diagram), colour in zip(diagrams.items(), (BLUE, VERMILION), strict=False):
        accuracies = [one.accuracy for one in diagram.bins]
        lowest = min(lowest, *(one.low for one in accuracies))
        traces.append(
            {
                "name": name,
                "x": [one.confidence for one in diagram.bins],
                "y": [one.value for one in accuracies],
                "error_y": {**error_bars(accuracies), "thickness": 1.2, "width": 0},
                "mode": "lines+markers",
                "line": {"color": colour, "width": 1.4},
                "marker": {"size": 6},
                "customdata": [f"{one}, {one.n:,} images" for one in accuracies],
                "hovertemplate": "confidence %{x:.4f}<br>accuracy %{customdata}<extra></extra>",
            }
        )
    span = [max(0.0, lowest - 0.03), 1.02]
    return {
        "data": traces,
        "layout": {
            "height": _HEIGHT,
            "xaxis": {"title": {"text": "Confidence"}, "range": span},
            "yaxis": {"title": {"text": "Accuracy"}, "range": span},
        },
    }


def history_figure(record: RunRecord) -> Figure:
    """Draw losses and validation AUC by epoch, and which epoch was kept; epochs count from 1."""
    traces: list[Figure] = []
    for name, values, colour, axis in (
        ("training loss", record.train_losses, BLUE, ""),
        ("validation loss", record.val_losses, ORANGE, ""),
        ("validation AUC", record.val_aucs, GREEN, "2"),
    ):
        traces.append(
            {
                "name": name,
                "x": list(range(1, len(values) + 1)),
                "y": [value if math.isfinite(value) else None for value in values],
                "mode": "lines+markers",
                "line": {"color": colour, "width": 1.6},
                "marker": {"size": 5},
                "yaxis": f"y{axis}",
                "hovertemplate": "%{y:.5f}",
            }
        )
    n_epochs = len(record.train_losses)
    layout: Figure = {
        "height": _HEIGHT,
        "hovermode": "x unified",
        "xaxis": {
            "title": {"text": "Epoch"},
            "anchor": "y2",
            "range": [0.5, n_epochs + 0.5],
            "tick0": 0,
            "dtick": next(step for step in _steps() if n_epochs <= _MOST_TICKS * step),
        },
        "yaxis": {"title": {"text": "Loss (nats)"}, "domain": [0.56, 1]},
        "yaxis2": {"title": {"text": "Macro AUC"}, "domain": [0, 0.44]},
    }
    if record.best_epoch is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "x0": record.best_epoch,
                "x1": record.best_epoch,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": PALE, "width": 1.2, "dash": "dash"},
            }
        ]
    return {"data": traces, "layout": layout}


def _steps() -> Iterator[int]:
    """Count 1, 2, 5, 10, 20, 50 and so on, the steps that are easy to read."""
    return (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))


def risk_figure(curve: RiskCoverage) -> Figure:
    """Draw the share of wrong calls among the most confident ones, with intervals at a few."""
    covered = [one.n / curve.n for one in curve.at]
    return {
        "data": [
            {
                "name": "risk",
                "x": [round(share, 4) for share in curve.coverage],
                "y": [float(f"{risk:.4g}") for risk in curve.risk],
                "mode": "lines",
                "line": {"color": BLUE, "width": 1.6},
                "hovertemplate": "risk %{y:.4f} of the most confident %{x:.1%}<extra></extra>",
            },
            {
                "name": "with intervals",
                "x": covered,
                "y": [one.value for one in curve.at],
                "error_y": {**error_bars(curve.at), "thickness": 1.2, "width": 0},
                "mode": "markers",
                "marker": {"color": BLUE, "size": 7},
                "customdata": [str(one) for one in curve.at],
                "hovertemplate": "%{customdata}<extra></extra>",
            },
        ],
        "layout": {
            "height": _HEIGHT,
            "showlegend": False,
            "xaxis": {"title": {"text": "Coverage"}, "range": [0, 1.02], "tickformat": ".0%"},
            "yaxis": {"title": {"text": "Risk"}, "rangemode": "tozero", "tickformat": ".1%"},
        },
    }


def recall_figure(bins: Mapping[str, Sequence[Bin]], quantity: str) -> Figure:
    """Draw the recall of each class at the median number of each bin, with its interval.

    Args:
        bins: For each class its bins, as `recall_against` returns them.
        quantity: What the number is, with its unit.
    """
    drawn = [one for of_class in bins.values() for one in of_class]
    lowest, highest = min(one.low for one in drawn), max(one.high for one in drawn)
    return {
        "data": [
            {
                "name": plain(name),
                "x": [one.middle for one in of_class],
                "y": [one.recall.value for one in of_class],
                "error_y": {
                    **error_bars([one.recall for one in of_class]),
                    "thickness": 1.2,
                    "width": 0,
                },
                "mode": "lines+markers",
                "line": {"color": CYCLE[place % len(CYCLE)], "width": 1.4},
                "customdata": [
                    f"{one.recall} of {one.recall.n:,}<br>from {one.low:.4g} to {one.high:.4g}"
                    for one in of_class
                ],
                "hovertemplate": "%{customdata}",
            }
            for place, (name, of_class) in enumerate(bins.items())
            if of_class
        ],
        "layout": {
            "height": _HEIGHT,
            "xaxis": {
                "title": {"text": plain(quantity)},
                **(
                    {**LOGARITHMIC, "tickformat": "~g"}
                    if lowest > 0 and highest > 30 * lowest
                    else {"exponentformat": "power"}
                ),
            },
            "yaxis": {"title": {"text": "Recall"}, "range": [0, 1.02]},
        },
    }
