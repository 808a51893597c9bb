"""FITS images, plain, gzipped or tile-compressed."""

from __future__ import annotations

import gzip
import io
import math
import re
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from lensbench.data.formats.fault import MAX_FILE_BYTES, ImageFault, require_affordable
from lensbench.data.formats.image import Decoded, as_texts, channels_first

if TYPE_CHECKING:
    from astropy.io import fits

_WIDEST_SAMPLE = 8  # bytes: BSCALE may turn any integer into float64
_CODECS = frozenset({"RICE_1", "GZIP_1", "GZIP_2", "NOCOMPRESS"})
_GZIPPED = {"GZIP_1": ("COMPRESSED_DATA",), "GZIP_2": ("COMPRESSED_DATA",)}
_PROSE = frozenset({"COMMENT", "HISTORY"})
_NO_KEYWORDS = frozenset({"", "END"})
_NO_BANDS = re.compile(
    r"MA?SK|DQ|CTX|FLA?GS?|BPM|QUALITY|SEG(MENTATION|MAP)?"
    r"|ERR(OR)?S?|UNCERT(AINTY)?|RMS|SIGMA|STD(DEV)?|STAT|NOISE(MAP)?"
    r"|(I|INV)?VAR(IANCE)?|IVM|WHT|WGT|WEIGHTS?"
    r"|PSF(IMAGE|MODEL)?|SKY|BKG|BACKGROUND|MODEL|RESIDUALS?|CON|COVERAGE|EXP(OSURE|MAP)?"
)
"""Words in the names of planes that go with an image: masks, errors, weights, what was modelled."""

_BETWEEN_WORDS = re.compile(r"[^A-Z]+")


