"""The bytes of one file -> one float32 image, or the fault that prevents it."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
SUFFIXES = _PICTURES | {".npy"}
"""The file types that count as images."""

_MAX_CHANNELS = 4


class ImageFault(Exception):  # noqa: N818 - a fault is reported as a finding, not raised to users
    """Why a file is no usable image; `code` is the audit's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode_image(content: bytes, name: str) -> NDArray[np.generic]:
    """Decode a file to an array (C, H, W) of the dtype that it has on disk.

    `.npy` may hold (H, W), (C, H, W) or (H, W, C) of any integer or floating dtype; pictures may
    be greyscale (8 or 16 bits) or RGB.

    Raises:
        ImageFault: With code `unreadable`, `object-array`, `wrong-dtype` or `wrong-shape`.
    """
    is_picture = PurePosixPath(name).suffix.lower() in _PICTURES
    array = _decode_picture(content) if is_picture else _decode_npy(content)
    if array.dtype.kind not in "fiu":
        raise ImageFault("wrong-dtype", f"dtype {array.dtype} is no number")
    return _channels_first(array)


def as_float32(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Convert to what a model sees: the one conversion between the file and the model.

    Floating values are rounded to float32; 8- and 16-bit unsigned integers, the formats of
    pictures, are divided by their type's largest value so that they span [0, 1]; other integers
    keep their values.
    """
    pixels: NDArray[np.float32] = image.astype(np.float32)
    if image.dtype in (np.uint8, np.uint16):
        pixels /= 2 ** (8 * image.dtype.itemsize) - 1
    return pixels


def _decode_npy(content: bytes) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error) or "pickle" in str(error):
            raise ImageFault(
                "object-array",
                "holds Python objects, which are never unpickled; save the image alone as a "
                "plain numeric array",
            ) from error
        raise ImageFault("unreadable", str(error)) from error
    except (EOFError, OSError) as error:
        raise ImageFault("unreadable", str(error)) from error
    return array


def _decode_picture(content: bytes) -> NDArray[np.generic]:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            if picture.mode not in ("L", "RGB", "I;16"):
                raise ImageFault("wrong-dtype", f"mode {picture.mode}; save it as grey or RGB")
            return np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageFault("unreadable", str(error)) from error


def _channels_first(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.ndim == 2:
        array = array[np.newaxis]
    elif array.ndim == 3 and array.shape[0] > _MAX_CHANNELS >= array.shape[2]:
        array = np.moveaxis(array, 2, 0)
    if array.ndim != 3 or array.shape[0] > _MAX_CHANNELS or min(array.shape) == 0:
        raise ImageFault(
            "wrong-shape", f"shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C)"
        )
    return array
