"""The laws of groups, by brute force, against products of matrices."""

from __future__ import annotations

import itertools

import pytest
import torch

from lensbench.zoo.equivariant.group import C8, D4, Group

from .moves import after

GROUPS = [D4, C8, Group(3, has_flips=True)]


@pytest.mark.parametrize("group", GROUPS)
def test_it_is_a_group(group: Group) -> None:
    elements = range(group.order)
    table = [[after(group, g, h) for h in elements] for g in elements]  # finds each: closed
    assert table[0] == list(elements)
    assert [row[0] for row in table] == list(elements)
    for row in (*table, *zip(*table, strict=True)):
        assert sorted(row) == list(elements)
    for a, b, c in itertools.product(elements, repeat=3):
        assert table[table[a][b]][c] == table[a][table[b][c]]


@pytest.mark.parametrize("group", GROUPS)
def test_quotients_are_those_of_the_matrices(group: Group) -> None:
    quotients = group.quotients()
    assert quotients.shape == (group.order, group.order)
    for g, h in itertools.product(range(group.order), repeat=2):
        assert after(group, g, int(quotients[g, h])) == h


@pytest.mark.parametrize(("group", "n_flips"), [(D4, 4), (C8, 0)])
def test_elements_turn_and_flip_as_they_say(group: Group, n_flips: int) -> None:
    matrices = group.matrices()
    assert torch.equal(matrices[0], torch.eye(2, dtype=torch.float64))
    right, up = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    quarter = group.n_turns // 4
    torch.testing.assert_close(matrices[quarter] @ right, up)  # counterclockwise
    determinants = torch.linalg.det(matrices)
    assert [int(d.round()) for d in determinants] == [1] * group.n_turns + [-1] * n_flips
    if n_flips:
        torch.testing.assert_close(matrices[group.n_turns] @ right, -right)
