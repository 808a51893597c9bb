"""Many p-values -> which models cannot be told apart, as letters."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm (1979, Scand. J. Statist. 6, 65)."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def compact_letters(differ: NDArray[np.bool_]) -> list[str]:
    """Return a compact letter display: models share a letter unless they differ.

    The insert-and-absorb algorithm of Piepho (2004, J. Comput. Graph. Stat. 13, 456): all models
    start in one column; each pair that differs splits every column that holds both into one
    without the first and one without the second; a column inside another one is dropped.

    Args:
        differ: (M, M) symmetric, whether two models differ; models in order of merit.

    Returns:
        The letters of each model, sorted; those of the best one include "a".
    """
    n_models = len(differ)
    columns = [frozenset(range(n_models))] if n_models else []
    for i, j in zip(*np.nonzero(np.triu(differ, 1)), strict=True):
        pair = {int(i), int(j)}
        split = [column - {one} for column in columns if pair <= column for one in pair]
        whole = [column for column in columns if not pair <= column]
        columns = _largest([*whole, *split])
    letters: list[list[str]] = [[] for _ in range(n_models)]
    for column, letter in zip(sorted(columns, key=sorted), _letters(len(columns)), strict=True):
        for model in column:
            letters[model].append(letter)
    return ["".join(mine) for mine in letters]


def _largest(columns: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Drop what lies inside another one."""
    distinct = list(dict.fromkeys(columns))
    return [one for one in distinct if not any(one < other for other in distinct)]


def _letters(n: int) -> list[str]:
    """Return a, b, ..., z; beyond that a letter and a number: a1, ..., z1, a2, ..."""
    rounds = -(-n // len(string.ascii_lowercase))
    numbers = ("" if k == 0 else str(k) for k in range(rounds))
    return [letter + number for number, letter in product(numbers, string.ascii_lowercase)][:n]
