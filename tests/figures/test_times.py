import pytest
from matplotlib.figure import Figure

from lensbench.errors import ComparisonError
from lensbench.figures import draw_training_times
from lensbench.figures.times import APART, minutes_text


def test_bars_start_at_zero_and_are_sorted_within_each_machine(make_comparison):
    comparison = make_comparison(13, machines=("a CPU", "a GPU"))
    ax = draw_training_times(comparison)
    by_name = {entry.name: entry for entry in comparison.entries}
    names = [label.get_text() for label in ax.get_yticklabels()]
    bars = sorted(ax.patches, key=lambda bar: bar.get_y())
    runs = [(by_name[name].machine, bar.get_width()) for name, bar in zip(names, bars, strict=True)]
    assert runs == sorted(runs)
    assert [width for _, width in runs] == [by_name[name].minutes for name in names]
    assert {bar.get_x() for bar in bars} == {0}
    assert [bar.get_facecolor() == bars[0].get_facecolor() for bar in bars] == [
        machine == runs[0][0] for machine, _ in runs
    ]
    assert ax.get_xlim()[0] == 0


def test_every_bar_bears_its_minutes_and_every_group_its_machine(make_comparison):
    comparison = make_comparison(4, machines=("a CPU", "a GPU"))
    texts = {text.get_text() for text in draw_training_times(comparison).texts}
    assert texts == {"a CPU (as published)", "a GPU (as published)"} | {
        minutes_text(e.minutes) for e in comparison.entries
    }


@pytest.mark.parametrize(("machines", "warned"), [(("a GPU",), False), (("a CPU", "a GPU"), True)])
def test_it_says_that_machines_must_not_be_compared(make_comparison, machines, warned):
    ax = draw_training_times(make_comparison(4, machines))
    assert (APART in ax.get_xlabel()) is warned


def test_a_run_without_a_time_is_named(make_comparison):
    comparison = make_comparison(3, untimed=1)
    assert f"No time recorded: {comparison.entries[0].name}." in (
        draw_training_times(comparison).get_xlabel()
    )


def test_no_time_at_all_is_an_error(make_comparison):
    with pytest.raises(ComparisonError, match="no run states its training time"):
        draw_training_times(make_comparison(2, untimed=2))


def test_it_draws_where_it_is_told(make_comparison):
    ax = Figure().add_subplot()
    assert draw_training_times(make_comparison(2), ax) is ax
