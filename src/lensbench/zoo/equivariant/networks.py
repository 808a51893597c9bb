"""A ResNet and a DenseNet whose logits are invariant under D4, or nearly so under C8."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lensbench.zoo.equivariant.group import C8, D4, Group
from lensbench.zoo.equivariant.layers import (
    FieldNorm,
    GroupConv,
    LiftingConv,
    SymmetricLayer,
    halve,
    pool_poses,
)

_Module = TypeVar("_Module", bound=nn.Module)

MINIMAL_SIDE = 16
"""Fewest pixels along a side: the deepest of the networks halves it four times."""

_STEM_SIZE = 5


class EquivariantResNet(nn.Module):
    """A residual network (He et al. 2015, arXiv:1512.03385) of basic blocks, two at each size.

    Args:
        n_classes: Number of logits K.
        n_channels: Channels of the images.
        group: Turns and flips that leave the logits as they are: to rounding those that move pixels
            onto pixels, others nearly.
        fields: Number of fields at each size; each size is half of the one before.
        size: Pixels along a side of the filters.
    """

    def __init__(
        self, n_classes: int, n_channels: int, *, group: Group, fields: Sequence[int], size: int
    ) -> None:
        super().__init__()
        self.group = group
        self.lift = LiftingConv(group, n_channels, fields[0], _STEM_SIZE)
        self.norm = FieldNorm(group, fields[0])
        self.stages = nn.ModuleList(
            nn.Sequential(_BasicBlock(group, before, now, size), _BasicBlock(group, now, now, size))
            for before, now in zip([fields[0], *fields], fields, strict=False)
        )
        self.head = _Head(n_classes, group, fields[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of images (B, C, H, W) of `MINIMAL_SIDE` pixels or more."""
        fields = self.norm(self.lift(images)).relu()
        for stage in self.stages:
            fields = stage(halve(fields))
        logits: Tensor = self.head(fields)
        return logits


class EquivariantDenseNet(nn.Module):
    """A densely connected network (Huang et al. 2017, arXiv:1608.06993), without bottlenecks.

    Args:
        n_classes: Number of logits K.
        n_channels: Channels of the images.
        group: Turns and flips that leave the logits as they are: to rounding those that move pixels
            onto pixels, others nearly.
        n_fields: Fields of the first convolution.
        n_layers: Number of layers of each block; each block works at half the size of the one
            before.
        growth: Fields that each layer adds.
        size: Pixels along a side of the filters.
    """

    def __init__(
        self,
        n_classes: int,
        n_channels: int,
        *,
        group: Group,
        n_fields: int,
        n_layers: Sequence[int],
        growth: int,
        size: int,
    ) -> None:
        super().__init__()
        self.group = group
        self.lift = LiftingConv(group, n_channels, n_fields, _STEM_SIZE)
        self.blocks = nn.ModuleList()
        for index, n in enumerate(n_layers):
            if index:
                self.blocks.append(_Transition(group, n_fields, n_fields // 2))
                n_fields //= 2
            for _ in range(n):
                self.blocks.append(_DenseLayer(group, n_fields, growth, size))
                n_fields += growth
        self.norm = FieldNorm(group, n_fields)
        self.head = _Head(n_classes, group, n_fields)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of images (B, C, H, W) of `MINIMAL_SIDE` pixels or more."""
        fields = halve(self.lift(images))
        for block in self.blocks:
            fields = block(fields)
        logits: Tensor = self.head(self.norm(fields).relu())
        return logits


EquivariantNet = EquivariantResNet | EquivariantDenseNet

NETWORKS: dict[str, Callable[[int, int], EquivariantNet]] = {
    "d4_resnet": partial(EquivariantResNet, group=D4, fields=(4, 8, 16, 32), size=3),
    # Three pixels are too few to turn a filter by 45 degrees, and a map of nine too few to turn.
    "c8_resnet": partial(EquivariantResNet, group=C8, fields=(2, 6, 18), size=5),
    "d4_densenet": partial(
        EquivariantDenseNet, group=D4, n_fields=4, n_layers=(4, 8, 16), growth=2, size=3
    ),
    "c8_densenet": partial(
        EquivariantDenseNet, group=C8, n_fields=4, n_layers=(2, 6, 16), growth=2, size=5
    ),
}
"""From numbers of classes and channels to a network with random weights, by name."""


def is_plain(module: nn.Module) -> bool:
    """Return whether a network, or a module that holds one, has no symmetric layers."""
    return not any(isinstance(part, SymmetricLayer) for part in module.modules())


def as_plain(module: _Module) -> _Module:
    """Return a copy that consists of ordinary layers and gives the same logits in evaluation.

    The filters of all poses are written out, once, so an image costs what it costs a convolutional
    network of as many channels. The copy is in evaluation mode, and must not be trained: its poses
    would go ways of their own.

    Args:
        module: A network, or a module that holds one; without symmetric layers it is only copied.
    """
    twin = copy.deepcopy(module).eval()
    for parent in list(twin.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, SymmetricLayer):
                setattr(parent, name, layer.plain())
    return twin


class _BasicBlock(nn.Module):
    """Two convolutions beside a shortcut, which has one of a single pixel if fields are added."""

    def __init__(self, group: Group, n_inputs: int, n_fields: int, size: int) -> None:
        super().__init__()
        self.first = GroupConv(group, n_inputs, n_fields, size)
        self.first_norm = FieldNorm(group, n_fields)
        self.second = GroupConv(group, n_fields, n_fields, size)
        self.second_norm = FieldNorm(group, n_fields)
        self.shortcut: nn.Module = nn.Identity()
        if n_inputs != n_fields:
            self.shortcut = nn.Sequential(
                GroupConv(group, n_inputs, n_fields, 1), FieldNorm(group, n_fields)
            )

    def forward(self, fields: Tensor) -> Tensor:
        inside = self.first_norm(self.first(fields)).relu()
        inside = self.second_norm(self.second(inside))
        return functional.relu(inside + self.shortcut(fields))


class _DenseLayer(nn.Module):
    """Adds a few fields to those that come in."""

    def __init__(self, group: Group, n_inputs: int, growth: int, size: int) -> None:
        super().__init__()
        self.norm = FieldNorm(group, n_inputs)
        self.conv = GroupConv(group, n_inputs, growth, size)

    def forward(self, fields: Tensor) -> Tensor:
        return torch.cat([fields, self.conv(self.norm(fields).relu())], dim=1)


class _Transition(nn.Module):
    """Mixes the fields to fewer and halves the sides."""

    def __init__(self, group: Group, n_inputs: int, n_fields: int) -> None:
        super().__init__()
        self.norm = FieldNorm(group, n_inputs)
        self.conv = GroupConv(group, n_inputs, n_fields, 1)

    def forward(self, fields: Tensor) -> Tensor:
        return halve(self.conv(self.norm(fields).relu()))


class _Head(nn.Module):
    """From fields to logits: twice as many fields, the mean over poses and pixels."""

    def __init__(self, n_classes: int, group: Group, n_inputs: int) -> None:
        super().__init__()
        self.group = group
        self.conv = GroupConv(group, n_inputs, 2 * n_inputs, 1)
        self.norm = FieldNorm(group, 2 * n_inputs)
        self.linear = nn.Linear(2 * n_inputs, n_classes)

    def forward(self, fields: Tensor) -> Tensor:
        fields = self.norm(self.conv(fields)).relu()
        logits: Tensor = self.linear(pool_poses(fields, self.group).mean((2, 3)))
        return logits
