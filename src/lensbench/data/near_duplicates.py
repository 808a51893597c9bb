"""Near duplicates: one exposure saved twice, turned, flipped, rescaled, compressed or resized.

Lenses of one population look alike, so likeness proves nothing: images with close signatures are
only candidates, and `exposure.is_copy` decides by their noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from tqdm.auto import tqdm

from lensbench.data.exposure import is_copy

_RADIUS = 0.025
"""Largest distance of the signatures of near duplicates.

It holds 99 of 100 turned copies of simulated lenses, and less than 1 of 100,000 pairs of others.
"""

_LEAST_COSINE = 1 - _RADIUS**2 / 2
_MAX_PARTNERS = 16
_BLOCK_ELEMENTS = 4_000_000  # of the matrix of similarities: 16 MB

FALSE_ALARMS = "false alarms: none in 3.0e9 pairs of simulated lenses"
"""`benchmarks/near_duplicates.py`, population demo, 78,000 images: below 1e-9 a pair, at 95 %."""


class NearDuplicates(NamedTuple):
    """What a search found.

    Attributes:
        pairs: Rows (i, j) of copies, i < j, sorted. They link every group of copies without a
            cycle: k copies of one image are k - 1 pairs.
        n_unchecked: Pairs with close signatures beyond the limit, which nobody compared.
    """

    pairs: list[tuple[int, int]]
    n_unchecked: int


def near_duplicates(
    signatures: NDArray[np.float32],
    read: Callable[[int], NDArray[np.float32]],
    *,
    max_checks: int = 20_000,
) -> NearDuplicates:
    """Find the copies among N images, each once: of files with equal bytes, pass one.

    Time grows as N^2 for the search and with the number of close pairs for the comparison; memory
    with N. Pairs that others already link are not compared, and each image is compared first to
    the 16 closest of those after it, so that a thousand copies of one image cost a thousand
    comparisons.

    Args:
        signatures: (N, `SIGNATURE_SIZE`) float32, as `signature` returns them.
        read: Returns the pixels (C, H, W) float32 of a row; called about twice a comparison.
        max_checks: Close pairs to compare, the closest first.
    """
    search = _Search(len(signatures), lru_cache(maxsize=64)(read), max_checks)
    closest = list(_candidates(signatures))
    for i, j in tqdm(
        closest, desc="comparing likely copies", unit="pair", leave=False, disable=not closest
    ):
        search.check(i, j)
    if max(Counter(i for i, _ in closest).values(), default=0) >= _MAX_PARTNERS:
        search.n_unchecked = 0  # they come again
        for pairs in _unlinked(signatures, search.roots()):
            search.check_all(pairs)
    return NearDuplicates(sorted(search.pairs), search.n_unchecked)


class _Search:
    """Which images are linked by now, and how many comparisons are left."""

    def __init__(
        self, n_images: int, read: Callable[[int], NDArray[np.float32]], max_checks: int
    ) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.n_unchecked = 0
        self._read = read
        self._n_left = max_checks
        self._different: list[tuple[int, int]] = []
        self._linked = DisjointSet(range(n_images))

    def check(self, i: int, j: int) -> None:
        """Link two images if they are copies."""
        if self._linked.connected(i, j):
            return
        if self._n_left == 0:
            self.n_unchecked += 1
            return
        self._n_left -= 1
        if is_copy(self._read(i), self._read(j)):
            self._linked.merge(i, j)
            self.pairs.append((i, j))
        else:
            self._different.append((i, j))

    def check_all(self, pairs: NDArray[np.int64]) -> None:
        """Check the new ones of pairs (n, 2); without comparisons left, count them."""
        of_pair = np.array([len(self._linked), 1])
        known = np.array(self._different, dtype=np.int64).reshape(-1, 2) @ of_pair
        pairs = pairs[~np.isin(pairs @ of_pair, known)]
        for k, (i, j) in enumerate(pairs.tolist()):
            if self._n_left == 0:
                self.n_unchecked += len(pairs) - k
                return
            self.check(i, j)

    def roots(self) -> NDArray[np.int64]:
        """Return (N,) int64, equal for images that are linked."""
        return np.array([self._linked[row] for row in self._linked], dtype=np.int64)


def _candidates(signatures: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield the pairs i < j of close signatures, the closest first, some per i at most."""
    found = []
    for start, cosine in _cosines(signatures):
        close = cosine > _LEAST_COSINE
        for crowded in np.flatnonzero(close.sum(axis=1) > _MAX_PARTNERS):
            closest = np.argpartition(cosine[crowded], -_MAX_PARTNERS)[-_MAX_PARTNERS:]
            close[crowded] = False
            close[crowded, closest] = True
        i, j = np.nonzero(close)
        found.append((i + start, j + start, cosine[i, j]))
    if found:
        i, j, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
        for k in np.lexsort((j, i, -similarity)):
            yield int(i[k]), int(j[k])


def _unlinked(
    signatures: NDArray[np.float32], roots: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield all pairs (n, 2) of close signatures with different roots, block by block."""
    for start, cosine in _cosines(signatures):
        apart = roots[start : start + len(cosine), None] != roots[start:]
        i, j = np.nonzero((cosine > _LEAST_COSINE) & apart)
        closest_first = np.argsort(-cosine[i, j], kind="stable")
        yield np.stack([i, j], axis=1)[closest_first] + start


def _cosines(signatures: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield blocks of rows: the first row's number, and the cosines of all with it and later ones.

    Those of a row with itself and with earlier rows are -1.
    """
    n_rows = max(_BLOCK_ELEMENTS // max(len(signatures), 1), 1)
    for start in range(0, len(signatures), n_rows):
        cosine = signatures[start : start + n_rows] @ signatures[start:].T
        cosine[:, : len(cosine)][np.tril_indices(len(cosine))] = -1
        yield start, cosine
