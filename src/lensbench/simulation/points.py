"""The deflection of many point masses on a grid of rays, without a sum over all pairs of them.

With positions as complex numbers z = x + iy, the deflection alpha of point masses at z_m is

    conj(alpha) = sum_m theta_m^2 / (z - z_m)

(Bourassa & Kantowski 1975, ApJ 195, 13), an analytic function wherever there is no mass. The grid
is divided into tiles. For masses outside a tile, and some way off, a power series about its centre
gives the sum (the local expansion of Greengard & Rokhlin 1987, J. Comput. Phys. 73, 325),

    1 / (z - z_m) = -sum_p (z - c)^p / (z_m - c)^(p + 1);

the powers are the same for all tiles, so that all sums are one product of matrices. Only the
masses near a tile are summed ray by ray. This costs little more for a hundred masses than for one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

# A mass is near if it is less than this many times as far from a tile's centre as its corners are.
_NEAR = 3.0
# So that the terms left out are _NEAR ** -_N_TERMS of a far mass's deflection: 2e-9.
_N_TERMS = 18


def deflection_on_grid(
    squared_radii: Tensor, at_x: Tensor, at_y: Tensor, x: Tensor, y: Tensor, core_arcsec: float
) -> tuple[Tensor, Tensor]:
    """Return the deflection of M point masses in each of B fields.

    Args:
        squared_radii: Squared Einstein radii, in squared arcseconds, (B, M) float64.
        at_x: Positions of the masses in arcseconds, (B, M).
        at_y: The same, upwards.
        x: Columns of the grid in arcseconds, (C,), at equal distances.
        y: Rows of the grid, (R,), at the same distances; they may fall.
        core_arcsec: What is added in quadrature to the distance of a near mass, to keep it above 0.

    Returns:
        The deflection in x and in y, in arcseconds, each (B, R, C).
    """
    rows, columns = len(y), len(x)
    step_x, step_y = _step(x), _step(y, otherwise=_step(x))
    side = _tile_side(columns)
    across, down = -(-columns // side), -(-rows // side)
    n_tiles, middle = across * down, (side - 1) / 2
    reach = math.hypot(step_x, step_y) * middle
    corner = torch.arange(max(across, down), dtype=x.dtype, device=x.device) * side + middle
    centre_x = (x[0] + step_x * corner[:across]).repeat(down)
    centre_y = (y[0] + step_y * corner[:down]).repeat_interleave(across)

    away_x, away_y = at_x[:, None] - centre_x[:, None], at_y[:, None] - centre_y[:, None]
    squared = away_x**2 + away_y**2  # (B, tiles, M)
    near = squared < (_NEAR * reach) ** 2
    ratio = torch.complex(away_x, -away_y) * (reach / squared.clamp_(min=core_arcsec**2))
    term = ratio * (squared_radii[:, None] / -reach)
    term.masked_fill_(near, 0)
    coefficients = torch.empty(*term.shape[:2], _N_TERMS, dtype=term.dtype, device=x.device)
    for power in range(_N_TERMS):
        torch.sum(term, 2, out=coefficients[..., power])
        term *= ratio
    powers, inside_x, inside_y = _tile(side, step_x, step_y, x.device)
    tiles = torch.view_as_real(coefficients).flatten(2) @ powers  # (B, tiles, 2 * side^2)

    field, tile, mass = near.nonzero(as_tuple=True)
    dx = inside_x - away_x[field, tile, mass, None]
    dy = inside_y - away_y[field, tile, mass, None]
    factor = dx.square().add_(dy.square()).add_(core_arcsec**2).reciprocal_()
    factor *= squared_radii[field, mass, None]
    by_near = torch.cat((dx.mul_(factor), dy.mul_(factor)), dim=1)
    tiles.view(-1, 2 * side**2).index_add_(0, field * n_tiles + tile, by_near)

    grid = tiles.view(-1, down, across, 2, side, side).permute(3, 0, 1, 4, 2, 5)
    whole_x, whole_y = grid.reshape(2, -1, down * side, across * side)[..., :rows, :columns]
    return whole_x, whole_y


def _tile_side(columns: int) -> int:
    """Return the rays on a side of a tile: few masses are near a small one, but there are many."""
    return max(4, round(0.9 * math.sqrt(columns)))


@lru_cache(maxsize=8)
def _tile(
    side: int, step_x: float, step_y: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the powers of the rays of a tile, and their positions about its centre.

    Returns:
        The matrix (2 * terms, 2 * side^2) that takes real and imaginary parts of coefficients to
        deflections in x and in y; and x and y (side^2,) of the rays.
    """
    along = torch.arange(side, dtype=torch.float64, device=device) - (side - 1) / 2
    x = (along * step_x).repeat(side)
    y = (along * step_y).repeat_interleave(side)
    reach = math.hypot(step_x, step_y) * (side - 1) / 2
    powers = [torch.ones_like(torch.complex(x, y))]
    for _ in range(_N_TERMS - 1):
        powers.append(powers[-1] * torch.complex(x, y) / reach)
    stack = torch.stack(powers)
    # conj(alpha) is the sum of coefficient times power.
    real = torch.stack((stack.real, -stack.imag), dim=1).flatten(0, 1)
    imaginary = torch.stack((-stack.imag, -stack.real), dim=1).flatten(0, 1)
    return torch.cat((real, imaginary), dim=1), x, y


def _step(axis: Tensor, otherwise: float = 1.0) -> float:
    return float(axis[1] - axis[0]) if len(axis) > 1 else otherwise
