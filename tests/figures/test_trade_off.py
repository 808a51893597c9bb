import itertools

import pytest
from matplotlib.text import Annotation

from lensbench.errors import ComparisonError
from lensbench.figures import draw_auc_vs_time
from lensbench.figures.times import APART


def _labels(ax):
    return [text for text in ax.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("n", [1, 23])
@pytest.mark.parametrize("machines", [("one GPU",), ("a CPU", "a GPU", "another GPU")])
@pytest.mark.parametrize("suffix", ["", " with a long description (seed 42)"])
def test_no_label_touches_another_nor_a_point_nor_leaves_its_panel(
    make_comparison, n, machines, suffix
):
    figure = draw_auc_vs_time(make_comparison(n, machines, suffix=suffix))
    figure.draw_without_rendering()
    n_labels = 0
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in _labels(ax)]
        n_labels += len(boxes)
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
        dots = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"]
        for dot in ax.transData.transform(dots):
            assert not any(box.contains(*dot) for box in boxes)
        for box in boxes:
            assert ax.bbox.x0 <= box.x0
            assert box.x1 <= ax.bbox.x1
            assert ax.bbox.y0 <= box.y0
            assert box.y1 <= ax.bbox.y1
    assert n_labels == n


def test_each_machine_has_its_panel_with_its_runs(make_comparison):
    comparison = make_comparison(13, machines=("a CPU", "a GPU"))
    figure = draw_auc_vs_time(comparison)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "a CPU (as published)",
        "a GPU (as published)",
    ]
    for ax in figure.axes:
        machine = ax.get_title(loc="left")
        here = {(e.minutes, e.auc.value) for e in comparison.entries if e.machine == machine}
        drawn = {tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "o"}
        assert drawn == here
    assert APART in figure.axes[-1].get_xlabel()
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_panels_hold_every_interval(make_comparison):
    comparison = make_comparison(13)
    (ax,) = draw_auc_vs_time(comparison).axes
    low, high = ax.get_ylim()
    assert all(low < e.auc.low and e.auc.high < high for e in comparison.entries)
    left, right = ax.get_xlim()
    assert all(left < e.minutes < right for e in comparison.entries)


def test_time_is_logarithmic_beyond_a_decade_only(make_comparison):
    wide, narrow = make_comparison(23), make_comparison(1)
    assert draw_auc_vs_time(wide).axes[0].get_xscale() == "log"
    assert draw_auc_vs_time(narrow).axes[0].get_xscale() == "linear"


def test_tied_models_are_filled(make_comparison):
    comparison = make_comparison(13)
    (ax,) = draw_auc_vs_time(comparison).axes
    tied = {e.auc.value for e in comparison.entries if e.tied}
    filled = {
        line.get_ydata()[0]
        for line in ax.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() != "white"
    }
    assert filled == tied
    assert 0 < len(tied) < 13


def test_values_without_intervals_are_drawn(without_intervals):
    assert len(_labels(draw_auc_vs_time(without_intervals).axes[0])) == 4


def test_no_time_at_all_is_an_error(make_comparison):
    with pytest.raises(ComparisonError, match="no run states its training time"):
        draw_auc_vs_time(make_comparison(2, untimed=2))
