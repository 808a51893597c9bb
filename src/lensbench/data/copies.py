"""Which images of a data set are the same picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lensbench.data.near_duplicates import near_duplicates
from lensbench.data.survey import ImageFacts


@dataclass(frozen=True)
class Copies:
    """Groups of images, each called by its smallest row.

    Attributes:
        exact: (N,) int64; rows with equal pixels share a number.
        near: (N,) int64; so do rows with the same picture turned, flipped, rescaled, …
        n_unchecked: Pairs of images that look alike but were too many to be compared.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    n_unchecked: int


def group_copies(facts: Sequence[ImageFacts], read: Callable[[int], NDArray[np.float32]]) -> Copies:
    """Find the exact and the near duplicates among N images.

    Args:
        facts: Of each image; while shapes differ, only exact duplicates are looked for.
        read: Returns the pixels (C, H, W) float32 of a row.
    """
    first: dict[str, int] = {}
    exact = np.array(
        [first.setdefault(fact.digest or str(row), row) for row, fact in enumerate(facts)]
    )
    rows = [row for row, fact in enumerate(facts) if fact.fault is None and exact[row] == row]
    if len({facts[row].shape for row in rows}) != 1:
        return Copies(exact, exact, 0)  # not fit to be stored, and so not to be read again
    signatures = np.array([facts[row].signature for row in rows], dtype=np.float32)
    found = near_duplicates(signatures, lambda i: read(rows[i]))
    pairs = [(rows[i], rows[j]) for i, j in found.pairs]
    upright: dict[str, int] = {}
    pairs += [(upright.setdefault(facts[row].turned_digest or str(row), row), row) for row in rows]
    near = _joined(exact, pairs)
    return Copies(exact, near, found.n_unchecked)


def _joined(groups: NDArray[np.int64], pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Merge groups that pairs connect; a group is called by its smallest row."""
    n = len(groups)
    links = np.array([*enumerate(groups.tolist()), *pairs]).reshape(-1, 2).T
    graph = coo_array((np.ones(links.shape[1], dtype=bool), (links[0], links[1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)
    joined: NDArray[np.int64] = smallest[component]
    return joined
