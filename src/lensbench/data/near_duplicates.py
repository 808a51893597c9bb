"""Near duplicates: one exposure saved twice, turned, flipped, rescaled, compressed or resized.

Lenses of one population look alike, so likeness proves nothing; but the photon noise of an
exposure is its fingerprint. Every image gets a small signature that such changes leave alone;
pairs with close signatures are aligned and compared to the noise. Two exposures of one scene
share its light but not the noise, and are no near duplicates, unless a detector's fixed pattern or
a simulator's seed gave them the same noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

_Plane = NDArray[np.float32]

MIN_SIDE = 48
"""Of smaller images, second exposures can pass for copies: there are too few modes to compare."""

# The signature: a blurred thumbnail, seen through rings and circular harmonics. The blur hides
# what resizing does; the rings end where a turned image may lack its corners.
_THUMBNAIL_SIDE = 32
_BLUR = 1.2  # thumbnail pixels, standard deviation
_STEPS = 64  # positions per thumbnail pixel to which an image is centred
_N_RINGS = 6
_N_ORDERS = 8
_OUTER_RADIUS = 0.85  # of half the frame's side
SIGNATURE_SIZE = _N_RINGS * _N_ORDERS

_RADIUS = 0.025
"""Largest distance of the signatures of near duplicates.

