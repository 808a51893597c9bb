from dataclasses import replace

import numpy as np
import pytest

from lensbench.comparison.compare import compare
from lensbench.errors import ComparisonError
from lensbench.figures import draw_accuracy_ranking, draw_auc_ranking
from lensbench.figures.style import BLUE, GREY


def _rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def _dots(ax):
    """Row -> (value, colour) as drawn."""
    return {
        int(y): (x, line.get_color())
        for line in ax.lines
        if line.get_marker() == "o"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


@pytest.mark.parametrize("n", [1, 3, 23])
@pytest.mark.parametrize(
    ("draw", "metric"), [(draw_auc_ranking, "auc"), (draw_accuracy_ranking, "accuracy")]
)
def test_rows_are_sorted_by_merit_and_show_the_estimates(make_comparison, n, draw, metric):
    comparison = make_comparison(n)
    by_name = {entry.name: entry for entry in comparison.entries}
    ax = draw(comparison)
    dots, texts = _dots(ax), [text.get_text() for text in ax.texts]
    assert len(dots) == n
    for y, name in enumerate(_rows(ax)):
        estimate = getattr(by_name[name], metric)
        assert dots[y][0] == estimate.value
        assert texts[y] == str(estimate)
        assert dots[y][1] == (BLUE if by_name[name].tied else GREY)
    values = [dots[y][0] for y in range(n)]
    assert values == sorted(values, reverse=True)
    assert ax.yaxis_inverted()


def test_axis_covers_every_interval_and_says_where_it_starts(make_comparison):
    comparison = make_comparison(13)
    ax = draw_auc_ranking(comparison)
    left, right = ax.get_xlim()
    assert left <= min(entry.auc.low for entry in comparison.entries)
    assert right > max(entry.auc.high for entry in comparison.entries)
    assert left >= 0.97
    assert f"the axis starts at {left:g}" in ax.get_xlabel()


def test_bars_of_uncertainty_are_the_intervals(make_comparison):
    comparison = make_comparison(3)
    ax = draw_auc_ranking(comparison)
    ends = {
        int(segment[0, 1]): (segment[0, 0], segment[1, 0])
        for collection in ax.collections
        for segment in collection.get_segments()
    }
    for y, entry in enumerate(comparison.entries):
        np.testing.assert_allclose(ends[y], (entry.auc.low, entry.auc.high))


def test_legend_explains_ties_and_how_they_were_decided(make_comparison):
    legend = draw_accuracy_ranking(make_comparison(13)).get_legend()
    meanings = [text.get_text() for text in legend.get_texts()]
    assert meanings == [
        "in macro AUC not distinguishable from the best on these test images",
        "in macro AUC worse than the best",
    ]
    assert "a made-up paired test" in legend.get_title().get_text()


def test_the_level_is_written_to_all_its_digits(make_comparison):
    comparison = make_comparison(1)
    (entry,) = comparison.entries
    entry = replace(entry, auc=entry.auc.model_copy(update={"level": 0.9973}))
    legend = draw_auc_ranking(replace(comparison, entries=(entry,))).get_legend()
    assert "99.73% intervals." in legend.get_title().get_text()


def test_values_without_intervals_are_drawn_and_said_to_have_none(without_intervals):
    ax = draw_auc_ranking(without_intervals)
    assert [t.get_text() for t in ax.texts] == [
        f"{entry.auc.value:.4f}" for entry in without_intervals.entries
    ]
    assert "No intervals" in ax.get_legend().get_title().get_text()


def test_a_model_without_auc_is_left_out_and_named(partly_without_auc):
    without = partly_without_auc.entries[1].name
    ax = draw_auc_ranking(partly_without_auc)
    assert _rows(ax) == [e.name for e in partly_without_auc.entries if e.name != without]
    assert f"AUC undefined: {without}." in ax.get_legend().get_title().get_text()
    by_accuracy = draw_accuracy_ranking(partly_without_auc)
    assert without in _rows(by_accuracy)
    assert "undefined" not in by_accuracy.get_legend().get_title().get_text()


def test_height_grows_with_the_number_of_models(make_comparison):
    heights = [draw_auc_ranking(make_comparison(n)).figure.get_figheight() for n in (1, 13, 23)]
    assert heights == sorted(set(heights))


def test_nothing_is_clipped_with_long_names(make_comparison):
    ax = draw_auc_ranking(make_comparison(6, suffix=" trained for a very long time (seed 42)"))
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    for artist in (*ax.get_yticklabels(), *ax.texts, ax.get_legend(), ax.title):
        box = artist.get_window_extent()
        assert page.x0 <= box.x0, artist
        assert box.x1 <= page.x1, artist
        assert page.y0 <= box.y0, artist
        assert box.y1 <= page.y1, artist


def test_no_finished_run_is_an_error():
    with pytest.raises(ComparisonError, match="nothing to rank"):
        draw_auc_ranking(compare([]))
