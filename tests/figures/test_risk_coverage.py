"""The picture of risk against coverage."""

import numpy as np
import pytest

from lensbench.evaluation.proportions import proportion_estimate
from lensbench.evaluation.selective import RiskCoverage
from lensbench.figures.risk_coverage import draw_risk_coverage

CURVE = RiskCoverage(
    coverage=(0.01, 0.5, 0.8, 1),
    risk=(1, 0.1, 0.15, 0.2),
    aurc=0.12345,
    at=(
        proportion_estimate("risk_at/0.5", 5, 50, 0.9),
        proportion_estimate("risk_at/0.8", 12, 80, 0.9),
    ),
    n=100,
)


def test_lines_are_the_curves_and_points_the_estimates():
    ax = draw_risk_coverage({"ours": CURVE}, "A title")
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), CURVE.coverage)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), CURVE.risk)
    assert ax.lines[0].get_drawstyle() == "steps-post"
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xydata(), [[0.5, 0.1], [0.8, 0.15]])
    (bars,) = ax.containers[0].lines[2]
    for one, segment in zip(CURVE.at, bars.get_segments(), strict=True):
        np.testing.assert_allclose(segment[:, 1], [one.low, one.high])
    assert ax.get_title(loc="left") == "A title"
    assert ax.get_ylabel() == "Wrong calls among them, 90% interval"


def test_the_legend_says_the_areas():
    ax = draw_risk_coverage({"ours": CURVE, "theirs": CURVE})
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["ours  0.1235", "theirs  0.1235"]


def test_the_first_images_do_not_set_the_scale():
    ax = draw_risk_coverage({"ours": CURVE})
    assert max(one.high for one in CURVE.at) < ax.get_ylim()[1] < 0.3


def test_no_wrong_call_is_a_flat_line():
    flat = RiskCoverage(
        coverage=(0.5, 1),
        risk=(0, 0),
        aurc=0,
        at=(proportion_estimate("risk_at/0.5", 0, 50, 0.9),),
        n=100,
    )
    low, high = draw_risk_coverage({"ours": flat}).get_ylim()
    assert low < 0 < high


@pytest.mark.parametrize("n", [1, 2, 7])
def test_nothing_is_clipped(n):
    named = {f"the classifier of number {i}": CURVE for i in range(n)}
    ax = draw_risk_coverage(named, "A name that is long enough to be wrapped, of classifiers, all")
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    for box in (ax.get_legend().get_window_extent(), ax.get_tightbbox()):
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