def read_fits_gz(content: bytes) -> Decoded:
    """Decode a gzipped FITS file, see `read_fits`; it is inflated to `MAX_FILE_BYTES` at most.

    Raises:
        ImageFault: With any code but `object-array`.
        OSError, EOFError, zlib.error: The compression is damaged.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        inflated = file.read(MAX_FILE_BYTES + 1)
    if len(inflated) > MAX_FILE_BYTES:
        raise ImageFault("too-large", f"inflates to more than {MAX_FILE_BYTES:,} bytes")
    return read_fits(inflated)


def read_fits(content: bytes) -> Decoded:
    """Decode a FITS file, scaled by BSCALE and BZERO, in native byte order.

    The image is the one HDU that has pixels, or the bands are the HDUs that have, all of one
    shape and BITPIX. If any HDU is called SCI, only those count, and else the one called IMAGE.

    Raises:
        ImageFault: With code `unreadable`, `wrong-shape`, `too-large` or, if what else there is
            may be masks, errors or weights, `ambiguous`.
        Exception: Many kinds, if the file is damaged.
    """
    from astropy.io import fits

    if not content.startswith(b"SIMPLE  ="):
        gzipped = " but a gzipped file: name it .fits.gz" if content.startswith(b"\x1f\x8b") else ""
        raise ImageFault("unreadable", f"no FITS file{gzipped}")
    with (
        warnings.catch_warnings(action="ignore"),  # what astropy only warns of is checked below
        fits.open(io.BytesIO(content), memmap=False, disable_image_compression=True) as stored,
    ):
        _require_whole(stored, content)
        has_tiles, has_blanks = (
            any(keyword in hdu.header for hdu in stored) for keyword in ("ZIMAGE", "BLANK")
        )
        if not (has_tiles or has_blanks):
            return _decoded(stored, stored)
        # Astropy heeds no BLANK in integers that it gives out as unsigned ones.
        with fits.open(io.BytesIO(content), memmap=False, uint=not has_blanks) as hdus:
            return _decoded(hdus, stored)


def _decoded(hdus: fits.HDUList, stored: fits.HDUList) -> Decoded:
    """Decode a file that was opened, and also opened with its tiles left in their tables."""
    images = _images(hdus)
    require_affordable((len(images), *images[0].shape), _WIDEST_SAMPLE)
    tiled = [
        table
        for hdu, table in zip(hdus, stored, strict=True)
        if "ZIMAGE" in table.header and any(hdu is image for image in images)
    ]
    _require_safe_tiles(tiled, images)
    pixels = np.stack([hdu.data for hdu in images])  # in native byte order
    header = as_texts(_cards(hdus))
    return Decoded(channels_first(pixels[0]) if len(pixels) == 1 else pixels, 1.0, header)


def _cards(hdus: fits.HDUList) -> dict[str, str]:
    """Return the value of each card, and all lines of a comment or history as one."""
    values: dict[str, list[str]] = defaultdict(list)
    for i, hdu in enumerate(hdus):
        place = f"FITS HDU {i} " if i else "FITS "
        for card in hdu.header.cards:
            if card.keyword in _PROSE:
                values[place + card.keyword].append(str(card.value))
            elif card.keyword not in _NO_KEYWORDS:
                values[place + card.keyword].append(_value(card))
    return {name: " ".join(lines) for name, lines in values.items()}


def _require_whole(stored: fits.HDUList, content: bytes) -> None:
    """Refuse what astropy reads as far as it can: a file that is cut short or damaged.

    Tiles must have been left in their tables: the size of an image is not that of its tiles.
    """
    place = stored[-1].fileinfo()
    if any(hdu.fileinfo()["datLoc"] + hdu.size > len(content) for hdu in stored):
        raise ImageFault("unreadable", "cut short: pixels are missing")
    if content[place["datLoc"] + place["datSpan"] :].strip(b"\0 "):
        raise ImageFault("unreadable", f"damaged after HDU {len(stored) - 1}")


def _require_safe_tiles(tiled: list[fits.BinTableHDU], images: list[fits.ImageHDU]) -> None:
    """Refuse tiles that inflate to more than the images, and codecs that damage can crash.

    Args:
        tiled: The tables of those images that are tiles; nobody inflates others.
        images: What is decoded.
    """
    room = sum(math.prod(hdu.shape) for hdu in images) * _WIDEST_SAMPLE
    for table in tiled:
        codec = table.header["ZCMPTYPE"]
        if codec not in _CODECS:
            raise ImageFault("unreadable", f"compression {codec}; use RICE_1 or GZIP_2")
        require_affordable(list(table.header["ZTILE*"].values()), _WIDEST_SAMPLE)
        gzipped = {"GZIP_COMPRESSED_DATA", *_GZIPPED.get(codec, ())}
        for name in gzipped.intersection(table.columns.names):
            for tile in table.data[name]:
                with gzip.GzipFile(fileobj=io.BytesIO(tile.tobytes())) as file:
                    room -= len(file.read(room + 1))
                if room < 0:
                    raise ImageFault("too-large", "its tiles inflate to more than the image")


def _images(hdus: fits.HDUList) -> list[fits.ImageHDU]:
    """Return the HDUs that are the image or its bands."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.shape and 0 not in hdu.shape]
    called_image = [hdu for hdu in images if hdu.name == "IMAGE"]
    images = [hdu for hdu in images if hdu.name == "SCI"] or (
        called_image if len(called_image) == 1 else images
    )
    shapes = {hdu.shape for hdu in images}
    n_axes = 2 if len(images) > 1 else 3
    if len(shapes) != 1 or len(images[0].shape) > n_axes:
        raise ImageFault(
            "wrong-shape",
            f"its HDUs are {_listed(hdus)}; expected one image of two or three axes, or bands of "
            "one shape",
        )
    kinds = {hdu.header["BITPIX"] for hdu in images}
    if len(images) > 1 and (len(kinds) > 1 or any(_is_no_band(hdu.name) for hdu in images)):
        raise ImageFault(
            "ambiguous",
            f"its HDUs are {_listed(hdus)}, not all of them bands; call the image SCI (EXTNAME)",
        )
    return images


def _is_no_band(name: str) -> bool:
    return any(map(_NO_BANDS.fullmatch, _BETWEEN_WORDS.split(name.upper())))


def _listed(hdus: fits.HDUList) -> str:
    return ", ".join(
        f"{i} {hdu.name} {getattr(hdu, 'shape', 'table')}" for i, hdu in enumerate(hdus)
    )


def _value(card: fits.Card) -> str:
    """Return the value as the card spells it; parsing would fail for cards that break the rules."""
    return str(card.image)[9:].partition(" /")[0].strip()
