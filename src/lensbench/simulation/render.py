"""From scenes to images: rays, point-spread function, photons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from lensbench.simulation.lensing import Lenses, brightness, light_of
from lensbench.simulation.photons import expose
from lensbench.simulation.population import Camera
from lensbench.simulation.scene import Scene

# The noise of so many spreads the pixels of any frame over more than can be stored, and the search
# for their number would go on for long, or for ever.
_MOST_COUNTS = 1e9

CPU = torch.device("cpu")

# Samples at pixel centres of a Gaussian of fewer pixels are narrower than itself: by 0.1 % here, by
# 7 % at 0.43 pixels.
_NARROW_PIXELS = 0.7

# Rays that are followed at a time: so few that they stay in a core's cache, or fill a GPU.
_N_RAYS = {"cpu": 2**17, "cuda": 2**25}


def expected_counts(camera: Camera, scenes: Sequence[Scene], device: torch.device = CPU) -> Tensor:
    """Return noiseless images, without the sky.

    Each pixel is the mean of its rays, convolved with a Gaussian that is sampled at pixel centres
    and cut at the margin. For one below 0.7 pixels, the samples are those of a wider one, so that
    they have its variance. The margin around the frame is ray-traced like the frame itself.

    Args:
        camera: Frame and point-spread function.
        scenes: What to look at, B scenes with substructure of one kind.
        device: Where to compute.

    Returns:
        Expected counts per pixel, (B, n_pixels, n_pixels) float64; row 0 is the top.

    Raises:
        ValueError: The scenes have substructure of more than one kind.
    """
    lenses = Lenses.of(scenes, device)
    source = light_of([scene.source for scene in scenes], device)
    lens_light = light_of([scene.lens_light for scene in scenes], device)
    x, y = (axis.to(device) for axis in _rays(camera))
    per_side = camera.rays_per_pixel_side
    n_rows = max(1, _N_RAYS[device.type] // (len(scenes) * x.shape[-1] * per_side)) * per_side
    bands = []
    for rows in torch.split(y, n_rows, dim=1):
        light = brightness(source, *lenses.to_source(x, rows))
        if lens_light["counts"].numel():
            light += brightness(lens_light, x, rows)
        bands.append(_binned(light, per_side))
    blur = _blur(camera).to(device)
    return blur @ torch.cat(bands, dim=1) @ blur.T


def observe(camera: Camera, expected: Tensor, rngs: Sequence[Generator]) -> NDArray[np.uint16]:
    """Expose images: count the photons of sources and sky, and read them out.

    The random numbers are NumPy's, drawn on the host whatever the device, so that every device
    makes the same image.

    Args:
        camera: Sky and read noise.
        expected: Expected counts per pixel without sky, (B, H, W) float64.
        rngs: Source of the noise of each image.

    Returns:
        Counts less the lowest of each image, (B, H, W) uint16.

    Raises:
        OverflowError: An image has more than 65,535 counts between its darkest and brightest pixel.
    """
    largest = float(expected.max()) + camera.sky_counts + camera.read_noise_counts
    if not largest <= _MOST_COUNTS:
        raise OverflowError(f"an image has {largest:.2g} counts, more than 65,535")
    n_fields = 2 if camera.read_noise_counts else 1
    normal = np.stack([rng.standard_normal((n_fields, *expected.shape[1:])) for rng in rngs], 1)
    photons, *read = torch.from_numpy(normal).to(expected.device)
    counts = expose(
        expected, photons, read[0] if read else None, camera.sky_counts, camera.read_noise_counts
    )
    if int(counts.max()) >= 2**16:
        raise OverflowError(f"an image has {int(counts.max()):,} counts, more than 65,535")
    return counts.cpu().numpy().astype(np.uint16)


def normalised(counts: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Stretch images to [0, 1].

    Args:
        counts: Counts whose least is 0, (B, H, W).

    Returns:
        Counts over their maximum, (B, 1, H, W) float64; a dark image stays black.
    """
    images: NDArray[np.float64] = counts[:, None] / divisors(counts)[:, None, None, None]
    return images


def divisors(counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return what images are divided by, (B,): their maximum, or 1."""
    largest: NDArray[np.uint16] = np.maximum(counts.max((1, 2)), np.uint16(1))
    return largest


@lru_cache(maxsize=8)
def _rays(camera: Camera) -> tuple[Tensor, Tensor]:
    """Return the coordinates of all rays in arcseconds, margin included: x (1, 1, n), y (1, n, 1).

    y falls with the row.
    """
    per_side = camera.rays_per_pixel_side
    n = (camera.n_pixels + 2 * camera.margin_pixels) * per_side
    axis = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * (
        camera.pixel_scale_arcsec / per_side
    )
    return axis[None, None, :], -axis[None, :, None]


def _binned(light: Tensor, n: int) -> Tensor:
    """Return the means of blocks of n x n rays."""
    if n == 1:
        return light
    return torch.nn.functional.avg_pool2d(light, n)


@lru_cache(maxsize=8)
def _blur(camera: Camera) -> Tensor:
    """Return the matrix that blurs pixels along one axis and cuts off the margin.

    Rows and columns are blurred alike and independently, so the same matrix, of shape (n_pixels,
    pixels with margin), is applied from both sides.
    """
    n, margin = camera.n_pixels, camera.margin_pixels
    offset = torch.arange(n + 2 * margin) - margin - torch.arange(n)[:, None]
    blur = torch.exp(
        -0.5 * (offset * camera.pixel_scale_arcsec / _sampled_sigma_arcsec(camera)).double() ** 2
    )
    blur[offset.abs() > margin] = 0
    return blur / blur.sum(1, keepdim=True)


def _sampled_sigma_arcsec(camera: Camera) -> float:
    """Return the sigma of the Gaussian whose samples have the variance of the camera's."""
    asked = camera.psf_sigma_arcsec / camera.pixel_scale_arcsec
    if asked >= _NARROW_PIXELS:
        return camera.psf_sigma_arcsec
    offset = np.arange(1.0, camera.margin_pixels + 1)

    def excess(sigma: float) -> float:
        samples = np.exp(-0.5 * (offset / sigma) ** 2)
        return float(2 * (offset**2 @ samples) / (1 + 2 * samples.sum()) - asked**2)

    # At a hundredth of a pixel, nothing is left beside the centre.
    return float(brentq(excess, max(asked, 0.01), 1.0)) * camera.pixel_scale_arcsec
