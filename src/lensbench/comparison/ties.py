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

    The columns of Piepho's display (2004, J. Comput. Graph. Stat. 13, 456), each as large as can be
    without two models that differ, are the maximal cliques of the graph of those that do not.

    Args:
        differ: (M, M) symmetric, whether two models differ; models in order of merit.

    Returns:
        The letters of each model, sorted; those of the best one include "a".
    """
    # Takes half a second, which reading a comparison does without.
    import networkx as nx

    n_models = len(differ)
    columns = nx.find_cliques(nx.from_numpy_array(~differ))
    ordered = sorted(sorted(column) for column in columns)
    letters: list[list[str]] = [[] for _ in range(n_models)]
    for column, letter in zip(ordered, _letters(len(ordered)), strict=True):
        for model in column:
            letters[model].append(letter)
    return ["".join(mine) for mine in letters]


def _letters(n: int) -> list[str]:
    """Return a, b, ..., z; beyond that a letter and a number: a1, ..., z1, a2, ..."""
    rounds = -(-n // len(string.ascii_lowercase))
    numbers = ("" if k == 0 else str(k) for k in range(rounds))
    return [letter + number for number, letter in product(numbers, string.ascii_lowercase)][:n]