It holds 99 of 100 turned copies of simulated lenses, and less than 1 of 100,000 pairs of others.
"""

_LEAST_COSINE = 1 - _RADIUS**2 / 2
_MAX_PARTNERS = 16
_BLOCK_ELEMENTS = 4_000_000  # of the matrix of similarities: 16 MB

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


FALSE_ALARMS = "false alarms: none in 3.0e9 pairs of simulated lenses"
"""`benchmarks/near_duplicates.py`, population demo, 78,000 images: below 1e-9 a pair, at 95 %."""


class NearDuplicates(NamedTuple):
    """What a search found.

    Attributes:
        pairs: Rows (i, j) of copies, i < j, sorted. They link every group of copies without a
            cycle: k copies of one image are k - 1 pairs.
        n_unchecked: Pairs with close signatures beyond the limit, which nobody compared.
    """

    pairs: list[tuple[int, int]]
    n_unchecked: int


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
    plane = _plane(pixels)
    if len(plane) < MIN_SIDE:
        return np.zeros(SIGNATURE_SIZE, np.float32)
    return np.abs(_harmonics(plane)).ravel()


def near_duplicates(
    signatures: NDArray[np.float32],
    read: Callable[[int], NDArray[np.float32]],
    *,
    max_checks: int = 20_000,
) -> NearDuplicates:
    """Find the copies among N images, each once: of files with equal bytes, pass one.

    Time grows as N^2 for the search and with the number of close pairs for the comparison; memory
    with N. Pairs that others already link are not compared, and each image is compared first to
    the 16 closest of those after it, so that a thousand copies of one image cost a thousand
    comparisons.

    Args:
        signatures: (N, `SIGNATURE_SIZE`) float32, as `signature` returns them.
        read: Returns the pixels (C, H, W) float32 of a row; called about twice a comparison.
        max_checks: Close pairs to compare, the closest first.
    """
    search = _Search(len(signatures), lru_cache(maxsize=64)(read), max_checks)
    closest = list(_candidates(signatures))
    for i, j in tqdm(
        closest, desc="comparing likely copies", unit="pair", leave=False, disable=not closest
    ):
        search.check(i, j)
    if max(Counter(i for i, _ in closest).values(), default=0) >= _MAX_PARTNERS:
        search.n_unchecked = 0  # they come again
        for pairs in _unlinked(signatures, search.roots()):
            search.check_all(pairs)
    return NearDuplicates(sorted(search.pairs), search.n_unchecked)


class _Search:
    """Which images are linked by now, and how many comparisons are left."""

    def __init__(
        self, n_images: int, read: Callable[[int], NDArray[np.float32]], max_checks: int
    ) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.n_unchecked = 0
        self._read = read
        self._n_left = max_checks
        self._different: list[tuple[int, int]] = []
        self._parent = list(range(n_images))

    def check(self, i: int, j: int) -> None:
        """Link two images if they are copies."""
        if self._root(i) == self._root(j):
            return
        if self._n_left == 0:
            self.n_unchecked += 1
            return
        self._n_left -= 1
        if is_copy(self._read(i), self._read(j)):
            self._parent[self._root(j)] = self._root(i)
            self.pairs.append((i, j))
        else:
            self._different.append((i, j))

    def check_all(self, pairs: NDArray[np.int64]) -> None:
        """Check the new ones of pairs (n, 2); without comparisons left, count them."""
        of_pair = np.array([len(self._parent), 1])
        known = np.array(self._different, dtype=np.int64).reshape(-1, 2) @ of_pair
        pairs = pairs[~np.isin(pairs @ of_pair, known)]
        for k, (i, j) in enumerate(pairs.tolist()):
            if self._n_left == 0:
                self.n_unchecked += len(pairs) - k
                return
            self.check(i, j)

    def roots(self) -> NDArray[np.int64]:
        """Return (N,) int64, equal for images that are linked."""
        return np.array([self._root(row) for row in range(len(self._parent))], dtype=np.int64)

    def _root(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row


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
    planes = [_plane(pixels) for pixels in (first, second)]
    coarse, fine = sorted((plane / _level(plane) for plane in planes), key=len)
    if len(coarse) >= MIN_SIDE and len(fine) <= 2 * len(coarse):
        for flipped, angle in _alignments(fine, coarse):
            upright = coarse[::-1] if flipped else coarse
            yield _incoherence(fine, _aligned(fine, upright, angle))


def _plane(pixels: NDArray[np.float32]) -> _Plane:
    """Return the mean of the channels in the central square."""
    _, height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, top : top + side, left : left + side]
    plane: _Plane = square[0] if len(square) == 1 else square.mean(axis=0)
    return plane


def _level(plane: NDArray[np.floating]) -> float:
    """Return the largest value, to divide by: squares of physical units may not fit float32."""
    return float(np.abs(plane).max()) or 1.0


def _harmonics(plane: _Plane) -> NDArray[np.complex64]:
    """Return circular harmonics (rings, orders) of norm 1; zeros for a constant image."""
    camera = _camera(len(plane))
    thumbnail = camera @ plane @ camera.T
    thumbnail /= _level(thumbnail)
    thumbnail -= thumbnail.mean()
    light = np.maximum(thumbnail, 0)
    total = light.sum() or 1.0
    place = np.arange(_THUMBNAIL_SIDE, dtype=np.float32) - (_THUMBNAIL_SIDE - 1) / 2
    down, right = (round(_STEPS * float(light.sum(axis) @ place / total)) for axis in (1, 0))
    centred = _shift(down) @ thumbnail @ _shift(right).T
    real, imaginary = (_basis() @ centred.ravel()).reshape(2, _N_RINGS, _N_ORDERS)
    harmonics: NDArray[np.complex64] = real + 1j * imaginary
    norm = np.linalg.norm(harmonics)
    # What is left of a constant after the subtraction of its mean is rounding.
    return harmonics / norm if norm > 1e-5 else np.zeros_like(harmonics)


@lru_cache(maxsize=8)
def _camera(n_pixels: int) -> _Plane:
    """Return the matrix (thumbnail, n_pixels) that blurs and samples along one axis."""
    centre = (np.arange(_THUMBNAIL_SIDE) + 0.5) / _THUMBNAIL_SIDE
    pixel = (np.arange(n_pixels) + 0.5) / n_pixels
    weight = np.exp(-0.5 * ((centre[:, None] - pixel) * _THUMBNAIL_SIDE / _BLUR) ** 2)
    camera: _Plane = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return camera


@cache  # at most _STEPS * _THUMBNAIL_SIDE matrices of 4 kB
def _shift(step: int) -> _Plane:
    """Return the matrix that moves a thumbnail along one axis, in steps of 1 / _STEPS pixels.

    Cubic convolution (Keys 1981, IEEE Trans. ASSP 29, 1153): linear interpolation would
    blur by an amount that depends on the step.
    """
    at = np.arange(_THUMBNAIL_SIDE)
    distance = np.abs(at - np.clip(at + step / _STEPS, 0, _THUMBNAIL_SIDE - 1)[:, None])
    inner = (1.5 * distance - 2.5) * distance**2 + 1
    outer = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    kernel = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    shift: _Plane = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    return shift


@lru_cache(maxsize=1)
def _basis() -> _Plane:
    """Return real and imaginary parts of the harmonics, (2 * rings * orders, thumbnail pixels)."""
    at = (np.arange(_THUMBNAIL_SIDE) - (_THUMBNAIL_SIDE - 1) / 2) * 2 / _THUMBNAIL_SIDE
    y, x = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
    radius = np.hypot(x, y) / _OUTER_RADIUS * _N_RINGS
    ring = np.maximum(1 - np.abs(radius - (np.arange(_N_RINGS) + 0.5)[:, None]), 0)
    wave = np.exp(1j * np.arange(_N_ORDERS)[:, None] * np.arctan2(y, x))
    wave[1:] *= np.sqrt(2)  # an order m > 0 stands for -m as well
    basis = ring[:, None] * wave / np.sqrt(ring.sum(axis=1))[:, None, None]
    basis -= basis.sum(axis=-1, keepdims=True) * ring.sum(axis=0) / ring.sum()  # blind to b
    parts = np.stack([basis.real, basis.imag])
    return parts.reshape(2 * SIGNATURE_SIZE, -1).astype(np.float32)


def _candidates(signatures: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield the pairs i < j of close signatures, the closest first, some per i at most."""
    found = []
    for start, cosine in _cosines(signatures):
        close = cosine > _LEAST_COSINE
        for crowded in np.flatnonzero(close.sum(axis=1) > _MAX_PARTNERS):
            closest = np.argpartition(cosine[crowded], -_MAX_PARTNERS)[-_MAX_PARTNERS:]
            close[crowded] = False
            close[crowded, closest] = True
        i, j = np.nonzero(close)
        found.append((i + start, j + start, cosine[i, j]))
    if found:
        i, j, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
        for k in np.lexsort((j, i, -similarity)):
            yield int(i[k]), int(j[k])


