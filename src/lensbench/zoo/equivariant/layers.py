"""Layers for fields: (B, F * |G|, H, W), the |G| channels of a field one after another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lensbench.zoo.equivariant.filters import posed_filters
from lensbench.zoo.equivariant.group import Group


class _Convolution(nn.Module):
    """What both convolutions have in common: stride 1, zeros around, no bias.

    Args:
        group: The poses.
        n_inputs: Channels that each pose of a filter sees.
        shape: Of the coefficients: (F_out, ..., N) for N free filters.
        basis: (..., |G| * ... * k * k), what the coefficients are multiplied with, so that one
            product makes a weight.
        size: Odd number of pixels k along a side of the filters.

    Attributes:
        coefficients: The free numbers.
    """

    def __init__(
        self, group: Group, n_inputs: int, shape: tuple[int, ...], basis: Tensor, size: int
    ) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.empty(shape))
        # The filters have unit norm: N coefficients bring the k * k taps to the sum of variances
        # that He et al. (2015, arXiv:1502.01852), eq. 10, ask for.
        nn.init.normal_(self.coefficients, std=math.sqrt(2 / (n_inputs * shape[-1])))
        self.basis: Tensor
        # Constants, not weights: kept out of the state, moved with the module.
        self.register_buffer("basis", basis, persistent=False)
        self._order = group.order
        self._size = size

    def weight(self) -> Tensor:
        """Return the filters of all poses: (C_out, C_in, k, k)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (B, C_in, H, W) to (B, C_out, H, W)."""
        return functional.conv2d(images, self.weight(), padding="same")

    def plain(self) -> nn.Conv2d:
        """Return the convolution with its filters written out."""
        weight = self.weight().detach()
        n_outputs, n_inputs, size, _ = weight.shape
        twin = nn.Conv2d(n_inputs, n_outputs, size, padding=size // 2, bias=False)
        twin.weight = nn.Parameter(weight)
        return twin


class LiftingConv(_Convolution):
    """From an image to fields: channel g is the image convolved with the filter in pose g.

    Cohen & Welling (2016), eq. 10.

    Args:
        group: The poses.
        n_channels: Channels C of the image.
        n_fields: Fields F of the result.
        size: Odd number of pixels along a side of the filters.
    """

    def __init__(self, group: Group, n_channels: int, n_fields: int, size: int) -> None:
        poses = posed_filters(group, size)
        # Filter n in pose g is at [n, (g, y, x)].
        basis = poses.movedim(1, 0).flatten(1)
        super().__init__(group, n_channels, (n_fields, n_channels, len(basis)), basis, size)

    def weight(self) -> Tensor:
        """Return R_g psi[o, c] at [(o, g), c]: (F * |G|, C, k, k)."""
        filters = self.coefficients @ self.basis
        poses = torch.unflatten(filters, 2, (self._order, self._size, self._size))
        return poses.movedim(2, 1).flatten(0, 1)


class GroupConv(_Convolution):
    """From fields to fields.

    Cohen & Welling (2016), eq. 11: the sum over their h is one over the pixels, which the
    convolution makes, and one over the poses of the fields that come in.

    Args:
        group: The poses.
        n_inputs: Fields F_in that come in.
        n_fields: Fields F_out of the result.
        size: Odd number of pixels along a side of the filters.
    """

    def __init__(self, group: Group, n_inputs: int, n_fields: int, size: int) -> None:
        order = group.order
        poses = posed_filters(group, size)
        # Filter n in pose g is at [(g^-1 h, n), (g, h, y, x)], among zeros. To pick g^-1 h by an
        # index would be less arithmetic, but the gradient of an index is a sort on a GPU.
        picked = functional.one_hot(group.quotients(), order).to(poses.dtype)
        basis = torch.einsum("ghq,gnyx->qnghyx", picked, poses).flatten(2).flatten(0, 1)
        shape = (n_fields, n_inputs, order, poses.shape[1])
        super().__init__(group, n_inputs * order, shape, basis, size)

    def weight(self) -> Tensor:
        """Return R_g psi[o, i, g^-1 h] at [(o, g), (i, h)]: (F_out * |G|, F_in * |G|, k, k)."""
        filters = self.coefficients.flatten(2) @ self.basis
        sides = (self._order, self._order, self._size, self._size)
        poses = torch.unflatten(filters, 2, sides)
        return poses.movedim(2, 1).flatten(2, 3).flatten(0, 1)


class FieldNorm(nn.BatchNorm3d):
    """Batch normalisation with one mean, variance, scale and shift for all poses of a field.

    Args:
        group: The poses.
        n_fields: Number of fields F.
    """

    def __init__(self, group: Group, n_fields: int) -> None:
        super().__init__(n_fields)
        self.order = group.order

    def forward(self, fields: Tensor) -> Tensor:
        """Normalise (B, F * |G|, H, W)."""
        return super().forward(torch.unflatten(fields, 1, (-1, self.order))).flatten(1, 2)

    def plain(self) -> nn.BatchNorm2d:
        """Return the normalisation of each channel by itself, for evaluation."""
        twin = nn.BatchNorm2d(self.num_features * self.order, eps=self.eps)
        state = {
            name: value.repeat_interleave(self.order) if value.ndim else value
            for name, value in self.state_dict().items()
        }
        twin.load_state_dict(state)
        return twin.to(self.weight.device).eval()


SymmetricLayer = LiftingConv | GroupConv | FieldNorm
"""Layers whose weights follow from fewer numbers; `plain()` gives an ordinary one."""


def halve(images: Tensor) -> Tensor:
    """Halve height and width, rounded down, by means over windows that mirror onto themselves.

    A window has two pixels along an even side, and three, which overlap by one, along an odd side.
    A convolution with a stride would take its samples from one end of an even side.

    Args:
        images: (B, C, H, W).

    Returns:
        (B, C, H // 2, W // 2).
    """
    window = [2 + side % 2 for side in images.shape[-2:]]
    return functional.avg_pool2d(images, window, stride=2)


def pool_poses(fields: Tensor, group: Group) -> Tensor:
    """Average over the poses of each field: (B, F * |G|, H, W) to (B, F, H, W).

    Turning the image permutes the poses, so the result only turns with it. So would the largest
    value; with the mean, C8 sees less of a turn by 45 degrees, and D4 learnt the population `demo`
    in fewer epochs (with one seed: a hint, no finding).
    """
    return torch.unflatten(fields, 1, (-1, group.order)).mean(2)
