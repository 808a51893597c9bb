"""What a result costs, and which models are worth it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from lensbench.comparison.compare import Entry
from lensbench.comparison.costs import known_costs
from lensbench.cost import Cost, MeasuredCost
from lensbench.evaluation.estimate import Estimate
from lensbench.evaluation.pareto import pareto_front
from lensbench.figures.style import CYCLE
from lensbench.reporting.page.charts import LOGARITHMIC, Chart, Figure, error_bars, plain
from lensbench.runs.cost import Costs

_CHARACTER, _LINE, _MARK = 7.0, 18.0, 6.0
"""Pixels that a character of a name is wide, a name high, and a mark from its middle."""

_HEIGHT, _WIDTH, _NARROW = 330.0, 950.0, 270.0
"""Pixels of the area between the axes, on a wide screen and on a phone."""

_Place = tuple[float, float]


def cost_chart(
    entries: Sequence[Entry],
    costs: Mapping[str, Mapping[str, float]],
    title: str,
    *,
    greater_is_better: bool = True,
) -> Chart | None:
    """Draw the result of each model against what it costs, with the Pareto front.

    Args:
        entries: The models, the best one first.
        costs: For each way to count cost, that of each model.
        title: What the ranking goes by.
        greater_is_better: Whether a result is the better, the greater it is.

    Returns:
        None if no cost is known.
    """
    sign = 1 if greater_is_better else -1
    variants: dict[str, Figure | None] = {
        kind: _cost_figure(
            [(e, known[e.name]) for e in entries if e.name in known], kind, title, sign
        )
        for kind, known in costs.items()
        if known
    }
    return Chart("cost", "Cost", variants) if variants else None


def _cost_figure(points: Sequence[tuple[Entry, float]], kind: str, title: str, sign: int) -> Figure:
    front = pareto_front([cost for _, cost in points], [sign * e.estimate.value for e, _ in points])
    on_front = [points[i] for i in front]
    x_range = _padded([math.log10(cost) for _, cost in points])
    y_range = _padded([end for e, _ in points for end in _ends(e.estimate)])
    places = {
        entry.name: (_share(math.log10(cost), x_range), _share(entry.estimate.value, y_range))
        for entry, cost in points
    }
    best_first = [points[i][0].name for i in sorted(front)]
    wide, narrow = (_sides(places, best_first, width) for width in (_WIDTH, _NARROW))
    groups = [
        (name, tied, [(e, cost) for e, cost in points if e.tied is tied])
        for tied, name in ((True, "tied with the best"), (False, "worse than the best"))
    ]
    groups = [group for group in groups if group[2]]
    line: Figure = {
        "name": "Pareto front",
        "x": [cost for _, cost in on_front],
        "y": [entry.estimate.value for entry, _ in on_front],
        "mode": "lines",
        "line": {"shape": "hv", "width": 1.2, "dash": "dot", "color": "rgb(128,128,128)"},
        "hoverinfo": "skip",
    }
    return {
        "data": [line, *(_cloud(group, name, tied, wide) for name, tied, group in groups)],
        "layout": {
            "height": 460,
            "xaxis": {"title": {"text": plain(kind)}, "range": x_range, **LOGARITHMIC},
            "yaxis": {"title": {"text": plain(title)}, "range": y_range},
        },
        "narrow": {"data": [{}, *(_names(group, narrow) for _, _, group in groups)]},
    }


def _ends(estimate: Estimate) -> tuple[float, float]:
    known = [end for end in (estimate.low, estimate.value, estimate.high) if math.isfinite(end)]
    return min(known), max(known)


def _padded(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return [low - room, high + room]


def _share(value: float, span: Sequence[float]) -> float:
    return (value - span[0]) / (span[1] - span[0])


def _sides(places: Mapping[str, _Place], wanted: Sequence[str], width: float) -> dict[str, str]:
    """Choose on which side of its point a name stands; one without room is left out.

    Args:
        places: Of all points, as shares of the plot.
        wanted: The names, the most important first.
        width: Of the plot, in pixels.
    """
    points = {name: (x * width, y * _HEIGHT) for name, (x, y) in places.items()}
    marks = {name: (x - _MARK, y - _MARK, x + _MARK, y + _MARK) for name, (x, y) in points.items()}
    taken: list[tuple[float, float, float, float]] = []
    sides = {}
    for name in wanted:
        x, y = points[name]
        length = _CHARACTER * len(name) + _MARK
        across = ("right", "left") if x < width / 2 else ("left", "right")
        for side in (f"{above} {beside}" for above in ("top", "bottom") for beside in across):
            left = x if side.endswith("right") else x - length
            low = y if side.startswith("top") else y - _LINE
            box = (left, low, left + length, low + _LINE)
            others = [mark for other, mark in marks.items() if other != name]
            inside = left >= 0 and low >= 0 and box[2] <= width and box[3] <= _HEIGHT
            if inside and not any(_overlap(box, other) for other in (*taken, *others)):
                taken.append(box)
                sides[name] = side
                break
    return sides


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _names(points: Sequence[tuple[Entry, float]], sides: Mapping[str, str]) -> Figure:
    return {
        "text": [plain(entry.name) if entry.name in sides else "" for entry, _ in points],
        "textposition": [sides.get(entry.name, "top left") for entry, _ in points],
    }


def _cloud(
    points: Sequence[tuple[Entry, float]], name: str, filled: bool, sides: Mapping[str, str]
) -> Figure:
    estimates = [entry.estimate for entry, _ in points]
    colour = CYCLE[0] if filled else CYCLE[3]
    return {
        "name": name,
        "x": [cost for _, cost in points],
        "y": [one.value for one in estimates],
        "error_y": {**error_bars(estimates), "thickness": 1, "width": 0, "color": colour},
        "mode": "markers+text",
        **_names(points, sides),
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
    known = known_costs(entries, costs)
    found: dict[str, dict[str, float]] = {}
    for entry in entries:
        for kind, cost in _kinds(entry, known.get(entry.name)):
            if cost:
                found.setdefault(kind, {})[entry.name] = float(cost)
    return dict(sorted(found.items(), key=lambda item: item[0].startswith("Training time")))


def _kinds(entry: Entry, cost: Cost | None) -> Iterator[tuple[str, float | None]]:
    if cost is not None:
        yield "Multiply-adds of one image", cost.multiply_adds
        yield "Parameters", cost.n_parameters
    if isinstance(cost, MeasuredCost):
        yield "Seconds to train once on 10,000 images", 1e4 / cost.training.median
        yield "Seconds to classify 10,000 images", 1e4 / cost.inference.median
        yield "Peak memory of training in bytes", cost.training_peak_bytes
    yield f"Training time in minutes ({entry.machine})", entry.minutes
