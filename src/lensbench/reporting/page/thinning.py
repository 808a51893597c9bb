"""ROC curves of thousands of points -> the few that look the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOWEST_FPR = 1e-4
"""Where the logarithmic axis of false positive rates begins; lower rates are drawn there."""

_LARGEST_DEVIATION = 5e-4


class ThinCurve(NamedTuple):
    """False and true positive rates at the points that are kept."""

    fpr: list[float]
    tpr: list[float]


def thinned(fpr: Sequence[float], tpr: Sequence[float]) -> ThinCurve:
    """Leave out points that nobody would miss, on a linear and on a logarithmic axis.

    The algorithm of Ramer, Douglas and Peucker, with a distance that is the larger one of both
    axes: no point that is left out lies further than 1/2000 of the plot's side from the line
    between the points that are kept.

    Args:
        fpr: (N,) false positive rates, never falling.
        tpr: (N,) true positive rates.

    Returns:
        The points that are kept, the first and the last one among them.
    """
    x, y = np.asarray(fpr, dtype=np.float64), np.asarray(tpr, dtype=np.float64)
    planes = np.stack([x, _log_place(x)]) + 1j * y
    kept = np.zeros(len(x), dtype=bool)
    kept[[0, -1]] = True
    spans = [(0, len(x) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        deviation = _from_chord(planes[:, first : last + 1]).max(axis=0)
        furthest = int(deviation.argmax())
        if deviation[furthest] > _LARGEST_DEVIATION:
            kept[first + 1 + furthest] = True
            spans += [(first, first + 1 + furthest), (first + 1 + furthest, last)]
    return ThinCurve(_rounded(x[kept]), _rounded(y[kept]))


def _log_place(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where rates lie on the logarithmic axis, from 0 to 1."""
    place: NDArray[np.float64] = 1 - np.log10(np.maximum(x, LOWEST_FPR)) / np.log10(LOWEST_FPR)
    return place


def _from_chord(points: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return how far the inner points lie from the segment between the first and the last one.

    Args:
        points: (P, n) x + i y in each of P planes.
    """
    chord, inner = points[:, -1:] - points[:, :1], points[:, 1:-1] - points[:, :1]
    along = (inner * chord.conj()).real / np.maximum(np.abs(chord) ** 2, 1e-300)
    distance: NDArray[np.float64] = np.abs(inner - along.clip(0, 1) * chord)
    return distance


def _rounded(rates: NDArray[np.float64]) -> list[float]:
    return [float(f"{rate:.5g}") for rate in rates]
