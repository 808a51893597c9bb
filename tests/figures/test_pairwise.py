from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from matplotlib.text import Text

from lensbench.comparison.compare import Comparison, Pair, compare
from lensbench.errors import ComparisonError
from lensbench.evaluation.estimate import Estimate
from lensbench.figures import draw_pairwise
from lensbench.figures.style import BLUE, FAINT


def with_pairs(comparison: Comparison) -> Comparison:
    """Every pair with the best is told apart, no other is."""
    pairs = tuple(
        Pair(
            first=one.name,
            second=other.name,
            difference=Estimate(
                name="difference", value=0.0123, low=0, high=1, level=0.95, method="", n=9
            ),
            p_value=0.001,
            p_holm=0.0004 if i == 0 else 0.27,
            method="made up",
        )
        for (i, one), (_, other) in itertools.combinations(enumerate(comparison.entries), 2)
    )
    return replace(comparison, pairs=pairs)


def test_p_values_stand_above_the_diagonal_and_differences_below(make_comparison):
    ax = draw_pairwise(with_pairs(make_comparison(4)))
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[1, 0] == "0.0004"
    assert cells[0, 1] == "0.0123"
    assert cells[3, 2] == "0.27"
    assert len(cells) == 12


def test_colour_tells_who_is_told_apart(make_comparison):
    (image,) = draw_pairwise(with_pairs(make_comparison(3))).images
    assert image.get_array().tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert image.cmap.colors == [FAINT, BLUE]


@pytest.mark.parametrize("n", [2, 3, 23])
def test_everything_lies_on_the_page(make_comparison, n):
    figure = draw_pairwise(with_pairs(make_comparison(n))).figure
    figure.draw_without_rendering()
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent()
            assert page.x0 <= box.x0, text
            assert box.x1 <= page.x1, text
            assert page.y0 <= box.y0, text
            assert box.y1 <= page.y1, text


def test_the_level_is_written_to_all_its_digits(make_comparison):
    comparison = with_pairs(make_comparison(2))
    (pair,) = comparison.pairs
    difference = pair.difference.model_copy(update={"level": 0.9973})
    comparison = replace(comparison, pairs=(replace(pair, difference=difference),))
    note = draw_pairwise(comparison).figure.get_supxlabel()
    assert "told apart at 99.73%." in " ".join(note.split())


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ComparisonError, match="no two finished runs"):
        draw_pairwise(compare([]))


def test_names_of_several_lines_have_room(make_comparison):
    comparison = with_pairs(make_comparison(4))
    named = tuple(
        replace(entry, name=f"{entry.name} {'of many words ' * 6}".strip())
        for entry in comparison.entries
    )
    ax = draw_pairwise(replace(comparison, entries=named))
    ax.figure.draw_without_rendering()
    rows = [label.get_window_extent() for label in ax.get_yticklabels()]
    for one, other in itertools.pairwise(sorted(rows, key=lambda box: box.y0)):
        assert one.y1 < other.y0
    # Of a name that is turned by 45 degrees, the thickness is seen along the axis.
    height = max(box.height for box in rows)
    x = [ax.transData.transform((k, 0))[0] for k in range(4)]
    assert height * 2**0.5 < x[1] - x[0]
