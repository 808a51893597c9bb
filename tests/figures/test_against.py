"""The picture of recall against a number."""

import numpy as np
import pytest

from lensbench.evaluation.against import Bin
from lensbench.evaluation.proportions import proportion_estimate
from lensbench.figures import draw_recall_against


def a_bin(low: float, high: float, n_right: int) -> Bin:
    return Bin(low, (low + high) / 2, high, proportion_estimate("recall", n_right, 20, 0.95))


BINS = {
    "no": [a_bin(0, 0, 18)],
    "sphere": [a_bin(1, 3, 5), a_bin(4, 90, 15)],
    "vort": [a_bin(1, 2, 10), a_bin(2, 8, 20)],
    "new": [],
}


def test_points_stand_at_the_middle_of_their_bins():
    ax = draw_recall_against(BINS, "mass")
    points = {line.get_label(): line.get_xydata() for line in ax.lines}
    containers = {one.get_label(): one.lines[0].get_xydata() for one in ax.containers}
    np.testing.assert_allclose(containers["sphere"], [[2, 0.25], [47, 0.75]])
    np.testing.assert_allclose(containers["vort"], [[1.5, 0.5], [5, 1]])
    assert set(points["no (all images)"][:, 1]) == {0.9}
    assert "new" not in containers


def test_intervals_are_those_of_the_bins():
    ax = draw_recall_against(BINS, "mass")
    sphere = next(one for one in ax.containers if one.get_label() == "sphere")
    vertical = next(bars for bars in sphere.lines[2] if np.ptp(bars.get_segments()[0][:, 0]) == 0)
    for bin_, segment in zip(BINS["sphere"], vertical.get_segments(), strict=True):
        np.testing.assert_allclose(segment[:, 1], [bin_.recall.low, bin_.recall.high])


@pytest.mark.parametrize(("highest", "scale"), [(20, "linear"), (90, "log")])
def test_masses_over_decades_are_drawn_in_logarithm(highest, scale):
    ax = draw_recall_against({"sphere": [a_bin(1, 3, 5), a_bin(4, highest, 15)]}, "mass")
    assert ax.get_xscale() == scale


def test_nothing_but_equal_numbers_can_be_drawn():
    assert draw_recall_against({"no": BINS["no"]}, "mass").get_xscale() == "linear"
