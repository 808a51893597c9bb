"""Why a file is no usable image."""

import math
from collections.abc import Sequence

MAX_IMAGE_BYTES = 2**28
"""The most that one decoded image may take; a file that claims more is refused unread."""

MAX_FILE_BYTES = MAX_IMAGE_BYTES + 2**20
"""The most that one file may take: the pixels, and room for its header."""


class ImageFault(Exception):  # noqa: N818 - a fault is reported as a finding, not raised to users
    """Why a file is no usable image; `code` is the audit's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def require_affordable(shape: Sequence[int], itemsize: int) -> None:
    """Check what a file claims to hold before memory is given to it.

    Args:
        shape: Of the array, any number of axes.
        itemsize: Bytes per element.

    Raises:
        ImageFault: With code `too-large`, above `MAX_IMAGE_BYTES`.
    """
    n_bytes = math.prod(shape) * itemsize
    if n_bytes > MAX_IMAGE_BYTES:
        raise ImageFault(
            "too-large",
            f"claims an array of shape {tuple(shape)}, {n_bytes:,} bytes; "
            f"an image may take {MAX_IMAGE_BYTES:,}",
        )
