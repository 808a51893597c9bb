"""From parameters to images: ray tracing, point-spread function, sky, photons.

Deflections and surface brightness come from `caustics.func`; its functions broadcast, so that a
batch of B lenses is one call with parameters of shape (B, 1, 1), and rows and columns of rays
stay vectors as long as they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import caustics.func as lensing
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from lensbench.simulation.draw import Scene
from lensbench.simulation.population import Population

# Keeps a ray that hits a point mass finite, and is far below what an image can show.
_CORE_ARCSEC = 1e-9


def expected_counts(population: Population, scenes: Sequence[Scene]) -> Tensor:
    """Return noiseless images of lensed sources, without the sky.

    Each pixel is the mean of its rays, convolved with a Gaussian that is sampled at pixel centres
    and cut at the margin. The margin around the frame is ray-traced like the frame itself.

    Args:
        population: Frame, source and point-spread function.
        scenes: What to look at, B scenes; mixed classes are allowed, but cost more.

    Returns:
        Expected counts per pixel, (B, n_pixels, n_pixels) float64; row 0 is the top.
    """
    ray = _ray_coordinates(population)
    x, y = ray[None, None, :], -ray[None, :, None]
    source_x, source_y = trace(scenes, x, y)
    axis_ratio = _column(scenes, "source_axis_ratio")
    light: Tensor = lensing.brightness_sersic(
        _column(scenes, "source_x_arcsec"),
        _column(scenes, "source_y_arcsec"),
        axis_ratio,
        torch.deg2rad(_column(scenes, "source_angle_deg")),
        population.source_sersic_index,
        # caustics measures along the major axis, the population the root of the axes' product.
        population.source_radius_arcsec / axis_ratio.sqrt(),
        population.source_counts,
        source_x,
        source_y,
        lensing.k_sersic(population.source_sersic_index),
    )
    camera = _camera(population)
    return camera @ light @ camera.T


def trace(scenes: Sequence[Scene], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Follow rays from the lens plane to the source plane.

    Args:
        scenes: The lenses, B of them.
        x: Positions in arcseconds that broadcast with (B, 1, 1), float64.
        y: The same, upwards.

    Returns:
        x and y in the source plane in arcseconds, float64, broadcast to the full shape.
    """
    radius = _column(scenes, "einstein_radius_arcsec")
    shear, angle = _column(scenes, "shear"), torch.deg2rad(_column(scenes, "shear_angle_deg"))
    halo_x, halo_y = lensing.reduced_deflection_angle_sis(0, 0, radius, x, y, s=_CORE_ARCSEC)
    shear_x, shear_y = lensing.reduced_deflection_angle_external_shear(
        0, 0, shear * torch.cos(2 * angle), shear * torch.sin(2 * angle), x, y
    )
    source_x, source_y = x - halo_x - shear_x, y - halo_y - shear_y
    at_x, at_y = _padded(scenes, "perturber_x_arcsec"), _padded(scenes, "perturber_y_arcsec")
    squared_radii = radius**2 * _padded(scenes, "perturber_mass_fraction")
    _subtract_point_masses(source_x, source_y, x, y, at_x, at_y, squared_radii)
    return source_x, source_y


def _subtract_point_masses(
    source_x: Tensor,
    source_y: Tensor,
    x: Tensor,
    y: Tensor,
    at_x: Tensor,
    at_y: Tensor,
    squared_radii: Tensor,
) -> None:
    """Subtract, in place, the deflections theta_E^2 (theta - at) / |theta - at|^2 of M masses.

    Traffic to memory is what dozens of masses cost: this passes four times over the rays for each
    mass, `caustics.func.reduced_deflection_angle_point` nine times.
    """
    scratch = torch.empty_like(source_x)
    for x0, y0, squared_radius in zip(at_x, at_y, squared_radii, strict=True):
        dx, dy = x - x0, y - y0
        torch.add(dx**2, dy**2 + _CORE_ARCSEC**2, out=scratch)
        scratch.reciprocal_()
        source_x.addcmul_(dx * -squared_radius, scratch)
        source_y.addcmul_(dy * -squared_radius, scratch)


def observe(
    expected: NDArray[np.float64], sky_counts: float, rng: Generator
) -> NDArray[np.float64]:
    """Expose an image: add the sky, count photons, and stretch the counts to [0, 1].

    Args:
        expected: Expected counts per pixel without sky, (H, W).
        sky_counts: Expected counts per pixel of the sky.
        rng: Source of the photon noise.

    Returns:
        (counts - minimum) / (maximum - minimum), (1, H, W) float64.
    """
    counts = rng.poisson(expected + sky_counts)
    low, high = counts.min(), counts.max()
    return np.asarray((counts - low) / max(high - low, 1))[None]


def _ray_coordinates(population: Population) -> Tensor:
    """Return the coordinates of all rays along one axis, margin included, in arcseconds."""
    per_side = population.rays_per_pixel_side
    n_rays = (population.n_pixels + 2 * population.margin_pixels) * per_side
    step = population.pixel_scale_arcsec / per_side
    return (torch.arange(n_rays, dtype=torch.float64) - (n_rays - 1) / 2) * step


@lru_cache(maxsize=8)
def _camera(population: Population) -> Tensor:
    """Return the matrix that bins rays into pixels, blurs them and cuts off the margin.

    All three act alike and independently along rows and columns, so one matrix of shape
    (n_pixels, rays on a side) applied from both sides does them at once.
    """
    n, margin = population.n_pixels, population.margin_pixels
    offset = torch.arange(n + 2 * margin) - margin - torch.arange(n)[:, None]
    blur = torch.exp(
        -0.5 * (offset * population.pixel_scale_arcsec / population.psf_sigma_arcsec).double() ** 2
    )
    blur[offset.abs() > margin] = 0
    per_side = population.rays_per_pixel_side
    return (blur / blur.sum(1, keepdim=True)).repeat_interleave(per_side, dim=1) / per_side


def _column(scenes: Sequence[Scene], name: str) -> Tensor:
    """Return one parameter of all scenes as (B, 1, 1) float64."""
    values = [getattr(scene, name) for scene in scenes]
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def _padded(scenes: Sequence[Scene], name: str) -> Tensor:
    """Return a parameter of all perturbers as (M, B, 1, 1), with zeros where a scene has fewer."""
    columns = [torch.from_numpy(getattr(scene, name)) for scene in scenes]
    return torch.nn.utils.rnn.pad_sequence(columns)[:, :, None, None]
