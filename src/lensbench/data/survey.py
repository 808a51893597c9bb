"""One pass over all files of a data set: what each of them is, and its pixels to whoever asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from lensbench.data.catalogue import Catalogue
from lensbench.data.encoding import Encoded, encode
from lensbench.data.formats.decode import Decoded, as_float32, decode
from lensbench.data.formats.fault import ImageFault
from lensbench.data.signature import MIN_SIDE, signature
from lensbench.data.sources.source import Load, Source
from lensbench.errors import DatasetError

STATISTICS = ("lowest", "highest", "mean", "deviation", "central share")
"""The simple statistics of an image: the last is the part of its sum in the central quarter."""


@dataclass(frozen=True)
class ImageFacts:
    """What is learnt of one file; `fault` is why it cannot be used, and then the rest is empty.

    Attributes:
        digest: SHA-256 of shape and float32 values, 32 hexadecimal digits.
        turned_digest: One that is the same for the image turned and flipped; of images that are
            too small for a `signature`, else empty.
        shape: (C, H, W).
        header: What the file says beside its pixels, and how these can be stored exactly.
        statistics: As named in `STATISTICS`.
        signature: (D,) float32; see `signature`.
        fault: None for a usable image.
    """

    digest: str = ""
    turned_digest: str = ""
    shape: tuple[int, ...] = ()
    header: Mapping[str, str] = field(default_factory=dict)
    statistics: tuple[float, ...] = ()
    signature: NDArray[np.float32] | None = None
    fault: ImageFault | None = None


ImageSink = Callable[[int, Encoded], None]
"""Takes the row and the encoded pixels of each usable image as it is read."""


def survey(catalogue: Catalogue, source: Source, sink: ImageSink | None = None) -> list[ImageFacts]:
    """Read every file once, in the order that is fastest, and hand the usable images to `sink`.

    Returns:
        N facts in the order of the catalogue.
    """
    row_of = {member: row for row, member in enumerate(catalogue.members)}
    facts = [ImageFacts()] * len(catalogue)
    with tqdm(total=len(catalogue), desc="reading images", unit="image", leave=False) as progress:
        # Not in threads: the interpreter's lock costs more than a second core gives.
        for member, load in source.contents(catalogue.members):
            fact, image = _examine(member, load)
            facts[row_of[member]] = fact
            if image is not None and sink is not None:
                sink(row_of[member], image)
            progress.update()
    return facts


def read_image(member: str, load: Load) -> tuple[Decoded, NDArray[np.float32]]:
    """Read one file.

    Args:
        member: Its name.
        load: Reads it.

    Returns:
        What it holds, and its pixels as a model sees them, (C, H, W) float32 and finite.

    Raises:
        ImageFault: It is no usable image.
    """
    try:
        image = decode(load(), member)
    except (OSError, DatasetError) as error:
        raise ImageFault("unreadable", str(error)) from error
    pixels = as_float32(image)
    if not np.isfinite([pixels.min(), pixels.max()]).all():
        n_bad = int((~np.isfinite(pixels)).sum())
        raise ImageFault("not-finite", f"{n_bad} pixels are NaN or infinite as float32")
    return image, pixels


def _examine(member: str, load: Load) -> tuple[ImageFacts, Encoded | None]:
    try:
        image, pixels = read_image(member, load)
    except ImageFault as fault:
        return ImageFacts(fault=fault), None
    lowest, highest = float(pixels.min()), float(pixels.max())
    encoded = encode(pixels)
    is_small = min(pixels.shape[1:]) < MIN_SIDE
    fact = ImageFacts(
        digest=_digest(pixels),
        turned_digest=_turned_digest(pixels) if is_small else "",
        shape=pixels.shape,
        header={**image.header, "values": _grid(encoded)},
        statistics=(lowest, highest, *_moments(pixels)),
        signature=signature(pixels),
    )
    return fact, encoded


def _grid(image: Encoded) -> str:
    """Say what values an image has; how many counts the brightest pixel has is no matter."""
    if image.kind in ("float16", "float32"):
        return image.kind
    return f"multiples of 1/{image.divisor:g}" if image.divisor in (255, 65535) else "counts"


def _digest(pixels: NDArray[np.float32]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def _turned_digest(pixels: NDArray[np.float32]) -> str:
    """Return a digest that the eight symmetries of the frame do not change."""
    upright = (pixels, pixels.swapaxes(1, 2))
    return min(
        _digest(image[:, ::down, ::right])
        for image in upright
        for down in (1, -1)
        for right in (1, -1)
    )


def _moments(pixels: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return mean, deviation, and the share of the sum in the central quarter of the frame."""
    _, height, width = pixels.shape
    centre = pixels[:, height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    total = float(pixels.sum(dtype=np.float64))
    share = float(centre.sum(dtype=np.float64)) / total if total else 0.0
    deviation = float(pixels.std(dtype=np.float64))
    return total / pixels.size, deviation, share
