"""Whether two images are one exposure: aligned, then compared to the noise.

The photon noise of an exposure is its fingerprint. Two exposures of one scene share its light but
not the noise, and are no copies, unless a detector's fixed pattern or a simulator's seed gave them
the same noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensbench.data.signature import (
    MIN_SIDE,
    N_ORDERS,
    Plane,
    central_square,
    harmonics_of,
    level_of,
)

_N_ANGLES = 720
_MAX_ALIGNMENTS = 6
_ALIGNMENT_SLACK = 0.02  # of the correlation: what the square grid may cost a turned copy
_MAX_STEPS = 8
_STEP_PIXELS = 0.01

_BANDS = np.linspace(1 / 16, 1 / 4, 7)
"""Cycles per pixel; above the last, an image that was halved and enlarged again holds nothing."""

_FLOOR_FROM = 0.42  # cycles per pixel: beyond any telescope's resolution, white noise alone
_LEAST_NOISE = 1e-4  # of an image's range: what resampling leaves between noiseless copies
_MAX_UNEXPLAINED = 0.5
"""See `unexplained`. Of simulated lenses, 64 and 150 pixels a side, 200 JPEGs of quality 75
have up to 0.47, and 1,500 second exposures of a lens 0.64 and more.
"""


def is_copy(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Return whether two images are one exposure; see `unexplained`."""
    return any(value < _MAX_UNEXPLAINED for value in _comparisons(first, second))


def unexplained(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return how much of two images' detail differs, in units of what noise makes differ.

    The second image is turned, flipped and shifted onto the first. In bands of spatial frequency
    the squared coherence of two spectra A and B is rho^2 = (Re<A* B>)^2 / (<|A|^2> <|B|^2>). Two
    exposures of one scene have (1 - N_A / <|A|^2>) (1 - N_B / <|B|^2>): a common signal, and
    independent noise of power N, which is white and read off the highest frequencies. Returned is
    the ratio of 1 - rho^2 to the one expected, its mean over the modes between 1/16 and 1/4 cycles
    per pixel.

    Args:
        first: (C, H, W) float32.
        second: (C, H, W) float32; its size may differ, by up to a factor of 2.

    Returns:
        0 for the same pixels, about 1 for two exposures of one scene, more for two scenes;
        infinity if the images cannot be compared.
    """
    return min(_comparisons(first, second), default=np.inf)


def _comparisons(first: NDArray[np.float32], second: NDArray[np.float32]) -> Iterator[float]:
    """Yield what is unexplained under each alignment worth a try, the likeliest first."""
    planes = [central_square(pixels) for pixels in (first, second)]
    coarse, fine = sorted((plane / level_of(plane) for plane in planes), key=len)
    if len(coarse) >= MIN_SIDE and len(fine) <= 2 * len(coarse):
        for flipped, angle in _alignments(fine, coarse):
            upright = coarse[::-1] if flipped else coarse
            yield _incoherence(fine, _aligned(fine, upright, angle))


def _alignments(first: Plane, second: Plane) -> list[tuple[bool, float]]:
    """Return (flipped upside down first, angle) that may bring the second onto the first."""
    a, b = harmonics_of(first), harmonics_of(second)
    angles = np.arange(_N_ANGLES) * 2 * np.pi / _N_ANGLES
    turns = np.exp(-1j * np.arange(N_ORDERS)[:, None] * angles)
    # Upside down, a real image has the conjugate harmonics.
    matches = np.stack([((a.conj() * b).sum(0) @ turns).real, ((a * b).sum(0).conj() @ turns).real])
    is_peak = (matches >= np.roll(matches, 1, 1)) & (matches >= np.roll(matches, -1, 1))
    is_peak &= matches >= matches.max() - _ALIGNMENT_SLACK
    flips, turned = np.nonzero(is_peak)
    best = np.argsort(-matches[flips, turned])[:_MAX_ALIGNMENTS]
    return [(bool(flips[k]), float(angles[turned[k]])) for k in best]


def _aligned(target: Plane, image: Plane, angle: float) -> NDArray[np.float64]:
    """Return an image on the target's pixels, with turn and shift fitted from a first angle.

    Fitted by linearising the target around its place, again and again (Lucas & Kanade 1981,
    Proc. 7th IJCAI, 674), with free gain and offset.
    """
    from scipy import ndimage

    side, scale = len(target), len(image) / len(target)
    y, x, disc = _frame(side)
    fitted = np.zeros_like(disc, dtype=bool)
    fitted[::2, ::2] = disc[::2, ::2] > 0  # of blurred images every other pixel says enough
    smooth, blurred = (ndimage.gaussian_filter(plane, 1.0) for plane in (target, image))
    dy, dx = np.gradient(smooth)
    design = np.stack([smooth, np.ones_like(smooth), dx, dy, dy * x - dx * y])[:, fitted]
    design = design.astype(np.float64)
    solve = np.linalg.pinv(design @ design.T, hermitian=True) @ design
    some_y, some_x = y[fitted], x[fitted]
    shift_x = shift_y = 0.0

    def places(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.stack([sin * x + cos * y + shift_y, cos * x - sin * y + shift_x])
        return turned * scale + (len(image) - 1) / 2

    for _ in range(_MAX_STEPS):
        seen = ndimage.map_coordinates(blurred, places(some_x, some_y), order=1, mode="nearest")
        gain, _, *moves = solve @ seen
        if not gain > 0:
            break
        right, down, turn = (move / gain for move in moves)
        shift_x -= np.cos(angle) * right - np.sin(angle) * down
        shift_y -= np.sin(angle) * right + np.cos(angle) * down
        angle -= turn
        if max(abs(right), abs(down), abs(turn) * side / 2) < _STEP_PIXELS:
            break
    aligned: NDArray[np.float64] = ndimage.map_coordinates(
        image, places(x, y), order=3, mode="nearest"
    )
    return aligned


@lru_cache(maxsize=8)
def _frame(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return y and x from the centre in pixels, and a disc with a soft edge."""
    at = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    inward = np.clip((0.95 - np.hypot(x, y) * 2 / side) / 0.15, 0, 1)
    return y, x, (1 - np.cos(np.pi * inward)) / 2


def _incoherence(first: Plane, second: NDArray[np.float64]) -> float:
    """Return the incoherence of two aligned images, over the one of two exposures of a scene."""
    side = len(first)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    band = np.digitize(frequency, _BANDS).ravel()
    n_modes = np.bincount(band)[1 : len(_BANDS)]
    _, _, disc = _frame(side)

    def spectrum(plane: NDArray[np.floating]) -> NDArray[np.complex128]:
        level = (plane * disc).sum() / disc.sum()
        return np.fft.rfft2((plane - level) * disc).ravel()

    def mean_power(product: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(band, product)[1 : len(_BANDS)] / n_modes

    is_floor = frequency.ravel() > _FLOOR_FROM
    spectra, powers, signals = [], [], []
    for plane in (first.astype(np.float64), second):
        spectra.append(spectrum(plane))
        power = np.abs(spectra[-1]) ** 2
        powers.append(mean_power(power))
        least = (_LEAST_NOISE * np.ptp(plane)) ** 2 * (disc**2).sum()
        noise = max(power[is_floor].mean(), least)
        if not powers[-1].all():
            return np.inf  # constant within the disc
        signals.append(np.maximum(1 - noise / powers[-1], 0))
    cross = mean_power((spectra[0].conj() * spectra[1]).real)
    coherence = np.maximum(cross, 0) ** 2 / (powers[0] * powers[1])
    ratio = (1 - coherence) / (1 - signals[0] * signals[1])
    return float(n_modes @ ratio / n_modes.sum())
