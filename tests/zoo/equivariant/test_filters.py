"""Turned filters against numpy and against their frequency responses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lensbench.zoo.equivariant.filters import posed_filters
from lensbench.zoo.equivariant.group import C8, D4


@pytest.mark.parametrize("size", [1, 3, 5])
def test_filters_of_d4_are_all_filters_turned_as_numpy_turns(size: int) -> None:
    poses = posed_filters(D4, size).numpy()
    assert poses.shape == (8, size * size, size, size)
    assert np.array_equal(poses[0].reshape(size * size, -1), np.eye(size * size))
    for g in range(8):
        for n in range(size * size):
            psi = np.fliplr(poses[0, n]) if g >= 4 else poses[0, n]
            assert np.array_equal(poses[g, n], np.rot90(psi, g % 4))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_quarter_turns_of_c8_are_exact(size: int) -> None:
    poses = posed_filters(C8, size).double()
    for g in range(8):
        turned = torch.rot90(poses[g], 1, (-2, -1))
        torch.testing.assert_close(poses[(g + 2) % 8], turned, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("size", "n"), [(1, 1), (3, 6), (5, 13), (7, 20)])
def test_filters_of_c8_are_independent_and_within_a_disk(size: int, n: int) -> None:
    poses = posed_filters(C8, size).double()
    assert poses.shape == (8, n, size, size)
    assert torch.linalg.matrix_rank(poses.flatten(2)).tolist() == [n] * 8
    norms = poses.square().sum((2, 3))
    torch.testing.assert_close(norms.mean(0), torch.ones(n, dtype=torch.float64))
    if size > 3:  # the corners of nine pixels are within the disk
        assert poses[..., 0, 0].abs().max() == 0


def test_filters_of_c8_are_steerable() -> None:
    """Between the pixels as on them: a turned filter has the turned frequency response."""
    half = 2
    offsets = torch.arange(-half, half + 1, dtype=torch.float64)
    y, x = torch.meshgrid(-offsets, offsets, indexing="ij")
    taps = torch.stack([x, y], -1).reshape(-1, 2)
    phi = torch.arange(64) * 2 * torch.pi / 64
    waves = torch.pi / 4 * torch.stack([phi.cos(), phi.sin()], -1).double()  # eight pixels long
    poses = posed_filters(C8, 5).double().flatten(2).to(torch.complex128)
    responses = torch.stack(
        [
            poses[g] @ torch.exp(-1j * (taps @ (matrix @ waves.T)))
            for g, matrix in enumerate(C8.matrices())
        ]
    )
    scale = responses.abs().square().mean().sqrt()
    difference = (responses - responses[0]).abs().square().mean().sqrt()
    assert difference / scale < 0.02  # measured: 0.012
