"""Some lenses of a population, to look at before a data set is made of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lensbench.errors import ConfigError
from lensbench.simulation.block import Block
from lensbench.simulation.engine import images_of
from lensbench.simulation.lensing import Lenses, brightness, light_of
from lensbench.simulation.population import CLASSES, Camera, Population
from lensbench.simulation.render import CPU, expected_counts, normalised
from lensbench.simulation.scene import Scene
from lensbench.simulation.views import Anatomy, Example

# Rays along the side of a pixel, for the flux through its border.
_N_ALONG_BORDER = 32

# Rays along the side of the frame, to find critical curves; even, so that none hits the centre.
_N_ACROSS = 600

# Derivatives to ten digits, as far away from a point mass as rays usually are.
_STEP_ARCSEC = 1e-5

_N_OF_SOURCE = 150

_Array = NDArray[np.float64]
_Plane = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def contact_sheet(population: Population, seed: int, n_examples: int = 5) -> list[Example]:
    """Return the first images of each class in `train`, as `simulate` writes them.

    Args:
        population: What to draw from.
        seed: Seed of the data set, 0 or more.
        n_examples: Images of each class.

    Raises:
        ConfigError: The seed is negative, or an image has too many counts.
    """
    examples = []
    for label in CLASSES:
        block = _block(label, seed, *range(1, n_examples + 1))
        images = normalised(images_of(population, seed, block, "cpu"))[:, 0]
        scenes = block.scenes(population, seed)
        examples += [
            Example(name, label, scene, image)
            for name, scene, image in zip(block.ids, scenes, images, strict=True)
        ]
    return examples


def take_apart(population: Population, label: str, seed: int, number: int = 1) -> Anatomy:
    """Return how an image of `train` comes about, from the lens to the noise.

    Args:
        population: What to draw from.
        label: One of `CLASSES`.
        seed: Seed of the data set, 0 or more.
        number: Number of the image in its folder, 1 or more.

    Raises:
        ConfigError: The seed is negative, or the image has too many counts.
    """
    block, camera = _block(label, seed, number), population.camera
    [scene], [observed] = block.scenes(population, seed), images_of(population, seed, block, "cpu")
    expected, smooth = (
        expected_counts(camera, [one])[0].numpy() for one in (scene, scene.smooth())
    )
    variance = smooth + camera.sky_counts + camera.read_noise_counts**2
    lenses = Lenses.of([scene], CPU)
    columns = _positions(camera.n_pixels, camera.pixel_scale_arcsec)
    deflection_x, deflection_y = _deflection(lenses)(columns[None, None], -columns[None, :, None])
    critical_x, critical_y = critical_curves(camera, lenses)
    caustic_x, caustic_y = lenses.to_source(critical_x, critical_y)
    half_width = _source_half_width(camera, scene, caustic_x, caustic_y)
    return Anatomy(
        name=block.ids[0],
        label=label,
        scene=scene,
        pixel_scale_arcsec=camera.pixel_scale_arcsec,
        convergence=mean_convergence(camera, lenses),
        deflection_x_arcsec=deflection_x[0].numpy(),
        deflection_y_arcsec=deflection_y[0].numpy(),
        critical_x_arcsec=critical_x[0].numpy(),
        critical_y_arcsec=critical_y[0].numpy(),
        caustic_x_arcsec=caustic_x[0].numpy(),
        caustic_y_arcsec=caustic_y[0].numpy(),
        source=_source(scene, half_width),
        source_half_width_arcsec=half_width,
        expected=expected,
        observed=observed.astype(np.float64),
        difference=(expected - smooth) / np.sqrt(np.maximum(variance, np.finfo(float).tiny)),
    )


def mean_convergence(camera: Camera, lenses: Lenses) -> _Array:
    """Return the mean convergence of a lens in each pixel, which holds the points in it as well.

    The convergence is half the divergence of the deflection (Narayan & Bartelmann 1996,
    astro-ph/9606001, sect. 3.2). By Gauss's theorem, its integral over a pixel is half the
    flux of the deflection through the pixel's border.

    Args:
        camera: The pixels.
        lenses: One lens.

    Returns:
        (n_pixels, n_pixels) float64.
    """
    n, side = camera.n_pixels, camera.pixel_scale_arcsec
    borders = _positions(n + 1, side)
    between = _positions(n * _N_ALONG_BORDER, side / _N_ALONG_BORDER)
    deflection = _deflection(lenses)
    through_sides, _ = deflection(borders[None, None], -between[None, :, None])
    _, through_floors = deflection(between[None, None], -borders[None, :, None])
    outwards = through_sides.view(n, _N_ALONG_BORDER, n + 1).mean(1).diff(dim=1)
    outwards -= through_floors.view(n + 1, n, _N_ALONG_BORDER).mean(2).diff(dim=0)
    convergence: _Array = (outwards / (2 * side)).numpy()
    return convergence


def critical_curves(camera: Camera, lenses: Lenses) -> tuple[Tensor, Tensor]:
    """Return the critical curves of a lens within the frame, as straight pieces.

    There, the determinant of the lens equation's derivatives vanishes (Narayan & Bartelmann 1996,
    sect. 3.2). It is computed on a grid of 600 x 600 rays: curves around masses that are too small
    for it are not seen.

    Args:
        camera: The frame.
        lenses: One lens.

    Returns:
        x and y of the ends of the pieces in arcseconds, (1, C, 2) float64.
    """
    axis = _positions(_N_ACROSS, camera.n_pixels * camera.pixel_scale_arcsec / _N_ACROSS)
    determinant = _determinant(lenses, axis[None, None], axis[None, :, None])[0]
    # The same zeros, and closer to straight between a point's two neighbours beside a mass.
    determinant /= 1 + determinant.abs()
    along_x, along_y = _crossings(axis, determinant), _crossings(axis, determinant.T).T
    x, y = axis.expand_as(determinant), axis[:, None].expand_as(determinant)
    # The four sides of each cell of the grid: below, above, left, right.
    side_x = torch.stack((along_x[:-1], along_x[1:], x[:-1, :-1], x[1:, 1:]), dim=-1)
    side_y = torch.stack((y[:-1, :-1], y[1:, 1:], along_y[:, :-1], along_y[:, 1:]), dim=-1)
    is_crossed = (side_x + side_y).isfinite()
    # Two sides of a cell, or all four.
    return side_x[is_crossed].view(1, -1, 2), side_y[is_crossed].view(1, -1, 2)


def _crossings(axis: Tensor, values: Tensor) -> Tensor:
    """Return where values change sign between neighbours in a row, else not a number."""
    here, there = values[:, :-1], values[:, 1:]
    at = axis[:-1] + here / (here - there) * (axis[1] - axis[0])
    return at.where(here.signbit() != there.signbit(), torch.nan)


def _determinant(lenses: Lenses, x: Tensor, y: Tensor) -> Tensor:
    """Return the determinant of the derivatives of source positions, (1, R, C)."""
    step = _STEP_ARCSEC
    right, left = lenses.to_source(x + step, y), lenses.to_source(x - step, y)
    above, below = lenses.to_source(x, y + step), lenses.to_source(x, y - step)
    xx, yx = ((one - other) / (2 * step) for one, other in zip(right, left, strict=True))
    xy, yy = ((one - other) / (2 * step) for one, other in zip(above, below, strict=True))
    return xx * yy - xy * yx


def _deflection(lenses: Lenses) -> _Plane:
    def deflection(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        source_x, source_y = lenses.to_source(x, y)
        return x - source_x, y - source_y

    return deflection


def _source(scene: Scene, half_width: float) -> _Array:
    axis = _positions(_N_OF_SOURCE, 2 * half_width / _N_OF_SOURCE)
    light = brightness(light_of([scene.source], CPU), axis[None, None], -axis[None, :, None])
    image: _Array = light[0].numpy()
    return image


def _source_half_width(camera: Camera, scene: Scene, *caustic: Tensor) -> float:
    """Return half the side of a square with the source and the caustics, the frame at most."""
    light = scene.source
    edges = np.maximum(np.abs(light.x_arcsec), np.abs(light.y_arcsec)) + 1.5 * light.radius_arcsec
    reach = [float(edges.max()), *(float(axis.abs().max()) for axis in caustic if axis.numel())]
    return min(1.05 * max(reach), camera.n_pixels * camera.pixel_scale_arcsec / 2)


def _positions(n: int, step: float) -> Tensor:
    """Return n positions that are one step apart, around 0."""
    return (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * step


def _block(label: str, seed: int, *numbers: int) -> Block:
    if seed < 0:
        raise ConfigError(f"the seed must be 0 or more, not {seed}")
    return Block("train", label, numbers)
