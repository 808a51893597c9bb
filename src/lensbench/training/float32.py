"""Float32 that is not rounded on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.backends import cudnn


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep a GPU from rounding what it multiplies to TF32.

    That is cuDNN's default in convolutions, and what some programs and containers ask for in matrix
    products. With its 10 bits of mantissa, scores would be those of no other device, and more of
    them equal.
    """
    with _exact_convolutions(), _exact_products():
        yield


@contextlib.contextmanager
def _exact_convolutions() -> Iterator[None]:
    # Since torch 2.9 there are newer settings, which overrule the older one.
    newer = [cudnn.conv, cudnn.rnn] if hasattr(cudnn, "conv") else []
    before = [setting.fp32_precision for setting in newer]
    try:
        older = cudnn.allow_tf32
    except RuntimeError:  # the program has used the newer ones, and torch allows no mixture
        older = None
    if older is not None:
        cudnn.allow_tf32 = False
    for setting in newer:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        if older is not None:
            cudnn.allow_tf32 = older
        for setting, precision in zip(newer, before, strict=True):
            setting.fp32_precision = precision


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
