import itertools
from dataclasses import replace

import pytest
from matplotlib.text import Annotation

from lensbench.cost import Cost, MeasuredCost, Throughput, amount
from lensbench.errors import ComparisonError
from lensbench.figures import draw_auc_vs_time
from lensbench.figures.times import APART
from lensbench.figures.trade_off import draw_auc_vs_cost


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


def _against_parameters(comparison):
    return draw_auc_vs_cost(comparison, _costs(comparison), "parameters")


@pytest.mark.parametrize("draw", [draw_auc_vs_time, _against_parameters])
def test_a_model_without_auc_is_left_out_and_named(partly_without_auc, draw):
    first, without, *others = (entry.name for entry in partly_without_auc.entries)
    (ax,) = draw(partly_without_auc).axes
    assert sorted(label.get_text() for label in _labels(ax)) == sorted([first, *others])
    assert f"AUC undefined: {without}." in ax.get_xlabel()


@pytest.mark.parametrize("draw", [draw_auc_vs_time, _against_parameters])
def test_the_legend_says_in_what_models_are_tied(make_comparison, draw):
    comparison = make_comparison(13)
    tied, worse = "not distinguishable from the best on these test images", "worse than the best"
    for metric, where in (("auc_ovr_macro", ""), ("log_loss", "in log loss ")):
        (ax,) = draw(replace(comparison, metric=metric)).axes
        meanings = [text.get_text() for text in ax.get_legend().get_texts()]
        assert meanings[:2] == [f"{where}{tied}", f"{where}{worse}"]


def test_no_time_at_all_is_an_error(make_comparison):
    with pytest.raises(ComparisonError, match="no run states its training time"):
        draw_auc_vs_time(make_comparison(2, untimed=2))


def _cost(i, speed):
    rates = Throughput(repeats=(0.5 * speed, speed, 1.5 * speed), batch_size=8)
    return MeasuredCost(
        model=f"timm/model{i}",
        image_size=(224, 224),
        channels=3,
        n_parameters=1_000_000 * (1 + (7 * i + 9) % 23),
        multiply_adds=30_000_000 * (1 + (5 * i + 11) % 23),
        training=rates,
        inference=Throughput(repeats=(4 * speed,), batch_size=8),
        training_peak_bytes=None,
        inference_peak_bytes=None,
    )


def _costs(comparison):
    return {e.name: _cost(i, 10 + (11 * i) % 17) for i, e in enumerate(comparison.entries)}


UNITS = {
    "multiply-adds": 1e9,
    "parameters": 1e6,
    "training images/s": 1,
    "inference images/s": 1,
}


@pytest.mark.parametrize("quantity", UNITS)
@pytest.mark.parametrize("n", [1, 23])
def test_every_cost_has_its_point_and_its_label(make_comparison, quantity, n):
    comparison = make_comparison(n)
    costs = _costs(comparison)
    figure = draw_auc_vs_cost(comparison, costs, quantity, "a GPU, 32-true")
    (ax,) = figure.axes
    dots = {tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "o"}
    assert dots == {
        (amount(costs[e.name], quantity) / UNITS[quantity], e.auc.value) for e in comparison.entries
    }
    assert ax.get_xscale() == "log"
    left, right = ax.get_xlim()
    assert any(left < tick < right for tick in ax.get_xticks())
    assert ("Measured on a GPU, 32-true." in ax.get_xlabel()) is ("images" in quantity)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in _labels(ax)]
    assert len(boxes) == n
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("quantity", UNITS)
def test_the_stair_joins_what_nothing_beats(make_comparison, quantity):
    comparison = make_comparison(23)
    costs = _costs(comparison)
    (ax,) = draw_auc_vs_cost(comparison, costs, quantity, "a GPU").axes
    (stair,) = (line for line in ax.lines if line.get_label().startswith("Pareto"))
    sign = -1 if "images" in quantity else 1
    points = [
        (sign * amount(costs[e.name], quantity) / UNITS[quantity], e.auc.value)
        for e in comparison.entries
    ]
    front = sorted(
        (x, auc)
        for x, auc in points
        if not any(a <= x and b >= auc and (a, b) != (x, auc) for a, b in points)
    )
    assert 1 < len(front) < 23
    assert [(sign * x, auc) for x, auc in stair.get_xydata()] == front
    blue = {line.get_xdata()[0] for line in ax.lines if line.get_color() == stair.get_color()}
    assert blue == {sign * x for x, _ in front}


def test_the_spread_of_a_speed_is_drawn(make_comparison):
    comparison = make_comparison(3)
    (ax,) = draw_auc_vs_cost(comparison, _costs(comparison), "training images/s", "a CPU").axes
    segments = [path for lines in ax.collections for path in lines.get_segments()]
    spreads = sorted((a[0], b[0], a[1]) for a, b in segments if a[1] == b[1] and a[0] != b[0])
    # Quartiles of half, one and one and a half times the speed.
    assert spreads == sorted(
        (0.75 * (10 + 11 * i % 17), 1.25 * (10 + 11 * i % 17), e.auc.value)
        for i, e in enumerate(comparison.entries)
    )
    left, right = ax.get_xlim()
    assert all(left < low and high < right for low, high, _ in spreads)


def test_costs_are_drawn_as_far_as_they_are_known(make_comparison):
    comparison = make_comparison(3)
    first, second, third = comparison.entries
    measured = _costs(comparison)
    plain = Cost(**measured[first.name].model_dump(include=set(Cost.model_fields)))
    costs = {first.name: plain, second.name: measured[second.name]}
    (ax,) = draw_auc_vs_cost(comparison, costs, "parameters").axes
    assert len(_labels(ax)) == 2
    assert f"Not known: {third.name}." in ax.get_xlabel()
    (ax,) = draw_auc_vs_cost(comparison, costs, "inference images/s", "a CPU").axes
    assert [label.get_text() for label in _labels(ax)] == [second.name]
    with pytest.raises(ComparisonError, match="no run's training images/s are known"):
        draw_auc_vs_cost(comparison, {first.name: plain}, "training images/s", "a CPU")


def test_speeds_need_their_machine(make_comparison):
    comparison = make_comparison(2)
    with pytest.raises(ComparisonError, match="say where they were measured"):
        draw_auc_vs_cost(comparison, _costs(comparison), "training images/s")
