"""Several views of an image that should be classified alike: test-time augmentation."""

from __future__ import annotations

import torch

from lensbench.config import Recipe


def views(images: torch.Tensor, recipe: Recipe) -> list[torch.Tensor]:
    """Return the views of a batch that a recipe predicts from, the batch itself first.

    Args:
        images: (B, C, H, W).
        recipe: Its `test_time_augmentation`, unless that is refused.
    """
    if recipe.test_time_augmentation == "none" or refusal(recipe, tuple(images.shape[1:])):
        return [images]
    return list(d4_views(images))


def refusal(recipe: Recipe, image_shape: tuple[int, ...]) -> str | None:
    """Say why a recipe's test-time augmentation is not done; None if it is, or is not wanted.

    Args:
        recipe: How a classifier is trained and tested.
        image_shape: (C, H, W).
    """
    if recipe.test_time_augmentation == "none":
        return None
    height, width = image_shape[-2:]
    if height != width:
        return (
            "test-time augmentation is left out: images of "
            f"{height} x {width} pixels cannot be turned by 90 degrees"
        )
    if not recipe.knows_d4:
        return (
            "test-time augmentation is left out: a classifier that is not trained on flips and "
            "quarter turns (--symmetry d4) does worse on turned images"
        )
    return None


def d4_views(images: torch.Tensor) -> torch.Tensor:
    """Return (8, B, C, H, H): square images under each flip and quarter turn, themselves first."""
    return torch.stack(
        [
            torch.rot90(mirrored, turns, (-2, -1))
            for mirrored in (images, images.flip(-1))
            for turns in range(4)
        ]
    )
