"""Lens equations on tensors: where in the source plane the rays of B lenses come from.

Deflections come from `caustics.func` where it has them. Its functions broadcast, so that a batch
of lenses is one call with parameters of shape (B, 1, 1), and rows and columns of rays stay vectors
as long as they can. Everything is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import caustics.func as caustics
import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from lensbench.simulation.points import deflection_on_grid
from lensbench.simulation.scene import Haloes, Light, Points, Scene, Strings

# Keeps a ray that hits a point mass finite, and is far below what an image can show.
_CORE_ARCSEC = 1e-7

# Numbers that are worked on at a time: what a core's cache holds, and a part of a GPU's memory.
_BLOCK = {"cpu": 2**17, "cuda": 2**23}

_SERIES_ERROR = 1e-11

# Logarithms of the squared arcseconds between which the profiles of haloes are splines.
_HALO_NODES = (math.log(1e-8), math.log(1e3), 512)

_OF_LENS = tuple(field.name for field in fields(Scene) if field.type == "float")

# Changes no distance but that of a centre from itself, whose inverse and logarithm are finite then.
_SMALL = 1e-30


@dataclass(frozen=True)
class Lenses:
    """B lenses, ready to deflect.

    Attributes:
        values: Parameters of the lenses, each (B, 1, 1).
        perturbers: Parameters of the substructure, each (B, M), padded with masses of 0.
        kind: What the perturbers are.
    """

    values: dict[str, Tensor]
    perturbers: dict[str, Tensor]
    kind: type[Points]

    @classmethod
    def of(cls, scenes: Sequence[Scene], device: torch.device) -> Lenses:
        """Move the lenses of some scenes to a device.

        Raises:
            ValueError: Their substructure is of more than one kind.
        """
        kinds = {type(scene.perturbers) for scene in scenes if len(scene.perturbers.mass_solar)}
        if len(kinds) > 1:
            raise ValueError("the scenes of a batch have substructure of one kind")
        kind = kinds.pop() if kinds else Points
        there = [scene.perturbers for scene in scenes]
        rows = [[getattr(scene, name) for scene in scenes] for name in _OF_LENS]
        values = torch.tensor(rows, dtype=torch.float64, device=device)
        return cls(
            values=dict(zip(_OF_LENS, values[..., None, None], strict=True)),
            perturbers=_padded(there, kind, device),
            kind=kind,
        )

    def to_source(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Follow rays from the lens plane to the source plane: the lens equation.

        Args:
            x: Positions in arcseconds that broadcast with (B, 1, 1), float64.
            y: The same, upwards.

        Returns:
            x and y in the source plane in arcseconds, float64, broadcast to (B, R, C).
        """
        source_x, source_y = self._smooth(x, y)
        if self.perturbers["mass_solar"].shape[1]:
            if self.kind is Strings:
                by_x, by_y = _strings(self._squared_radii(), self.perturbers, x, y)
            elif self.kind is Points and x.shape[-2] == y.shape[-1] == 1:
                at_x, at_y = self.perturbers["x_arcsec"], self.perturbers["y_arcsec"]
                by_x, by_y = deflection_on_grid(
                    *(self._squared_radii(), at_x, at_y, x[0, 0], y[0, :, 0], _CORE_ARCSEC)
                )
            else:
                self._subtract_round_masses(x, y, source_x, source_y)
                return source_x, source_y
            source_x.sub_(by_x)
            source_y.sub_(by_y)
        return source_x, source_y

    def _smooth(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Follow rays through the lens and the shear alone.

        The lens is an elliptical power law, Tessore & Metcalf 2015 (arXiv:1507.01819), eq. 13. A
        sphere deflects by its Einstein radius everywhere (Narayan & Bartelmann 1996,
        astro-ph/9606001, sect. 3.1), which is written out here in half as many passes over memory
        as adding up `caustics`' deflections takes. Shear stretches images along its angle (ibid.,
        sect. 3.2).
        """
        shear, angle = self.values["shear"], torch.deg2rad(self.values["shear_angle_deg"])
        shear_1, shear_2 = shear * torch.cos(2 * angle), shear * torch.sin(2 * angle)
        radius, q = self.values["einstein_radius_arcsec"], self.values["lens_axis_ratio"]
        slope = self.values["lens_slope"]
        if bool((q == 1).all() and (slope == 2).all()):
            pull = -radius * (x**2 + y**2).add_(_SMALL).rsqrt_()
            source_x = (pull + (1 - shear_1)).mul_(x).sub_(shear_2 * y)
            source_y = pull.add_(1 + shear_1).mul_(y).sub_(shear_2 * x)
            return source_x, source_y
        flattening = float(((1 - q) / (1 + q)).max())
        n_terms = 2 + math.ceil(math.log(_SERIES_ERROR) / math.log(max(flattening, 1e-11)))
        by_x, by_y = caustics.reduced_deflection_angle_epl(
            *(0, 0, q, torch.deg2rad(self.values["lens_angle_deg"]), radius, slope - 1, x, y),
            n_iter=n_terms,
            chunk_size=1,
        )
        source_x = ((1 - shear_1) * x - shear_2 * y).sub_(by_x)
        source_y = ((1 + shear_1) * y - shear_2 * x).sub_(by_y)
        return source_x, source_y

    def _squared_radii(self) -> Tensor:
        """Return the squared Einstein radii that point masses of these masses have, (B, M)."""
        unit = self.values["einstein_radius_arcsec"] ** 2 / self.values["ring_mass_solar"]
        return self.perturbers["mass_solar"] * unit[:, 0]

    @cached_property
    def _factors_of(self) -> Callable[[Tensor], Tensor]:
        """From squared distances to f; once for all rays, since splines take time to make."""
        return _HaloFactors(self.perturbers) if self.kind is Haloes else torch.reciprocal_

    def _subtract_round_masses(
        self, x: Tensor, y: Tensor, source_x: Tensor, source_y: Tensor
    ) -> None:
        """Subtract, in place, the deflections theta_E^2 f(r) (theta - at) of M round masses.

        f is the part of the mass within the projected distance r, over r^2: 1 / r^2 for points
        (Narayan & Bartelmann 1996, astro-ph/9606001, sect. 3.1). The sum over masses is a product
        of matrices, which reads each f once; it is made block by block, since traffic to memory is
        what it costs.
        """
        at_x, at_y = self.perturbers["x_arcsec"], self.perturbers["y_arcsec"]
        squared_radii = self._squared_radii()
        weights = torch.stack((squared_radii, squared_radii * at_x, squared_radii * at_y), dim=1)
        dx2 = (x[:, None] - at_x[..., None, None]) ** 2
        dy2 = (y[:, None] - at_y[..., None, None]) ** 2 + _CORE_ARCSEC**2
        rows, columns = source_x.shape[1:]
        step = min(rows, max(1, _BLOCK[x.device.type] // (at_x.numel() * columns)))
        # Memory that is asked for anew for every block would cost more than the sums.
        block = torch.empty(*at_x.shape, step, columns, dtype=x.dtype, device=x.device)
        for start in range(0, rows, step):
            part = slice(start, start + step)
            factors = block[:, :, : min(step, rows - start)]
            torch.add(_rows(dx2, 2, part), _rows(dy2, 2, part), out=factors)
            factors = self._factors_of(factors)
            sums = (weights @ factors.flatten(2)).view(*weights.shape[:2], -1, columns)
            total, along_x, along_y = sums.unbind(1)
            source_x[:, part] += along_x.addcmul_(_rows(x, 1, part), total, value=-1)
            source_y[:, part] += along_y.addcmul_(_rows(y, 1, part), total, value=-1)


def _strings(
    squared_radii: Tensor, strings: dict[str, Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the deflections of M uniform straight lines with cores, summed.

    A piece dt of a line of length L deflects as a Plummer sphere of core radius s
    (Schneider, Ehlers & Falco 1992, sect. 8.1.3), theta_E^2 / L d / (d^2 + s^2) dt at the
    distance d. With u along the line from its middle, v across it and w^2 = v^2 + s^2, the
    integral over t from -L/2 to L/2 of (u - t, v) / ((u - t)^2 + w^2) is

        along:  1/2 ln[((u + L/2)^2 + w^2) / ((u - L/2)^2 + w^2)]
        across: v / w (arctan[(u + L/2) / w] - arctan[(u - L/2) / w])
    """
    total_x, total_y = torch.zeros(()), torch.zeros(())
    for number in range(squared_radii.shape[1]):
        one = {name: values[:, number, None, None] for name, values in strings.items()}
        angle = torch.deg2rad(one["angle_deg"])
        cos, sin = torch.cos(angle), torch.sin(angle)
        dx, dy = x - one["x_arcsec"], y - one["y_arcsec"]
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        # Padding has neither.
        length, core = one["length_arcsec"], one["core_arcsec"]
        ahead, behind = u + length / 2, u - length / 2
        w = torch.sqrt(v**2 + core**2)
        density = squared_radii[:, number, None, None] / length
        along = density / 2 * torch.log((ahead**2 + w**2) / (behind**2 + w**2))
        across = density * v / w * (torch.atan(ahead / w) - torch.atan(behind / w))
        total_x = total_x + along * cos - across * sin
        total_y = total_y + along * sin + across * cos
    return total_x, total_y


