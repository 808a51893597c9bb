"""Names beside points, none on top of another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from lensbench.figures.style import GREY

_Spot = tuple[float, float]

_MARKER_POINTS = 9.0
_GAP_POINTS = 2.0
_LEADER_POINTS = 8.0
_N_NEAR = 48


def place_labels(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    bars: Sequence[tuple[float, float]],
) -> list[Annotation]:
    """Write each name at the nearest free place to its point, with a line to it if that is far.

    Names keep off the vertical `bars` (from, to) of all points where they can. The layout of
    the figure must be final: draw it once before.
    """
    pixels = ax.figure.dpi / 72
    spots = [(float(x), float(y)) for x, y in ax.transData.transform(points)]
    half = _MARKER_POINTS / 2 * pixels
    taken = [Bbox.from_bounds(x - half, y - half, 2 * half, 2 * half) for x, y in spots]
    thin = [_bar(ax, point[0], *bar) for point, bar in zip(points, bars, strict=True)]
    leaders: list[Path] = []
    labels = []
    for point, spot, name in zip(points, spots, names, strict=True):
        label = ax.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=4,
        )
        size = label.get_window_extent()
        boxes = list(_boxes(spot, size.width, size.height, ax.bbox.height, pixels))
        boxes = [box for box in boxes if _inside(ax.bbox, box)] or boxes
        box = (
            _first_free(spot, boxes[:_N_NEAR], [*taken, *thin], leaders)
            or _first_free(spot, boxes, taken, leaders)
            or next((box for box in boxes if not box.count_overlaps(taken)), boxes[0])
        )
        leader = _leader(spot, box)
        label.xyann = (
            (box.x0 + box.width / 2 - spot[0]) / pixels,
            (box.y0 + box.height / 2 - spot[1]) / pixels,
        )
        if math.dist(*leader) > (_MARKER_POINTS / 2 + _LEADER_POINTS) * pixels:
            ax.plot(
                *ax.transData.inverted().transform(leader).T,
                color=GREY,
                linewidth=0.7,
                zorder=1.5,
                scalex=False,
                scaley=False,
            )
            leaders.append(Path(leader))
        taken.append(box)
        labels.append(label)
    return labels


def _first_free(
    spot: _Spot, boxes: Sequence[Bbox], taken: Sequence[Bbox], leaders: Sequence[Path]
) -> Bbox | None:
    """Return the first box that touches nothing, nor does the line to it."""
    others = [other for other in taken if not other.contains(*spot)]
    for box in boxes:
        if box.count_overlaps(taken) or any(line.intersects_bbox(box) for line in leaders):
            continue
        own = Path(_leader(spot, box))
        if any(own.intersects_bbox(other) for other in others):
            continue
        if not any(own.intersects_path(line) for line in leaders):
            return box
    return None


def _inside(room: BboxBase, box: Bbox) -> bool:
    return bool(room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1)


def _bar(ax: Axes, x: float, low: float, high: float) -> Bbox:
    (x0, y0), (_, y1) = ax.transData.transform([(x, low), (x, high)])
    return Bbox.from_extents(x0 - 1, y0, x0 + 1, y1)


def _boxes(
    spot: _Spot, width: float, height: float, furthest: float, pixels: float
) -> Iterator[Bbox]:
    """Yield places for a label, nearest first, and right of the point before all other sides."""
    distance = (_MARKER_POINTS / 2 + _GAP_POINTS) * pixels
    while distance < furthest:
        for sixteenth in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 3, 13, 5, 11, 7, 9):
            x, y = math.cos(sixteenth * math.pi / 8), math.sin(sixteenth * math.pi / 8)
            yield Bbox.from_bounds(
                spot[0] + x * (distance + width / 2) - width / 2,
                spot[1] + y * (distance + height / 2) - height / 2,
                width,
                height,
            )
        distance *= 1.15


def _leader(spot: _Spot, box: Bbox) -> tuple[_Spot, _Spot]:
    """Return the line from a point to the nearest place on the edge of a box."""
    x = min(max(spot[0], box.x0), box.x1)
    y = min(max(spot[1], box.y0), box.y1)
    return spot, (x, y)
