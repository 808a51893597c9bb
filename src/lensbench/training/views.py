"""Several views of an image that should be classified alike: test-time augmentation."""

from __future__ import annotations

import torch

from lensbench.zoo.classifier import Symmetry

D4 = range(8)
"""Flips and quarter turns: 0 to 3 turn so many times, 4 to 7 mirror left and right before."""

FLIPS = (0, 4, 6, 2)
"""Those that keep any shape: nothing, left and right, up and down, both."""


def views(images: torch.Tensor, symmetry: Symmetry) -> list[torch.Tensor]:
    """Return the views of a batch that a classifier predicts from, the batch itself first.

    Args:
        images: (B, C, H, W).
        symmetry: Its `test_time_augmentation`, unless that is refused.
    """
    if symmetry.test_time_augmentation == "none" or refusal(symmetry, tuple(images.shape[1:])):
        return [images]
    return list(d4_views(images))


def refusal(symmetry: Symmetry, image_shape: tuple[int, ...]) -> str | None:
    """Say why test-time augmentation is not done; None if it is, or is not wanted.

    Args:
        symmetry: What turned images are to a classifier.
        image_shape: (C, H, W).
    """
    if symmetry.test_time_augmentation == "none":
        return None
    height, width = image_shape[-2:]
    if height != width:
        return (
            "test-time augmentation is left out: images of "
            f"{height} x {width} pixels cannot be turned by 90 degrees"
        )
    if not symmetry.knows_d4:
        return (
            "test-time augmentation is left out: a classifier that is not trained on flips and "
            "quarter turns (--symmetry d4) does worse on turned images"
        )
    return None


def d4_views(images: torch.Tensor) -> torch.Tensor:
    """Return (8, B, C, H, H): square images under each flip and quarter turn, themselves first."""
    return torch.stack([d4_view(images, element) for element in D4])


def d4_view(images: torch.Tensor, element: int) -> torch.Tensor:
    """Return images (…, H, W) under one element of `D4`.

    Those of `FLIPS` keep the shape of oblong images; the other ones are for square images.
    """
    mirrored = images.flip(-1) if element >= 4 else images
    return torch.rot90(mirrored, element % 4, (-2, -1))
