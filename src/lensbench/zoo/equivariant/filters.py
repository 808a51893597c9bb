"""Filters that can be turned: linear maps from free coefficients to the taps of each pose."""

from __future__ import annotations

import torch
from torch import Tensor

from lensbench.zoo.equivariant.group import Group

_WIDTH_PIXELS = 0.9


def posed_filters(group: Group, size: int) -> Tensor:
    """Return the filters of a basis, in every pose that a group gives them.

    Element g moves a filter psi to R_g psi, with (R_g psi)(x) = psi(g^-1 x).

    Args:
        group: Whose elements are the poses.
        size: Odd number of pixels k along a side.

    Returns:
        (|G|, N, k, k) float32: what becomes of N filters of norm 1 under each element. Where the
        group permutes pixels, these are the k * k single pixels, so that they span all filters;
        otherwise they are steerable filters, see `_steerable`.
    """
    half = size // 2
    offsets = torch.arange(-half, half + 1, dtype=torch.float64)
    y, x = torch.meshgrid(-offsets, offsets, indexing="ij")  # rows run downwards, y upwards
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 2)
    # Row by row: the matrices are orthogonal, so (g^-1 x)^T is x^T g.
    origins = pixels @ group.matrices()
    on_grid = 4 % group.n_turns == 0
    basis = _single_pixels(origins, pixels) if on_grid else _steerable(origins, size)
    return basis.reshape(group.order, -1, size, size).float()


def _single_pixels(points: Tensor, pixels: Tensor) -> Tensor:
    """Evaluate the filters that are 1 at one pixel and 0 elsewhere.

    Args:
        points: (|G|, P, 2), each of which is some pixel but for rounding.
        pixels: (P, 2).

    Returns:
        (|G|, P, P): filter n at point p of element g is at [g, n, p].
    """
    return (torch.cdist(pixels, points) < 0.5).double()


def _steerable(points: Tensor, size: int) -> Tensor:
    """Evaluate circular harmonics times radial profiles, at any points.

    The filters are cos(m phi) and sin(m phi) times r^d exp(-r^2 / 2 s^2), with d = m, m + 2, ...:
    harmonics with a profile can be turned by any angle without interpolation, see Weiler,
    Hamprecht & Storath (2018), arXiv:1711.07289. These ones are smooth at the centre. Three limits
    keep the samples of a turned filter near to what the filter is between them: d < k, m < 4
    (because the corners of a square repeat, a harmonic of m = 4 has a mean, whose sign changes with
    a turn of 45 degrees), and nothing outside the disk.

    Args:
        points: (|G|, P, 2) in pixels.
        size: Pixels k along a side.

    Returns:
        (|G|, N, P), each filter of norm 1 on average over the elements.
    """
    x, y = points.unbind(-1)
    radius, phi = torch.hypot(x, y), torch.atan2(y, x)
    window = torch.exp(-((radius / _WIDTH_PIXELS) ** 2) / 2) * (radius < size / 2)
    basis = torch.stack(
        [
            radius**degree * window * wave(m * phi)
            for m in range(min(4, size))
            for degree in range(m, size, 2)
            for wave in ((torch.cos, torch.sin) if m else (torch.cos,))
        ],
        dim=1,
    )
    # Not orthogonalised: what several filters share is what samples show well, and it weighs more.
    return basis / basis.square().sum(-1, keepdim=True).mean(0).sqrt()
