"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from lensbench.evaluation.pareto import pareto_front

FEW = st.integers(0, 6).map(float)  # so that there are ties of every kind


def _beaten(one, other):
    """Whether `other` is as cheap and as good, and cheaper or better."""
    return other[0] <= one[0] and other[1] >= one[1] and other != one


@given(st.lists(st.tuples(FEW, FEW), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    front = pareto_front([cost for cost, _ in points], [value for _, value in points])
    expected = [
        i for i, point in enumerate(points) if not any(_beaten(point, other) for other in points)
    ]
    assert sorted(front) == expected


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=12))
def test_along_the_front_more_cost_buys_more(points):
    front = [points[i] for i in pareto_front(*zip(*points, strict=True))]
    assert front == sorted(front)
    assert front[-1][1] == max(value for _, value in points)
    assert front[0][0] == min(cost for cost, _ in points)