class _HaloFactors:
    """m(r) / (m r^2) of truncated NFW profiles (Baltz et al. 2009, arXiv:0705.0682, eq. A.11).

    The profile costs two hundred times as much as that of a point. So it is computed at some radii
    for each halo, and a cubic spline in ln(r^2) joins these to one part in 10^6.
    """

    def __init__(self, haloes: dict[str, Tensor]) -> None:
        device = haloes["mass_solar"].device
        scale = haloes["scale_radius_arcsec"][..., None]
        truncation = haloes["truncation"][..., None]
        nodes = torch.linspace(*_HALO_NODES, dtype=torch.float64, device=device)
        radius = torch.exp(nodes / 2)
        whole = caustics.M0_totmass_tnfw(1.0, truncation)
        factors = caustics.mass_enclosed_2d_tnfw(radius, scale, truncation, whole) / radius**2
        spline = CubicSpline(nodes.cpu(), factors.flatten(0, 1).cpu(), axis=1)
        self._coefficients = torch.from_numpy(np.ascontiguousarray(spline.c.swapaxes(1, 2)))
        self._coefficients = self._coefficients.flatten(1).to(device)
        self._first, self._step = float(nodes[0]), float(nodes[1] - nodes[0])
        n = len(nodes) - 1
        self._last = n - 1e-9
        numbers = torch.arange(scale.numel(), device=device) * n
        self._offset = numbers.view(*scale.shape[:2], 1, 1)

    def __call__(self, squared_distance: Tensor) -> Tensor:
        """Return the factors at (B, M, R, C) squared distances, in squared arcseconds."""
        at = squared_distance.log_().sub_(self._first).div_(self._step).clamp_(0, self._last)
        node = at.long()
        t = at.sub_(node).mul_(self._step)
        node += self._offset
        factors = self._coefficients[0].take(node)
        for coefficients in self._coefficients[1:]:
            factors.mul_(t).add_(coefficients.take(node))
        return factors


