"""The reliability diagram."""

import numpy as np
import pytest

from lensbench.evaluation.calibration import Reliability, ReliabilityBin
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.figures.reliability import draw_reliability


def a_bin(low: float, confidence: float, high: float, n_right: int) -> ReliabilityBin:
    accuracy = proportion_estimate("accuracy", n_right, 20, 0.9)
    return ReliabilityBin(low=low, confidence=confidence, high=high, accuracy=accuracy)


BEFORE = Reliability(
    bins=(a_bin(0.4, 0.6, 0.7, 10), a_bin(0.7, 0.95, 1, 18)), error=0.075, error_by_chance=0.0789
)
AFTER = Reliability(bins=(a_bin(0.4, 0.5, 0.6, 12),), error=0.1, error_by_chance=0.0321)


def points(ax) -> dict[str, np.ndarray]:
    return {one.get_label().split("  ")[0]: one.lines[0].get_xydata() for one in ax.containers}


def test_points_are_the_accuracies_at_the_mean_confidences():
    drawn = points(draw_reliability({"before": BEFORE, "after": AFTER}))
    np.testing.assert_allclose(drawn["before"], [[0.6, 0.5], [0.95, 0.9]])
    np.testing.assert_allclose(drawn["after"], [[0.5, 0.6]])


def test_bars_are_the_intervals():
    ax = draw_reliability({"before": BEFORE})
    (bars,) = ax.containers[0].lines[2]
    for one, segment in zip(BEFORE.bins, bars.get_segments(), strict=True):
        np.testing.assert_allclose(segment[:, 1], [one.accuracy.low, one.accuracy.high])
    assert ax.get_ylabel() == "Accuracy with 90% interval"


def test_the_legend_says_the_errors_and_those_of_chance():
    ax = draw_reliability({"before": BEFORE, "after": AFTER}, "A title")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["before  0.0750 (0.0789 by chance)", "after  0.1000 (0.0321 by chance)"]
    assert ax.get_title(loc="left") == "A title"


def test_both_axes_show_all_bars_and_the_diagonal_as_such():
    ax = draw_reliability({"before": BEFORE, "after": AFTER})
    assert ax.get_xlim() == ax.get_ylim()
    low, high = ax.get_ylim()
    assert low < min(one.accuracy.low for one in (*BEFORE.bins, *AFTER.bins))
    assert high > 1
    diagonal = ax.lines[-1].get_xydata()
    np.testing.assert_array_equal(diagonal, [[0, 0], [1, 1]])


@pytest.mark.parametrize("n", [1, 2, 7])
def test_nothing_is_clipped(n):
    named = {f"the classifier of number {i}, at some temperature": BEFORE for i in range(n)}
    ax = draw_reliability(named, "A name that is long enough to be wrapped, of a classifier")
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    for box in (ax.get_legend().get_window_extent(), ax.get_tightbbox()):
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
