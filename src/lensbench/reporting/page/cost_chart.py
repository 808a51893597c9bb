"""What a result costs, and which models are worth it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from lensbench.comparison.compare import Entry
from lensbench.evaluation.pareto import pareto_front
from lensbench.figures.style import CYCLE
from lensbench.reporting.page.charts import LOGARITHMIC, Chart, Figure, error_bars, plain
from lensbench.runs.cost import Costs

_NAME_WIDTH, _NAME_HEIGHT = 0.16, 0.06
"""Room for a name, as shares of the plot."""


def cost_chart(
    entries: Sequence[Entry], costs: Mapping[str, Mapping[str, float]], title: str
) -> Chart | None:
    """Draw the result of each model against what it costs, with the Pareto front.

    Args:
        entries: The models.
        costs: For each way to count cost, that of each model.
        title: What the ranking goes by.

    Returns:
        None if no cost is known.
    """
    variants: dict[str, Figure | None] = {
        kind: _cost_figure([(e, known[e.name]) for e in entries if e.name in known], kind, title)
        for kind, known in costs.items()
        if known
    }
    return Chart("cost", "Cost", variants) if variants else None


def _cost_figure(points: Sequence[tuple[Entry, float]], kind: str, title: str) -> Figure:
    front = pareto_front([cost for _, cost in points], [e.estimate.value for e, _ in points])
    on_front = [points[i] for i in front]
    named = _with_room(on_front, points)
    traces: list[Figure] = [
        {
            "name": "Pareto front",
            "x": [cost for _, cost in on_front],
            "y": [entry.estimate.value for entry, _ in on_front],
            "mode": "lines",
            "line": {"shape": "hv", "width": 1.2, "dash": "dot", "color": "rgb(128,128,128)"},
            "hoverinfo": "skip",
        }
    ]
    for tied, name in ((True, "tied with the best"), (False, "worse than the best")):
        group = [(e, cost) for e, cost in points if e.tied is tied]
        if group:
            traces.append(_cloud(group, name, tied, named))
    return {
        "data": traces,
        "layout": {
            "height": 460,
            "xaxis": {"title": {"text": plain(kind)}, **LOGARITHMIC},
            "yaxis": {"title": {"text": plain(title)}},
        },
    }


def _with_room(
    wanted: Sequence[tuple[Entry, float]], points: Sequence[tuple[Entry, float]]
) -> set[str]:
    """Choose the points whose names do not cover each other, the best first."""
    logs, values = [math.log(cost) for _, cost in points], [e.estimate.value for e, _ in points]
    width, height = max(logs) - min(logs) or 1, max(values) - min(values) or 1
    taken: list[tuple[float, float]] = []
    names = set()
    for entry, cost in reversed(wanted):
        x, y = math.log(cost) / width, entry.estimate.value / height
        if all(abs(x - i) > _NAME_WIDTH or abs(y - j) > _NAME_HEIGHT for i, j in taken):
            taken.append((x, y))
            names.add(entry.name)
    return names


def _cloud(
    points: Sequence[tuple[Entry, float]], name: str, filled: bool, labelled: set[str]
) -> Figure:
    estimates = [entry.estimate for entry, _ in points]
    colour = CYCLE[0] if filled else CYCLE[3]
    return {
        "name": name,
        "x": [cost for _, cost in points],
        "y": [one.value for one in estimates],
        "error_y": {**error_bars(estimates), "thickness": 1, "width": 0, "color": colour},
        "mode": "markers+text",
        "text": [plain(e.name) if e.name in labelled else "" for e, _ in points],
        "textposition": "top left",
        "cliponaxis": False,
        "customdata": [f"{plain(entry.name)}: {entry.estimate}" for entry, _ in points],
        "hovertemplate": "%{customdata}<br>cost %{x:.4~g}<extra></extra>",
        "marker": {
            "size": 9,
            "color": colour,
            "symbol": "circle" if filled else "circle-open",
            "line": {"width": 1.6, "color": colour},
        },
    }


def costs_of(entries: Sequence[Entry], costs: Costs | None) -> dict[str, dict[str, float]]:
    """Return, for each way to count cost that is known, that of each model.

    Speeds and memory are those of one machine. Training times are kept apart by machine, since
    those of different ones must not be compared.
    """
    found: dict[str, dict[str, float]] = {}
    for entry in entries:
        for kind, cost in _costs_of(entry, costs):
            if cost:
                found.setdefault(kind, {})[entry.name] = float(cost)
    return dict(sorted(found.items(), key=lambda item: item[0].startswith("Training time")))


def _costs_of(entry: Entry, costs: Costs | None) -> Iterator[tuple[str, float | None]]:
    ours = entry.record.lensbench
    if ours is not None and ours.cost is not None:
        yield "Multiply-adds of one image", ours.cost.multiply_adds
        yield "Parameters", ours.cost.n_parameters
    measured = costs.runs.get(entry.runs[0].name) if costs else None
    if costs is not None and measured is not None:
        train, classify = measured.training.median, measured.inference.median
        yield f"Seconds to train once on 10,000 images ({costs.machine})", 1e4 / train
        yield f"Seconds to classify 10,000 images ({costs.machine})", 1e4 / classify
        yield f"Peak memory of training in bytes ({costs.machine})", measured.training_peak_bytes
    yield f"Training time in minutes ({entry.machine})", entry.minutes
