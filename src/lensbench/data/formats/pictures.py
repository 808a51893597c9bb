"""Pictures: PNG and JPEG, grey or RGB."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lensbench.data.formats.fault import ImageFault, require_affordable
from lensbench.data.formats.image import Decoded, as_texts, full_scale_of

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG_FRAMES = {0xC0: "SOF0", 0xC1: "SOF1", 0xC2: "SOF2"}  # baseline, extended, progressive
_JPEG_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_NAMES = {
    **_JPEG_FRAMES,
    **{0xE0 + n: f"APP{n}" for n in range(16)},
    0xC4: "DHT",
    0xDA: "SOS",
    0xDB: "DQT",
    0xDD: "DRI",
    0xFE: "COM",
}
_SOS, _EOI, _DQT = 0xDA, 0xD9, 0xDB
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def read_png(content: bytes) -> Decoded:
    """Decode a PNG file: grey, RGB or palette (as RGB), 1 to 16 bits; full alpha is dropped.

    Raises:
        ImageFault: With code `unreadable`, `wrong-shape` or `too-large`.
        struct.error, imagecodecs.PngError: The file is damaged.
    """
    from imagecodecs import png_decode

    chunks = list(_png_chunks(content))
    names = list(dict.fromkeys(name for name, _ in chunks))
    if names[0] != "IHDR" or names[-1] != "IEND":
        raise ImageFault("unreadable", "cut short: it does not run from IHDR to IEND")
    if "acTL" in names:
        raise ImageFault("wrong-shape", "an animation; save one frame")
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
    require_affordable((height, width, 4), 2 if depth == 16 else 1)
    pixels = png_decode(content)
    return Decoded(
        pixels=_without_alpha(pixels[..., np.newaxis] if pixels.ndim == 2 else pixels),
        full_scale=full_scale_of(pixels.dtype),
        header=as_texts({"bit depth": depth, "colour type": colour, "chunks": " ".join(names)}),
    )


def read_jpeg(content: bytes) -> Decoded:
    """Decode a baseline or progressive JPEG file of 8 bits, grey or RGB.

    Raises:
        ImageFault: With code `unreadable`, `wrong-dtype`, `wrong-shape` or `too-large`.
        IndexError, struct.error, imagecodecs.Jpeg8Error: The file is damaged.
    """
    from imagecodecs import jpeg8_decode

    segments = list(_jpeg_segments(content))
    frames = [(marker, body) for marker, body in segments if marker in _JPEG_FRAMES]
    if any(marker in _JPEG_OTHER_FRAMES for marker, _ in segments):
        raise ImageFault("wrong-dtype", "neither baseline nor progressive; save it as one of them")
    if len(frames) != 1:
        raise ImageFault("unreadable", f"holds {len(frames)} frames")
    marker, frame = frames[0]
    depth, height, width, n_channels = struct.unpack_from(">BHHB", frame)
    if depth != 8:
        raise ImageFault("wrong-dtype", f"{depth} bits per sample; only 8 are read")
    if n_channels not in (1, 3):
        raise ImageFault("wrong-shape", f"{n_channels} channels; save it as grey or RGB")
    require_affordable((height, width, n_channels), 1)
    pixels = jpeg8_decode(content).reshape(height, width, n_channels)
    tables = hashlib.sha256(b"".join(body for marker, body in segments if marker == _DQT))
    names = dict.fromkeys(_JPEG_NAMES.get(marker, f"{marker:02X}") for marker, _ in segments)
    return Decoded(
        pixels=np.moveaxis(pixels, -1, 0),
        full_scale=255.0,
        header=as_texts(
            {
                "quantisation": tables.hexdigest()[:12],
                "progressive": _JPEG_FRAMES[marker] == "SOF2",
                "segments": " ".join(names),
                "channels": n_channels,
            }
        ),
    )


def _png_chunks(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and body of each whole, undamaged chunk up to IEND."""
    if not content.startswith(_PNG_SIGNATURE):
        raise ImageFault("unreadable", "no PNG file")
    position, name = len(_PNG_SIGNATURE), ""
    while name != "IEND":
        n_bytes, raw = struct.unpack_from(">I4s", content, position)
        body = content[position + 8 : position + 8 + n_bytes]
        (checksum,) = struct.unpack_from(">I", content, position + 8 + n_bytes)
        if zlib.crc32(raw + body) != checksum:
            raise ImageFault("unreadable", f"chunk {raw!r} is damaged")
        name = raw.decode("ascii")
        yield name, body
        position += 12 + n_bytes


def _without_alpha(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """View (H, W, 1 to 4 channels) as (C, H, W) with C 1 or 3."""
    if pixels.shape[-1] in (2, 4):
        if np.any(pixels[..., -1] != full_scale_of(pixels.dtype)):
            raise ImageFault("wrong-shape", "has transparent pixels; save it without alpha channel")
        pixels = pixels[..., :-1]
    return np.moveaxis(pixels, -1, 0)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and body of each segment up to the end of the image.

    The decoder fills what is missing with grey, so a file without its end is refused here.
    """
    if not content.startswith(b"\xff\xd8"):
        raise ImageFault("unreadable", "no JPEG file")
    position = 2
    while True:
        if content[position] != 0xFF:
            raise ImageFault("unreadable", f"no segment at byte {position}")
        marker = content[position + 1]
        if marker == 0xFF:  # segments may be preceded by any number of these
            position += 1
            continue
        if marker == _EOI:
            return
        (n_bytes,) = struct.unpack_from(">H", content, position + 2)
        yield marker, content[position + 4 : position + 2 + n_bytes]
        position += 2 + n_bytes
        if marker == _SOS:
            end = _END_OF_SCAN.search(content, position)
            if end is None:
                raise ImageFault("unreadable", "cut short: it has no end of image")
            position = end.start()