def brightness(light: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of K Sersic profiles at some positions.

    Graham & Driver 2005 (astro-ph/0503176), eq. 1, with b_n from caustics' series. Written out
    here, in half as many passes over memory as `caustics.brightness_sersic`, which it equals.

    Args:
        light: The attributes of `Light`, each (B, K), padded with counts of 0; see `light_of`.
        x: Positions in arcseconds, (B, R, C) or anything that broadcasts with it.
        y: The same, upwards.

    Returns:
        Counts per pixel, (B, R, C) float64.
    """
    angle = torch.deg2rad(light["angle_deg"])
    root = light["axis_ratio"].sqrt()
    along, across = root / light["radius_arcsec"], 1 / (root * light["radius_arcsec"])
    b = caustics.k_sersic(light["sersic_index"])
    columns = torch.stack(
        (
            *(along * torch.cos(angle), along * torch.sin(angle)),
            *(across * torch.cos(angle), across * torch.sin(angle)),
            *(light["x_arcsec"], light["y_arcsec"]),
            *(0.5 / light["sersic_index"], -b, light["counts"] * torch.exp(b)),
        )
    )[..., None, None]
    total = None
    for number in range(columns.shape[2]):
        cos_a, sin_a, cos_b, sin_b, x0, y0, half_power, minus_b, centre = columns[:, :, number]
        dx, dy = x - x0, y - y0
        squared = torch.addcmul(dx * cos_a, dy, sin_a).square_()
        across_it = torch.addcmul(dy * cos_b, dx, sin_b, value=-1)
        # A power, by way of the logarithm: several times as fast.
        power = squared.addcmul_(across_it, across_it).log_().mul_(half_power).exp_()
        one = power.mul_(minus_b).exp_().mul_(centre)
        total = one if total is None else total.add_(one)
    return torch.zeros_like(x * y) if total is None else total


def light_of(lights: Sequence[Light], device: torch.device) -> dict[str, Tensor]:
    """Move the light of B scenes to a device, each attribute as (B, K)."""
    return _padded(lights, Light, device)


def _padded(things: Sequence[Any], kind: type[Any], device: torch.device) -> dict[str, Tensor]:
    """Return the attributes that B things of a kind have, each as (B, longest) float64.

    Where a thing has no more, there is what has neither mass nor light, and is of size 1.
    """
    names = [field.name for field in fields(kind)]
    longest = max(len(getattr(one, names[0])) for one in things)
    values = np.ones((len(names), len(things), longest))
    for column, name in zip(values, names, strict=True):
        if name in ("mass_solar", "counts"):
            column[:] = 0
        for row, one in zip(column, things, strict=True):
            value = getattr(one, name, ())
            row[: len(value)] = value
    return dict(zip(names, torch.from_numpy(values).to(device), strict=True))


def _rows(values: Tensor, axis: int, part: slice) -> Tensor:
    """Return some rows, or all of what is the same in every row."""
    return (
        values.narrow(axis, part.start, min(part.stop, values.shape[axis]) - part.start)
        if (values.shape[axis] > 1)
        else values
    )
