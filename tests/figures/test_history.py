import math

import numpy as np
import pytest

from lensbench.figures import draw_history

TRAIN, VALIDATION, AUC = (0.9, 0.5, 0.4), (0.8, 0.6, 0.7), (0.91, 0.95, 0.94)


def _by_label(ax):
    return {line.get_label(): line for line in ax.lines}


def test_losses_and_auc_are_drawn_over_epochs_counted_from_one():
    losses, aucs = draw_history(TRAIN, VALIDATION, AUC, best_epoch=2, title="A title").axes
    for ax, label, values in (
        (losses, "training", TRAIN),
        (losses, "validation", VALIDATION),
        (aucs, "validation", AUC),
    ):
        line = _by_label(ax)[label]
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert losses.get_title(loc="left") == "A title"


def test_kept_epoch_is_marked_with_its_auc():
    losses, aucs = draw_history(TRAIN, VALIDATION, AUC, best_epoch=2).axes
    assert _by_label(losses)["epoch 2 (kept)"].get_xdata() == [2, 2]
    assert _by_label(aucs)["epoch 2, 0.9500 (kept)"].get_xdata() == [2, 2]


def test_nothing_is_marked_where_nothing_was_kept():
    for ax in draw_history(TRAIN, VALIDATION, AUC).axes:
        assert not any("kept" in label for label in _by_label(ax))


@pytest.mark.parametrize("n", [1, 2, 15, 100])
def test_any_number_of_epochs_is_inside_and_ticked_by_whole_ones(n):
    losses, aucs = draw_history([0.7] * n, [0.6] * n, [0.8] * n, n).axes
    aucs.figure.draw_without_rendering()
    left, right = aucs.get_xlim()
    ticks = [tick for tick in aucs.get_xticks() if left <= tick <= right]
    assert left < 1 <= n < right
    assert ticks
    assert all(tick == round(tick) for tick in ticks)
    assert losses.get_ylim()[0] == 0
    assert losses.get_ylim()[1] > 0.7


def test_a_diverged_fit_is_drawn_as_far_as_it_goes():
    losses, _ = draw_history((0.9, math.nan), (0.8, math.nan), (0.9, math.nan), 1).axes
    assert losses.get_ylim()[1] > 0.9


def test_an_interrupted_fit_without_validation_is_drawn():
    losses, aucs = draw_history((0.9, 0.8), (), ()).axes
    assert len(_by_label(losses)["training"].get_xdata()) == 2
    assert len(_by_label(aucs)["validation"].get_xdata()) == 0
