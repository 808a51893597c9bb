"""Turning and flipping, written without the code under test."""

from __future__ import annotations

import torch
from torch import Tensor

from lensbench.zoo.equivariant.group import D4, Group


def move_image(images: Tensor, group: Group, element: int) -> Tensor:
    """Flip and turn (..., H, W) as an element says; of C8, only quarter turns."""
    turns, flipped = element % group.n_turns, element // group.n_turns
    if flipped:
        images = images.flip(-1)
    eighths = turns * 8 // group.n_turns
    assert eighths % 2 == 0
    return torch.rot90(images, eighths // 2, (-2, -1))


def move_fields(fields: Tensor, group: Group, element: int) -> Tensor:
    """Turn fields (B, F * |G|, H, W): channel g becomes channel u g."""
    moved = move_image(fields, group, element).unflatten(1, (-1, group.order))
    result = torch.empty_like(moved)
    for g in range(group.order):
        result[:, :, after(group, element, g)] = moved[:, :, g]
    return result.flatten(1, 2)


def after(group: Group, first: int, second: int) -> int:
    """Find the element u g by looking for the product of the matrices."""
    matrices = group.matrices()
    product = matrices[first] @ matrices[second]
    (found,) = ((matrices - product).abs().amax((1, 2)) < 1e-9).nonzero()
    return int(found)


def exact_elements(group: Group) -> list[int]:
    """List the elements that permute pixels."""
    return [g for g in range(group.order) if group == D4 or g % 2 == 0]


def spots(n: int, angle_degrees: float = 0, side: int = 150, seed: int = 0) -> Tensor:
    """Draw images of smooth spots within a disk, turned by an angle: exact, nothing is resampled.

    Returns:
        (n, 1, side, side) float32, with a peak of 1.
    """
    draw = torch.Generator().manual_seed(seed)
    centres = (torch.rand(n, 6, 2, generator=draw, dtype=torch.float64) * 2 - 1) * 0.18 * side
    height = torch.rand(n, 6, 1, 1, generator=draw, dtype=torch.float64)
    width = (torch.rand(n, 6, 1, 1, generator=draw, dtype=torch.float64) + 1) * side / 40
    angle = torch.tensor(angle_degrees, dtype=torch.float64).deg2rad()
    cos, sin = angle.cos(), angle.sin()
    x_0, y_0 = centres[..., 0, None, None], centres[..., 1, None, None]
    x_0, y_0 = cos * x_0 - sin * y_0, sin * x_0 + cos * y_0
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    y, x = torch.meshgrid(-offsets, offsets, indexing="ij")
    squares = ((x - x_0) ** 2 + (y - y_0) ** 2) / width**2
    images = (height * torch.exp(-squares / 2)).sum(1, keepdim=True)
    return (images / images.amax((1, 2, 3), keepdim=True)).float()
