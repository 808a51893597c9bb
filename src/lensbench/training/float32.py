"""Float32 that is not rounded on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep a GPU's convolutions from rounding what they multiply to TF32, which is cuDNN's default.

    With its 10 bits of mantissa, scores would be those of no other device, and more of them equal.
    """
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
