"""One decoded image, and what all formats share on the way to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lensbench.data.formats.fault import ImageFault

MAX_CHANNELS = 16

_MAX_TEXT = 80

_Array = TypeVar("_Array")


@dataclass(frozen=True)
class Decoded:
    """One image as its file holds it.

    Attributes:
        pixels: (C, H, W), the dtype and values on disk; it may be a read-only view of the file's
            bytes.
        full_scale: What the values are divided by: the largest value of their type for the
            integer samples of PNG, JPEG and TIFF, else 1.
        header: What the file says beside its pixels; an audit looks here for formats that give
            the class away.
    """

    pixels: NDArray[np.generic]
    full_scale: float
    header: Mapping[str, str]


def as_float32(image: Decoded) -> NDArray[np.float32]:
    """Convert to what a model sees: the one conversion between the file and the model.

    Values are rounded to float32. The samples of a picture, integers that by the definition of
    PNG, JPEG and TIFF are fractions of the largest one, are then divided by it in float32; all
    other values, integers included, are kept.

    Returns:
        (C, H, W) float32, a new C-contiguous array. A value beyond float32's range is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the audit counts what is not finite
        pixels = image.pixels.astype(np.float32, order="C")
    if image.full_scale != 1:
        pixels /= np.float32(image.full_scale)
    return pixels


def as_texts(items: Mapping[str, object]) -> dict[str, str]:
    """Spell what a header says, items of more than 80 characters by their beginning and hash."""
    return {name: _shortened(str(item)) for name, item in items.items()}


def _shortened(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    return (
        f"{text[: _MAX_TEXT - 20]}… {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"
    )


def full_scale_of(dtype: np.dtype[np.generic]) -> float:
    """Return the largest value of an integer type, 1 for others."""
    n_bits = 8 * dtype.itemsize
    return {"u": 2.0**n_bits - 1, "i": 2.0 ** (n_bits - 1) - 1}.get(dtype.kind, 1.0)


def channels_first(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """View (H, W), (C, H, W) or (H, W, C) as (C, H, W); other shapes are returned as they are.

    The channels are the first axis, unless the last one is the shortest and has at most
    `MAX_CHANNELS`.
    """
    if array.ndim == 2:
        return array[np.newaxis]
    if array.ndim == 3 and array.shape[2] <= min(
        array.shape[0] - 1, array.shape[1] - 1, MAX_CHANNELS
    ):
        return np.moveaxis(array, 2, 0)
    return array


def the_image(arrays: Mapping[str, _Array]) -> _Array:
    """Choose among the named arrays of a file: the only one, or the one called `image`.

    Raises:
        ImageFault: With code `ambiguous`, or `wrong-dtype` where there is none.
    """
    called_image = [name for name in arrays if name.rpartition("/")[2] == "image"]
    candidates = called_image if len(arrays) > 1 else list(arrays)
    if not arrays:
        raise ImageFault("wrong-dtype", "holds no numeric array")
    if len(candidates) != 1:
        raise ImageFault(
            "ambiguous", f"holds several arrays ({', '.join(arrays)}); call the image `image`"
        )
    return arrays[candidates[0]]
