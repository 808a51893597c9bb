"""Examples in the order of a score, and how resamples of them are summed along that order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]

_BLOCK = 32


class Sums(Protocol):
    """(G, N) of zeros and ones; times (N, B) counts it gives the (G, B) counts of G groups.

    A sparse product reads each row of the counts once and writes G rows, which is all that the
    bootstrap of a metric of ranks has to do: sorting is done once, when the matrix is made.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """G and N."""

    def __matmul__(self, counts: Floats, /) -> Floats: ...

    def __getitem__(self, groups: slice, /) -> Sums: ...


def group_sums(groups: Integers, n_groups: int) -> Sums:
    """Return the matrix that sums examples by group.

    Args:
        groups: (N,) the group of each example, 0..G-1; examples of others are left out.
        n_groups: G.
    """
    rows = np.flatnonzero((groups >= 0) & (groups < n_groups))
    ones = np.ones(len(rows))
    matrix = csr_array((ones, (groups[rows], rows)), shape=(n_groups, len(groups)))
    return cast("Sums", matrix)


def cumulate(rows: Floats) -> Floats:
    """Replace each row by the sum of the rows down to it, and return them.

    As `np.cumsum(rows, axis=0)`, which takes one column after the other and several times as
    long: here the rows of all blocks of 32 are added at once, and then the blocks' totals.

    Args:
        rows: (G, B) contiguous; changed in place.
    """
    n_blocks = len(rows) // _BLOCK
    blocks = rows[: n_blocks * _BLOCK].reshape(n_blocks, _BLOCK, rows.shape[1])
    for i in range(1, _BLOCK):
        blocks[:, i] += blocks[:, i - 1]
    blocks[1:] += np.cumsum(blocks[:-1, -1], axis=0)[:, np.newaxis]
    for i in range(max(n_blocks * _BLOCK, 1), len(rows)):
        rows[i] += rows[i - 1]
    return rows


@dataclass(frozen=True, eq=False)
class Ranking:
    """The score that N examples have, and which of them it should put first.

    Attributes:
        scores: (N,) float64.
        is_member: (N,) whether an example is of the class.
        is_other: (N,) whether it is one of those that the class is compared with.
    """

    scores: Floats
    is_member: Booleans
    is_other: Booleans

    @cached_property
    def by_score(self) -> tuple[Sums, Sums]:
        """Sums of members, and of others, at each score that occurs, the lowest first."""
        distinct, level = np.unique(self.scores, return_inverse=True)
        return (
            group_sums(np.where(self.is_member, level, -1), len(distinct)),
            group_sums(np.where(self.is_other, level, -1), len(distinct)),
        )

    @cached_property
    def by_member_score(self) -> tuple[Sums, Sums]:
        """Sums at each score of a member, the highest first: of members, and of all examples.

        The second holds all from that score up to, and without, the next higher one of a member.
        """
        distinct = np.unique(self.scores[self.is_member])
        level = len(distinct) - np.searchsorted(distinct, self.scores, side="right")
        either = self.is_member | self.is_other
        return (
            group_sums(np.where(self.is_member, level, -1), len(distinct)),
            group_sums(np.where(either, level, -1), len(distinct)),
        )

    @cached_property
    def by_other_score(self) -> tuple[Sums, Sums]:
        """Sums at each score of another example, the highest first: of others, and of members.

        The second holds the members above that score, up to and with the next higher one.
        """
        distinct = np.unique(self.scores[self.is_other])
        level = len(distinct) - np.searchsorted(distinct, self.scores, side="right")
        above = len(distinct) - np.searchsorted(distinct, self.scores, side="left")
        return (
            group_sums(np.where(self.is_other, level, -1), len(distinct)),
            group_sums(np.where(self.is_member, above, -1), len(distinct)),
        )
