"""Layers against sums written from the definitions, and against the symmetry itself."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from lensbench.zoo.equivariant.group import C8, D4, Group
from lensbench.zoo.equivariant.layers import (
    FieldNorm,
    GroupConv,
    LiftingConv,
    halve,
    pool_poses,
)

from .moves import exact_elements, move_fields, move_image

GROUPS = [(D4, 3), (C8, 5), (D4, 1), (C8, 1)]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_lifting_is_the_sum_of_equation_10(draw: torch.Generator) -> None:
    """(f * psi)(g) is the sum over pixels y and channels c of f_c(y) psi_c(g^-1 y)."""
    layer = LiftingConv(D4, 2, 3, 3)
    psi = layer.coefficients.detach().unflatten(-1, (3, 3))
    images = torch.randn(2, 2, 5, 6, generator=draw)
    close(layer(images), by_definition(images, lambda o, g, c: move_image(psi[o, c], D4, g), 3))


def test_group_convolution_is_the_sum_of_equation_11(draw: torch.Generator) -> None:
    """(f * psi)(g) is the sum over h, fields i of f_i(h) psi_i(g^-1 h), h any pose anywhere."""
    layer = GroupConv(D4, 2, 2, 3)
    psi = layer.coefficients.detach().unflatten(-1, (3, 3))
    fields = torch.randn(1, 2 * 8, 4, 5, generator=draw)
    matrices = D4.matrices()

    def posed(o: int, g: int, channel: int) -> Tensor:
        i, h = divmod(channel, 8)
        wanted = matrices[g].inverse() @ matrices[h]
        (pose,) = ((matrices - wanted).abs().amax((1, 2)) < 1e-9).nonzero()
        return move_image(psi[o, i, int(pose)], D4, g)

    close(layer(fields), by_definition(fields, posed, 2))


def by_definition(images: Tensor, posed: object, n_fields: int) -> Tensor:
    """Sum pixel by pixel: slow, and nothing of the code under test."""
    n, channels, height, width = images.shape
    result = torch.zeros(n, n_fields * 8, height, width)
    for o, g, c in itertools.product(range(n_fields), range(8), range(channels)):
        psi = posed(o, g, c)
        for row, column, v, u in itertools.product(
            range(height), range(width), range(-1, 2), range(-1, 2)
        ):
            if 0 <= row + v < height and 0 <= column + u < width:
                value = images[:, c, row + v, column + u] * psi[v + 1, u + 1]
                result[:, o * 8 + g, row, column] += value
    return result


@pytest.mark.parametrize(("group", "size"), GROUPS)
@pytest.mark.parametrize("side", [12, 13])
def test_convolutions_are_equivariant(
    group: Group, size: int, side: int, draw: torch.Generator
) -> None:
    lift, conv = LiftingConv(group, 3, 2, size), GroupConv(group, 2, 3, size)
    images = torch.randn(2, 3, side, side, generator=draw)
    for u in exact_elements(group):
        lifted = lift(move_image(images, group, u))
        close(lifted, move_fields(lift(images), group, u))
        close(conv(lifted), move_fields(conv(lift(images)), group, u))


@pytest.mark.parametrize(("group", "size"), GROUPS)
def test_convolutions_keep_the_scale(group: Group, size: int) -> None:
    """He's initialisation, of the expanded filters: the 2 makes up for what ReLU takes."""
    torch.manual_seed(0)
    lift, conv = LiftingConv(group, 3, 64, size), GroupConv(group, 16, 16, size)
    for weight in (lift.weight(), conv.weight()):
        assert weight.square().sum((1, 2, 3)).mean().item() == pytest.approx(2, rel=0.15)
    fields = torch.randn(2, 16 * group.order, 32, 32)
    inside = (..., slice(4, -4), slice(4, -4))  # zeros around lower the rest
    assert conv(fields)[inside].square().mean().item() == pytest.approx(2, rel=0.15)


def test_normalisation_is_of_fields(draw: torch.Generator) -> None:
    norm = FieldNorm(D4, 3)
    nn.init.uniform_(norm.weight, generator=draw)
    nn.init.uniform_(norm.bias, generator=draw)
    fields = torch.randn(4, 3 * 8, 6, 6, generator=draw) * torch.arange(1, 25)[:, None, None]
    by_hand = []
    for k in range(3):
        values = fields[:, 8 * k : 8 * k + 8]
        deviation = (values.var(correction=0) + norm.eps).sqrt()
        by_hand.append((values - values.mean()) / deviation * norm.weight[k] + norm.bias[k])
    close(norm(fields), torch.cat(by_hand, dim=1))
    norm.eval()
    close(norm.plain()(fields), norm(fields))
    for u in range(8):
        close(norm(move_fields(fields, D4, u)), move_fields(norm(fields), D4, u))


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (2, 3), (75, 150)])
def test_halving_mirrors_onto_itself(size: tuple[int, int], draw: torch.Generator) -> None:
    images = torch.randn(1, 2, *size, generator=draw)
    halved = halve(images)
    assert halved.shape[-2:] == (size[0] // 2, size[1] // 2)
    for axes in ((-1,), (-2,), (-2, -1)):
        close(halve(images.flip(axes)), halved.flip(axes))
    close(halve(images.mT), halved.mT)
    close(halve(torch.ones(1, 1, *size)), torch.ones(1, 1, size[0] // 2, size[1] // 2))


@pytest.mark.parametrize("group", [D4, C8])
def test_pooled_poses_only_turn(group: Group, draw: torch.Generator) -> None:
    fields = torch.randn(2, 3 * group.order, 5, 5, generator=draw)
    pooled = pool_poses(fields, group)
    assert pooled.shape == (2, 3, 5, 5)
    for u in exact_elements(group):
        turned = pool_poses(move_fields(fields, group, u), group)
        close(turned, move_image(pooled, group, u))


@pytest.mark.parametrize("layer", [LiftingConv(C8, 2, 3, 5), GroupConv(C8, 2, 3, 5)])
def test_a_plain_convolution_is_the_same(layer: LiftingConv | GroupConv) -> None:
    plain = layer.plain()
    assert type(plain) is nn.Conv2d
    fields = torch.randn(2, plain.in_channels, 7, 9)
    close(plain(fields), layer(fields))
