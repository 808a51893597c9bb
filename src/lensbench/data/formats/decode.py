"""The bytes of one file, whatever its format -> one image, or the fault that prevents it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lensbench.data.formats.arrays import read_npy, read_npz
from lensbench.data.formats.fault import MAX_FILE_BYTES, ImageFault
from lensbench.data.formats.fits import read_fits, read_fits_gz
from lensbench.data.formats.hdf5 import read_hdf5
from lensbench.data.formats.image import MAX_CHANNELS, Decoded, as_float32
from lensbench.data.formats.pictures import read_jpeg, read_png
from lensbench.data.formats.tiff import read_tiff

__all__ = ["SUFFIXES", "Decoded", "as_float32", "decode", "suffix_of"]

_READERS: Mapping[str, Callable[[bytes], Decoded]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".fits": read_fits,
    ".fit": read_fits,
    ".fts": read_fits,
    ".fits.gz": read_fits_gz,
    ".fits.fz": read_fits,
    ".png": read_png,
    ".jpg": read_jpeg,
    ".jpeg": read_jpeg,
    ".tif": read_tiff,
    ".tiff": read_tiff,
}

SUFFIXES = frozenset(_READERS)
"""How the names of image files end, in lower case."""


def suffix_of(name: str) -> str | None:
    """Return the member of `SUFFIXES` that a file name ends with, in whatever case."""
    stem, dot, last = name.lower().rpartition(".")
    suffix = dot + last
    if stem.endswith(".fits"):
        suffix = suffix if suffix in SUFFIXES else f".fits{suffix}"
    return suffix if suffix in SUFFIXES else None


def decode(content: bytes, name: str) -> Decoded:
    """Decode a file; its format is the one that its name says.

    Arrays (`.npy`, `.npz`, HDF5, FITS) may be (H, W), (C, H, W) or (H, W, C) of any integer or
    floating dtype with at most 16 channels; pictures may be grey or RGB. No more than
    `MAX_IMAGE_BYTES` are given to an image, and nothing is unpickled.

    Raises:
        ImageFault: With code `unreadable`, `object-array`, `wrong-dtype`, `wrong-shape`,
            `too-large` or `ambiguous`.
    """
    suffix = suffix_of(name)
    if suffix is None:
        raise ImageFault("unreadable", f"no image by its name; looked for {sorted(SUFFIXES)}")
    if len(content) > MAX_FILE_BYTES:
        raise ImageFault("too-large", f"{len(content):,} bytes; a file may take {MAX_FILE_BYTES:,}")
    try:
        image = _READERS[suffix](content)
    except ImageFault:
        raise
    except Exception as error:  # damaged bytes make the parsers raise nearly anything
        raise ImageFault("unreadable", f"{type(error).__name__}: {error}") from error
    _require_image(image)
    return image


def _require_image(image: Decoded) -> None:
    pixels = image.pixels
    if pixels.dtype.kind not in "fiu":
        raise ImageFault("wrong-dtype", f"dtype {pixels.dtype} is neither integer nor floating")
    if pixels.ndim != 3 or pixels.shape[0] > MAX_CHANNELS or pixels.size == 0:
        raise ImageFault(
            "wrong-shape",
            f"shape {pixels.shape}; expected (H, W), (C, H, W) or (H, W, C) with at most "
            f"{MAX_CHANNELS} channels",
        )
