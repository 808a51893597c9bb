import numpy as np
import pytest

from lensbench.evaluation.estimate import Estimate, RocCurve
from lensbench.figures import draw_roc_curves

GRID = np.linspace(0, 1, 201)


def _curve(power: float) -> RocCurve:
    return RocCurve(fpr=tuple(GRID), tpr=tuple(GRID**power), auc=1 / (1 + power))


def _legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_curves_are_the_data_classes_first_then_averages():
    curves = {"macro": _curve(0.03), "0": _curve(0.02), "1": _curve(0.04), "micro": _curve(0.025)}
    ax = draw_roc_curves(curves, "A title", classes=("no", "vort"))
    assert [label.split()[0] for label in _legend(ax)] == ["no", "vort", "micro", "macro"]
    for line, key in zip(ax.lines, ("0", "1", "micro", "macro"), strict=False):
        np.testing.assert_array_equal(line.get_xdata(), curves[key].fpr)
        np.testing.assert_array_equal(line.get_ydata(), curves[key].tpr)
    assert ax.get_title(loc="left") == "A title"


def test_legend_holds_areas_with_intervals_where_they_are_known():
    estimate = Estimate(
        name="auc_ovr/no", value=0.98, low=0.97, high=0.99, level=0.9, method="", n=9
    )
    curves = {"no": _curve(0.02), "vort": _curve(0.04)}
    ax = draw_roc_curves(curves, estimates={"auc_ovr/no": estimate})
    assert _legend(ax) == ["no  0.9800 [0.9700, 0.9900]", f"vort  {1 / 1.04:.4f}"]
    assert ax.get_legend().get_title().get_text() == "Area under the curve with 90% interval"


def test_the_level_is_written_to_all_its_digits():
    estimate = Estimate(
        name="auc_ovr/no", value=0.98, low=0.97, high=0.99, level=0.9973, method="", n=9
    )
    ax = draw_roc_curves({"no": _curve(0.02)}, estimates={"auc_ovr/no": estimate})
    assert ax.get_legend().get_title().get_text() == "Area under the curve with 99.73% interval"


def test_strong_curves_get_a_closer_look_that_hides_none_of_them():
    curves = {"no": _curve(0.01), "vort": _curve(0.05)}
    ax = draw_roc_curves(curves)
    (inset,) = ax.child_axes
    assert len(inset.lines) == len(curves)
    ax.figure.draw_without_rendering()
    covered = inset.get_tightbbox()
    for line in ax.lines[: len(curves)]:
        spots = ax.transData.transform(line.get_xydata())
        assert not any(covered.contains(*spot) for spot in spots)
    assert not covered.overlaps(ax.get_legend().get_window_extent())


def test_weak_curves_are_not_covered_by_an_inset():
    assert draw_roc_curves({"no": _curve(0.01), "vort": _curve(0.6)}).child_axes == []


@pytest.mark.parametrize("n", [2, 3, 10])
def test_nothing_is_clipped(n):
    curves = {str(k): _curve(0.02 + 0.01 * k) for k in range(n)}
    ax = draw_roc_curves(curves, "A name\nA title", classes=[f"class number {k}" for k in range(n)])
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    assert ax.bbox.width == pytest.approx(ax.bbox.height, rel=0.1)
    for box in (ax.get_legend().get_window_extent(), ax.get_tightbbox()):
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
