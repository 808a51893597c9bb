"""TIFF: grey or RGB pictures and bands, of integers or floats."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensbench.data.formats.fault import ImageFault, require_affordable
from lensbench.data.formats.image import MAX_CHANNELS, Decoded, as_texts, full_scale_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
"""None, LZW, deflate, PackBits, deflate: lossless, and inflated no further than the page claims."""

_MIN_IS_BLACK, _RGB = 1, 2
_ALPHAS = frozenset({1, 2})
_MAX_PAGES = 2 * MAX_CHANNELS  # the channels, and a small copy of each
_TAGS = frozenset({"BitsPerSample", "Compression", "ImageDescription", "Software"})


def read_tiff(content: bytes) -> Decoded:
    """Decode a TIFF file; its pages, planes or samples are the channels, full alpha is dropped.

    Raises:
        ImageFault: With code `unreadable`, `wrong-dtype`, `wrong-shape` or `too-large`.
        Exception: Many kinds, if the file is damaged.
    """
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(content)) as file:
        pages = _pages(file, content)
        first = pages[0]
        if any((page.shaped, page.dtype) != (first.shaped, first.dtype) for page in pages):
            raise ImageFault("wrong-shape", "its pages differ in shape or dtype; save them alike")
        require_affordable((len(pages), *first.shaped), _itemsize(first))
        for page in pages:
            _require_plain(page, len(content))
        pixels = np.concatenate([_channels(page) for page in pages])
        tags = {tag.name: tag.value for tag in first.tags if tag.name in _TAGS}
    return Decoded(pixels, full_scale_of(pixels.dtype), as_texts({**tags, "pages": len(pages)}))


def _pages(file: TiffFile, content: bytes) -> list[TiffPage]:
    """Return the pages at full resolution."""
    from tifffile import TiffPage

    n_pages = _count_pages(file, content)
    pages = [page for page in file.pages if isinstance(page, TiffPage)]
    if len(pages) != n_pages:
        raise ImageFault("unreadable", f"has {n_pages} pages, {len(pages)} of them readable")
    pages = [page for page in pages if not page.is_reduced]
    if not pages:
        raise ImageFault("unreadable", "has no page at full resolution")
    return pages


def _count_pages(file: TiffFile, content: bytes) -> int:
    """Follow the list of pages to its end; tifffile stops without a word where it is broken."""
    layout, found = file.tiff, set[int]()
    position = layout.offsetsize  # where the first offset stands, in TIFF and BigTIFF alike
    while True:
        (offset,) = struct.unpack_from(layout.offsetformat, content, position)
        if offset == 0:
            return len(found)
        if offset in found or len(found) == _MAX_PAGES:
            raise ImageFault("wrong-shape", f"its pages run in a circle or are over {_MAX_PAGES}")
        found.add(offset)
        (n_tags,) = struct.unpack_from(layout.tagnoformat, content, offset)
        position = offset + layout.tagnosize + n_tags * layout.tagsize


def _require_plain(page: TiffPage, n_bytes: int) -> None:
    """Refuse what would decode to other values than the samples, or to more than the page says."""
    if page.compression not in _COMPRESSIONS:
        raise ImageFault("unreadable", f"compression {page.compression}; use LZW or deflate")
    if page.photometric not in (_MIN_IS_BLACK, _RGB):
        raise ImageFault("wrong-dtype", f"colours {page.photometric}; save it as grey or RGB")
    if page.bitspersample != 8 * _itemsize(page):
        raise ImageFault("wrong-dtype", f"{page.bitspersample} bits per sample; save 8, 16 or 32")
    if page.shaped[1] != 1:
        raise ImageFault("wrong-shape", f"shape {page.shaped}; save slices as pages")
    require_affordable(page.chunks, _itemsize(page))
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    is_whole = len(parts) == math.prod(page.chunked)  # tifffile makes up for the rest with zeros
    if not is_whole or any(size == 0 or offset + size > n_bytes for offset, size in parts):
        raise ImageFault("unreadable", "cut short: pixels are missing")


def _itemsize(page: TiffPage) -> int:
    if page.dtype is None:
        raise ImageFault("wrong-dtype", "its samples are of no known type")
    return page.dtype.itemsize


def _channels(page: TiffPage) -> NDArray[np.generic]:
    """Return (C, H, W) without a full alpha channel."""
    n_planes, _, height, width, n_samples = page.shaped
    values: NDArray[np.generic] = page.asarray(maxworkers=1)
    planes = values.reshape(n_planes, height, width, n_samples)
    pixels = np.moveaxis(planes, -1, 1).reshape(-1, height, width)
    if page.extrasamples and page.extrasamples[-1] in _ALPHAS:
        if np.any(pixels[-1] != full_scale_of(pixels.dtype)):
            raise ImageFault("wrong-shape", "has transparent pixels; save it without alpha channel")
        pixels = pixels[:-1]
    return pixels
