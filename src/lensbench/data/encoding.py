"""One float32 image -> the smallest numbers that give every value back exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["uint8", "uint16", "float16", "float32"]

_MOST_COUNTS = 2**16 - 1
_OF_PICTURES = (np.float32(2**8 - 1), np.float32(2**16 - 1))
_N_SAMPLED = 256


@dataclass(frozen=True)
class Encoded:
    """An image as it is stored: `values / divisor`, in float32, is the image to the bit.

    Attributes:
        values: (C, H, W) of dtype `kind`.
        divisor: A positive integer, as float; 1 for floating kinds.
    """

    values: NDArray[np.generic]
    divisor: float

    @property
    def kind(self) -> Kind:
        """The dtype's name."""
        kind: Kind = self.values.dtype.name  # type: ignore[assignment]
        return kind


def encode(pixels: NDArray[np.float32]) -> Encoded:
    """Find the smallest exact form of an image.

    Detectors count, and normalising divides: an image of Common Test I is a count of photons over
    the largest one, a picture's sample is an integer over 255. Such an image is stored as its
    counts and their divisor. A quotient of integers below 2**24 is the same float32 whether it is
    rounded at once or through float64, since float64 has more than twice the digits (Figueroa
    1995, "When is double rounding innocuous?"); every image is compared with its decoded form all
    the same.

    Args:
        pixels: (C, H, W) float32, finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a guess may be far off
        return _as_counts(pixels) or _as_half(pixels) or Encoded(pixels, 1)


def decode(values: NDArray[np.generic], divisors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the float32 images (n, C, H, W) of n stored ones and their (n,) divisors."""
    pixels = values.astype(np.float32)
    pixels /= divisors[:, None, None, None]
    return pixels


def widen(image: Encoded, kind: Kind) -> Encoded:
    """Return the same image as a kind that `common_kind` gave for it."""
    if image.kind == kind:
        return image
    if kind == "uint16":
        return Encoded(image.values.astype(np.uint16), image.divisor)
    divisors = np.array([image.divisor], dtype=np.float32)
    return Encoded(decode(image.values[np.newaxis], divisors)[0], 1)


def common_kind(one: Kind, other: Kind) -> Kind:
    """Return the smallest kind that holds images of both exactly."""
    if one == other:
        return one
    return "uint16" if {one, other} == {"uint8", "uint16"} else "float32"


def _as_counts(pixels: NDArray[np.float32]) -> Encoded | None:
    if pixels.min() < 0:
        return None
    values = pixels.ravel()
    sample = values[:: max(1, len(values) // _N_SAMPLED)]
    for divisor in _divisors(sample, values):
        if not _same(_count(sample, divisor) / divisor, sample):
            continue
        counts = _count(pixels, divisor)
        if counts.max() <= _MOST_COUNTS and _same(counts / divisor, pixels):
            small = counts.max() < 2**8
            return Encoded(counts.astype(np.uint8 if small else np.uint16), float(divisor))
    return None


def _as_half(pixels: NDArray[np.float32]) -> Encoded | None:
    half = pixels.astype(np.float16)
    return Encoded(half, 1) if _same(half.astype(np.float32), pixels) else None


def _divisors(sample: NDArray[np.float32], values: NDArray[np.float32]) -> Iterator[np.float32]:
    """Guess what the counts were divided by, the cheapest guesses first."""
    guess = _divisor(sample)
    if guess <= _MOST_COUNTS:
        yield guess
    yield from _OF_PICTURES
    # More values can only show a finer step, that is a larger divisor.
    if guess <= _MOST_COUNTS:
        yield _divisor(values)


def _divisor(values: NDArray[np.float32]) -> np.float32:
    """Return d such that all values may be multiples of 1/d, if their finest step says so.

    The step is known to a few digits only, being a difference; the smallest value is known to all
    of them, and is a whole number of steps.
    """
    levels = np.unique(np.append(values, np.float32(0)))
    if len(levels) == 1:
        return np.float32(1)
    n_steps = np.rint(levels[1] / np.diff(levels).min())
    return np.float32(max(1, np.rint(n_steps / levels[1])))


def _count(values: NDArray[np.float32], divisor: np.float32) -> NDArray[np.float32]:
    counts: NDArray[np.float32] = np.rint(values * divisor)
    return counts


def _same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool(np.array_equal(one, other))
