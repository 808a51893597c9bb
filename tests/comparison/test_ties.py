"""Holm's correction, and letters that say exactly who differs from whom."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lensbench.comparison.ties import compact_letters, holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=25)  # theirs takes a twentieth of a second
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@st.composite
def differences(draw, largest: int = 9):
    n = draw(st.integers(1, largest))
    upper = draw(st.lists(st.booleans(), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2))
    differ = np.zeros((n, n), dtype=bool)
    differ[np.triu_indices(n, 1)] = upper
    return differ | differ.T


def shared(letters: list[str]) -> np.ndarray:
    return np.array([[bool(set(one) & set(other)) for other in letters] for one in letters])


@given(differences())
def test_models_share_a_letter_exactly_if_they_do_not_differ(differ):
    assert np.array_equal(shared(compact_letters(differ)), ~differ)


@given(differences(6))
def test_no_letter_can_be_left_out_and_no_column_lies_in_another(differ):
    letters = compact_letters(differ)
    columns = {x: {i for i, mine in enumerate(letters) if x in mine} for x in "".join(letters)}
    for one in columns:
        assert not any(columns[one] <= columns[x] for x in columns if x != one)


def test_letters_go_by_merit():
    chain = np.zeros((4, 4), dtype=bool)
    chain[0, 2:] = chain[1, 3] = True
    assert compact_letters(chain | chain.T) == ["a", "ab", "bc", "c"]
    assert compact_letters(np.zeros((3, 3), dtype=bool)) == ["a", "a", "a"]
    assert compact_letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]
    assert compact_letters(np.zeros((0, 0), dtype=bool)) == []


def test_more_models_than_letters():
    letters = compact_letters(~np.eye(60, dtype=bool))
    assert len(set(letters)) == 60
    assert letters[25:28] == ["z", "a1", "b1"]


def test_letters_of_many_models():
    """Splitting columns at every two of 100 models that differ by chance would take minutes."""
    rng, place = np.random.default_rng(0), np.linspace(0, 1, 100)
    distance = np.abs(place[:, None] - place) + rng.normal(0, 0.05, (100, 100))
    differ = np.triu(distance > 0.3, 1)
    differ |= differ.T
    letters = [re.findall(r"[a-z]\d*", one) for one in compact_letters(differ)]
    assert np.array_equal(shared(letters), ~differ)