def _unlinked(
    signatures: NDArray[np.float32], roots: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield all pairs (n, 2) of close signatures with different roots, block by block."""
    for start, cosine in _cosines(signatures):
        apart = roots[start : start + len(cosine), None] != roots[start:]
        i, j = np.nonzero((cosine > _LEAST_COSINE) & apart)
        closest_first = np.argsort(-cosine[i, j], kind="stable")
        yield np.stack([i, j], axis=1)[closest_first] + start


def _cosines(signatures: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield blocks of rows: the first row's number, and the cosines of all with it and later ones.

    Those of a row with itself and with earlier rows are -1.
    """
    n_rows = max(_BLOCK_ELEMENTS // max(len(signatures), 1), 1)
    for start in range(0, len(signatures), n_rows):
        cosine = signatures[start : start + n_rows] @ signatures[start:].T
        cosine[:, : len(cosine)][np.tril_indices(len(cosine))] = -1
        yield start, cosine


def _alignments(first: _Plane, second: _Plane) -> list[tuple[bool, float]]:
    """Return (flipped upside down first, angle) that may bring the second onto the first."""
    a, b = _harmonics(first), _harmonics(second)
    angles = np.arange(_N_ANGLES) * 2 * np.pi / _N_ANGLES
    turns = np.exp(-1j * np.arange(_N_ORDERS)[:, None] * angles)
    # Upside down, a real image has the conjugate harmonics.
    matches = np.stack([((a.conj() * b).sum(0) @ turns).real, ((a * b).sum(0).conj() @ turns).real])
    is_peak = (matches >= np.roll(matches, 1, 1)) & (matches >= np.roll(matches, -1, 1))
    is_peak &= matches >= matches.max() - _ALIGNMENT_SLACK
    flips, turned = np.nonzero(is_peak)
    best = np.argsort(-matches[flips, turned])[:_MAX_ALIGNMENTS]
    return [(bool(flips[k]), float(angles[turned[k]])) for k in best]


def _aligned(target: _Plane, image: _Plane, angle: float) -> NDArray[np.float64]:
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


def _incoherence(first: _Plane, second: NDArray[np.float64]) -> float:
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
