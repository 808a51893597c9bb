"""How numbers with intervals are written."""

import math

import numpy as np
import pytest

from lensbench.evaluation.estimate import Estimate, percent


def of(value: float, low: float, high: float) -> Estimate:
    return Estimate(name="any", value=value, low=low, high=high, level=0.95, method="", n=9)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.98612, 0.98098, 0.98987), "0.9861 [0.9810, 0.9899]"),
        ((0.9992, 0.99811, 0.99963), "0.9992 [0.9981, 0.9996]"),
        ((0.99994, 0.9995, 0.99998), "0.9999 [0.9995, 1.0000]"),
        ((1, 0.9962, 1), "1.0000 [0.9962, 1.0000]"),
        ((1.30003, 1.2, 1.4), "1.3000 [1.2000, 1.4000]"),
        # Below 1, but not to four digits.
        ((0.99996, 0.9990, 0.99999), "0.99996 [0.99900, 0.99999]"),
        ((0.999997, 0.9999, 1), "0.999997 [0.999900, 1.000000]"),
        # Intervals that four digits make a point, or that end at their value then.
        ((0.99992, 0.99988, 0.99996), "0.99992 [0.99988, 0.99996]"),
        ((0.00002, 0, 0.2), "0.00002 [0.00000, 0.20000]"),
        ((0.50001, 0.49999, 0.50002), "0.50001 [0.49999, 0.50002]"),
        ((0.3, 0.299998, 0.300003), "0.300000 [0.299998, 0.300003]"),
        # What six digits do not tell either.
        ((1 - 1e-16, 0.9, 1), "1.0000 [0.9000, 1.0000]"),
        ((0.3, 0.3 - 1e-9, 0.3 + 1e-9), "0.3000 [0.3000, 0.3000]"),
        ((0.999997, 0.999997 - 1e-9, 0.999997 + 1e-9), "0.999997 [0.999997, 0.999997]"),
        # Without an interval.
        ((0.99997, math.nan, math.nan), "0.99997"),
        ((0.95, math.nan, math.nan), "0.9500"),
        ((math.nan, math.nan, math.nan), "undefined"),
    ],
)
def test_digits_are_four_or_as_many_as_tell_something(numbers, text):
    assert str(of(*numbers)) == text


def test_a_value_is_never_written_outside_of_its_interval():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        low, value, high = np.sort(1 - 10 ** rng.uniform(-7, 0) * rng.random(3))
        shown = of(value, low, high).shown()
        assert float(shown[1]) <= float(shown[0]) <= float(shown[2])
        assert len({len(text) for text in shown}) == 1
        assert 4 <= len(shown[0].partition(".")[2]) <= 6


def test_signs_are_shown_where_they_are_asked_for():
    assert of(0.00012, -0.0003, 0.0005).shown("+") == ("+0.0001", "-0.0003", "+0.0005")
    assert of(0.00003, -0.00001, 0.0001).shown("+") == ("+0.00003", "-0.00001", "+0.00010")


@pytest.mark.parametrize(
    ("level", "text"),
    [
        *((0.95, "95%"), (0.9, "90%"), (0.6827, "68.27%"), (0.975, "97.5%"), (0.9973, "99.73%")),
        *((0.999, "99.9%"), (0.999999, "99.9999%"), (0.57, "57%"), (0.29, "29%")),
    ],
)
def test_levels_are_written_as_they_were_asked_for(level, text):
    assert percent(level) == text
