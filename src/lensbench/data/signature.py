"""A few numbers that an image keeps when it is turned, flipped, shifted or rescaled."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

MIN_SIDE = 48
"""Of smaller images, second exposures can pass for copies: there are too few modes to compare."""

# The signature: a blurred thumbnail, seen through rings and circular harmonics. The blur hides
# what resizing does; the rings end where a turned image may lack its corners.
_THUMBNAIL_SIDE = 32
_BLUR = 1.2  # thumbnail pixels, standard deviation
_STEPS = 64  # positions per thumbnail pixel to which an image is centred
_N_RINGS = 6
N_ORDERS = 8
_OUTER_RADIUS = 0.85  # of half the frame's side
SIGNATURE_SIZE = _N_RINGS * N_ORDERS


def signature(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a few numbers that copies of an image share.

    They are the moduli of circular harmonics of the channels' mean around its centre of light, on
    rings, at unit length: no turn, flip, shift or brightness a x + b (a > 0) changes them, but for
    the sampling. Of an image that is not square, the central square counts.

    Args:
        pixels: (C, H, W) float32, finite.

    Returns:
        (`SIGNATURE_SIZE`,) float32 of norm 1; zeros, which match nothing, for an image that is
        constant or has a side of less than 48 pixels.
    """
    plane = central_square(pixels)
    if len(plane) < MIN_SIDE:
        return np.zeros(SIGNATURE_SIZE, np.float32)
    return np.abs(harmonics_of(plane)).ravel()


def central_square(pixels: NDArray[np.float32]) -> Plane:
    """Return the mean of the channels in the central square."""
    _, height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, top : top + side, left : left + side]
    plane: Plane = square[0] if len(square) == 1 else square.mean(axis=0)
    return plane


def level_of(plane: NDArray[np.floating]) -> float:
    """Return the largest value, to divide by: squares of physical units may not fit float32."""
    return float(np.abs(plane).max()) or 1.0


def harmonics_of(plane: Plane) -> NDArray[np.complex64]:
    """Return circular harmonics (rings, orders) of norm 1; zeros for a constant image."""
    camera = _camera(len(plane))
    thumbnail = camera @ plane @ camera.T
    thumbnail /= level_of(thumbnail)
    thumbnail -= thumbnail.mean()
    light = np.maximum(thumbnail, 0)
    total = light.sum() or 1.0
    place = np.arange(_THUMBNAIL_SIDE, dtype=np.float32) - (_THUMBNAIL_SIDE - 1) / 2
    down, right = (round(_STEPS * float(light.sum(axis) @ place / total)) for axis in (1, 0))
    centred = _shift(down) @ thumbnail @ _shift(right).T
    real, imaginary = (_basis() @ centred.ravel()).reshape(2, _N_RINGS, N_ORDERS)
    harmonics: NDArray[np.complex64] = real + 1j * imaginary
    norm = np.linalg.norm(harmonics)
    # What is left of a constant after the subtraction of its mean is rounding.
    return harmonics / norm if norm > 1e-5 else np.zeros_like(harmonics)


@lru_cache(maxsize=8)
def _camera(n_pixels: int) -> Plane:
    """Return the matrix (thumbnail, n_pixels) that blurs and samples along one axis."""
    centre = (np.arange(_THUMBNAIL_SIDE) + 0.5) / _THUMBNAIL_SIDE
    pixel = (np.arange(n_pixels) + 0.5) / n_pixels
    weight = np.exp(-0.5 * ((centre[:, None] - pixel) * _THUMBNAIL_SIDE / _BLUR) ** 2)
    camera: Plane = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return camera


@cache  # at most _STEPS * _THUMBNAIL_SIDE matrices of 4 kB
def _shift(step: int) -> Plane:
    """Return the matrix that moves a thumbnail along one axis, in steps of 1 / _STEPS pixels.

    Cubic convolution (Keys 1981, IEEE Trans. ASSP 29, 1153): linear interpolation would
    blur by an amount that depends on the step.
    """
    at = np.arange(_THUMBNAIL_SIDE)
    distance = np.abs(at - np.clip(at + step / _STEPS, 0, _THUMBNAIL_SIDE - 1)[:, None])
    inner = (1.5 * distance - 2.5) * distance**2 + 1
    outer = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    kernel = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    shift: Plane = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    return shift


@lru_cache(maxsize=1)
def _basis() -> Plane:
    """Return real and imaginary parts of the harmonics, (2 * rings * orders, thumbnail pixels)."""
    at = (np.arange(_THUMBNAIL_SIDE) - (_THUMBNAIL_SIDE - 1) / 2) * 2 / _THUMBNAIL_SIDE
    y, x = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
    radius = np.hypot(x, y) / _OUTER_RADIUS * _N_RINGS
    ring = np.maximum(1 - np.abs(radius - (np.arange(_N_RINGS) + 0.5)[:, None]), 0)
    wave = np.exp(1j * np.arange(N_ORDERS)[:, None] * np.arctan2(y, x))
    wave[1:] *= np.sqrt(2)  # an order m > 0 stands for -m as well
    basis = ring[:, None] * wave / np.sqrt(ring.sum(axis=1))[:, None, None]
    basis -= basis.sum(axis=-1, keepdims=True) * ring.sum(axis=0) / ring.sum()  # blind to b
    parts = np.stack([basis.real, basis.imag])
    return parts.reshape(2 * SIGNATURE_SIZE, -1).astype(np.float32)
