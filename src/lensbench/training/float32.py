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
    convolutions = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with _exact_products():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        # The program has used the newer setting, and torch allows no mixture.
        newer = torch.backends.cuda.matmul
        before, newer.fp32_precision = newer.fp32_precision, "ieee"
        try:
            yield
        finally:
            newer.fp32_precision = before
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
