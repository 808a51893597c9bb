"""From an image as it lies on disk to what a network sees; part of the classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from lensbench.config import Normalisation, PerImage, Recipe, Stretch
from lensbench.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

_TINY = torch.finfo(torch.float32).tiny

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class View:
    """How a network sees an image: the part of a recipe that belongs to the weights.

    Attributes are those of `Recipe` with the same names; an `image_size` of None is the native one.
    """

    image_size: int | None
    channels: Literal[1, 3]
    per_image: PerImage
    stretch: Stretch
    normalise: Normalisation

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Take what a recipe says about it."""
        size = None if recipe.image_size == "native" else recipe.image_size
        return cls(size, recipe.channels, recipe.per_image, recipe.stretch, recipe.normalise)

    def size(self, image_shape: tuple[int, int, int]) -> Size:
        """Return the wanted height and width of images that are (C, H, W) on disk."""
        if self.image_size is None:
            return (image_shape[1], image_shape[2])
        return (self.image_size, self.image_size)


class Preprocess(nn.Module):
    """Rescale, stretch, resize or frame, match channels, normalise; exact where nothing is to do.

    - Resizing is bilinear and antialiased. A frame is zero, which is black like an empty sky, or
      the mean of a standardised image, and leaves the image in the middle.
    - One channel is repeated for three; three are averaged for one.
    - `imagenet` uses the mean and deviation of each channel; for one channel the mean over the
      three of each.

    Args:
        image_shape: (C, H, W) of the images on disk.
        view: What the recipe asks for.
        accepts: Height and width that the network takes.
        pads: Whether the image gets there by a frame, after the resizing that `view` asks for.

    Raises:
        ModelError: Images of C channels cannot become what the recipe asks for.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], view: View, accepts: Size, *, pads: bool = False
    ) -> None:
        super().__init__()
        if image_shape[0] not in (1, 3):
            raise ModelError(
                f"the images have {image_shape[0]} channels, but a classifier takes 1 or 3: "
                "choose or combine channels before"
            )
        self.image_shape = tuple(image_shape)
        self.view = view
        self.resized = view.size(image_shape) if pads else accepts
        self.accepts = accepts
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)
        if view.channels == 1:
            mean, deviation = mean.mean(0, keepdim=True), deviation.mean(0, keepdim=True)
        self.mean: Tensor
        self.deviation: Tensor
        # Constants, not weights: kept out of the state, moved with the module.
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("deviation", deviation[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Prepare a batch.

        Args:
            images: (B, C, H, W), any float type, as on disk.

        Returns:
            (B, channels, *accepts) float32.

        Raises:
            ValueError: Images of another shape than this classifier was built for.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"this classifier takes images of shape {self.image_shape}, "
                f"not {tuple(images.shape[1:])}"
            )
        images = stretch(rescale(images.float(), self.view.per_image), self.view.stretch)
        if images.shape[-2:] != self.resized:
            images = functional.interpolate(
                images, self.resized, mode="bilinear", antialias=True, align_corners=False
            )
        if self.accepts != self.resized:
            images = functional.pad(images, self._frame())
        if images.shape[1] > self.view.channels:
            images = images.mean(dim=1, keepdim=True)
        elif images.shape[1] < self.view.channels:
            images = images.expand(-1, self.view.channels, -1, -1)
        if self.view.normalise == "imagenet":
            images = (images - self.mean) / self.deviation
        return images

    def _frame(self) -> list[int]:
        """Return the black pixels left, right, above and below."""
        height, width = (a - r for a, r in zip(self.accepts, self.resized, strict=True))
        return [width // 2, width - width // 2, height // 2, height - height // 2]

    def extra_repr(self) -> str:
        """Show the settings when the module is printed."""
        settings: dict[str, Any] = {"image_shape": self.image_shape, "accepts": self.accepts}
        return f"{settings}, {self.view}"


def rescale(images: Tensor, how: PerImage) -> Tensor:
    """Rescale each image by itself, all its channels together; a constant image becomes zeros.

    Args:
        images: (B, C, H, W) float32.
        how: `min-max` maps its lowest value to 0 and its highest to 1, `standardise` its mean to 0
            and its standard deviation (of all pixels, divided by their number) to 1.

    Returns:
        (B, C, H, W) float32; `images` itself for `none`.
    """
    if how == "none":
        return images
    pixels = (1, 2, 3)
    images = images - images.amin(pixels, keepdim=True)
    images = images / images.amax(pixels, keepdim=True).clamp(min=_TINY)
    if how == "standardise":
        # Only now: the mean of a constant image has a rounding error that would be scaled up, and
        # the square of a flux in physical units may be zero in float32.
        deviation, mean = torch.std_mean(images, pixels, correction=0, keepdim=True)
        images = (images - mean) / deviation.clamp(min=_TINY)
    return images


def stretch(images: Tensor, how: Stretch) -> Tensor:
    """Lift what is faint, with 0 and 1 left where they are.

    The curves are those of `SqrtStretch`, `AsinhStretch(a=0.1)` and `LogStretch(a=1000)` in
    `astropy.visualization` without clipping, but for values below zero, which interpolation may
    have left: `sqrt` and `log` take them for zero.

    Args:
        images: (B, C, H, W) float32.
        how: Name of the curve.

    Returns:
        (B, C, H, W) float32; `images` itself for `none`.
    """
    if how == "sqrt":
        return images.clamp(min=0).sqrt()
    if how == "asinh":
        return (images / 0.1).asinh() / math.asinh(1 / 0.1)
    if how == "log":
        return (images.clamp(min=0) * 1000).log1p() / math.log1p(1000)
    return images
