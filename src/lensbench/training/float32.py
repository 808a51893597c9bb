"""Float32 that is not rounded on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep a GPU from rounding what it multiplies to TF32.

    That is cuDNN's default in convolutions, and what some programs and containers ask for in matrix
    products. With its 10 bits of mantissa, scores would be those of no other device, and more of
    them equal.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)
