"""Random symmetries of a whole batch of images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch.nn import functional as nn

from lensbench.config import Recipe
from lensbench.training.views import D4, FLIPS, d4_view


def augment(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Apply the recipe's random symmetries, drawn anew for each image.

    Args:
        images: (B, C, H, W) floating.
        recipe: Its `symmetry`, `rotation_degrees`, `shift`, `scale` and `affine_share`.
        generator: Source of randomness, on the CPU.

    Returns:
        Images of the same shape. Exact symmetries move pixels without changing any value; the
        affine part interpolates bilinearly and takes each image's lowest value, of all channels,
        for what lies outside its frame. Images that it leaves where they are keep their values to
        the bit. Oblong images are flipped but never turned by 90 degrees, which would change their
        shape.
    """
    moved = images
    if recipe.symmetry != "none":
        turned = recipe.symmetry == "d4" and images.shape[-1] == images.shape[-2]
        elements = tuple(D4) if turned else FLIPS
        drawn = torch.randint(len(elements), (len(images),), generator=generator)
        move = move_group_by_group if images.device.type == "cpu" else move_by_index
        moved = move(images, drawn, elements)
    if recipe.rotation_degrees or recipe.shift or recipe.scale:
        moved = moved.clone() if moved is images else moved
        _resample(moved, draw_affine(len(images), recipe, generator))
    return moved


def draw_affine(n_images: int, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Draw (n_images, 2, 3) float32 matrices that map output to input coordinates in [-1, 1].

    Those of images that are not among the recipe's `affine_share` are the identity.
    """
    angle, scale, right, down = (2 * torch.rand(4, n_images, generator=generator) - 1).unbind()
    angle = angle * math.radians(recipe.rotation_degrees)
    scale = 1 / (1 + scale * recipe.scale)
    # A shift by the whole side is 2 in coordinates that span [-1, 1].
    right, down = 2 * recipe.shift * right, 2 * recipe.shift * down
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [cosine, -sine, right, sine, cosine, down]
    matrices = torch.stack(rows, dim=1).reshape(n_images, 2, 3)
    if recipe.affine_share < 1:
        moved = torch.rand(n_images, generator=generator) < recipe.affine_share
        matrices = torch.where(moved[:, None, None], matrices, torch.eye(2, 3))
    return matrices


def sampling_grid(
    matrices: torch.Tensor, size: Sequence[int], device: torch.device
) -> torch.Tensor:
    """Return where the pixels of affinely moved images come from, for `grid_sample`.

    The products are written out: those of `affine_grid` are a matrix product, which autocast
    rounds to bfloat16, and at 150 px that misplaces pixels by up to 0.7.

    Args:
        matrices: (B, 2, 3) on the CPU, as `draw_affine` gives them.
        size: Height and width.
        device: Where the grid is wanted.

    Returns:
        (B, H, W, 2) coordinates x and y of the dtype of the matrices; the frame spans [-1, 1].
    """
    height, width = size
    # Both sides span [-1, 1] whatever their lengths, so a turn has to be told their ratio.
    sides = torch.tensor([[1, height / width, 1], [width / height, 1, 1]])
    columns, rows = (_centres(n, matrices.dtype, device) for n in (width, height))
    of_column, of_row, shift = _send(matrices * sides, device)[..., None, None].unbind(2)
    return (of_column * columns + (of_row * rows[:, None] + shift)).permute(0, 2, 3, 1)


@functools.lru_cache(maxsize=8)
def _centres(n_pixels: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the (n_pixels,) coordinates of pixels in a frame that spans [-1, 1]."""
    return (2 * torch.arange(n_pixels, dtype=dtype, device=device) + 1) / n_pixels - 1


def _resample(images: torch.Tensor, matrices: torch.Tensor) -> None:
    """Interpolate, in place, the images whose matrix, on the CPU, is not the identity."""
    moved = (matrices != torch.eye(2, 3)).flatten(1).any(dim=1).nonzero().squeeze(1)
    if not len(moved):
        return
    index = _send(moved, images.device)
    chosen = images[index]
    grid = sampling_grid(matrices[moved].to(images.dtype), images.shape[-2:], images.device)
    # Sampling fills with 0, which an image of another sky does not have.
    sky = chosen.amin((1, 2, 3), keepdim=True)
    resampled = nn.grid_sample(chosen - sky, grid, mode="bilinear", align_corners=False)
    images.index_copy_(0, index, resampled + sky)


def move_by_index(
    images: torch.Tensor, drawn: torch.Tensor, elements: tuple[int, ...]
) -> torch.Tensor:
    """Move the pixels of each image by an element of D4, all images at once.

    Args:
        images: (B, C, H, W).
        drawn: (B,) int64 on the CPU, which of the elements each image gets.
        elements: Of `D4`; of oblong images, of `FLIPS`.
    """
    origins = _origins(images.shape[-2], images.shape[-1], images.device, elements)
    chosen = origins[_send(drawn, images.device)][:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, chosen).view_as(images)


def move_group_by_group(
    images: torch.Tensor, drawn: torch.Tensor, elements: tuple[int, ...]
) -> torch.Tensor:
    """Do the same with few bytes but many steps: half of the time on a CPU.

    The other way reads eight bytes of index for each pixel.
    """
    moved = torch.empty_like(images)
    for number, element in enumerate(elements):
        rows = (drawn == number).nonzero().squeeze(1)
        moved[rows] = d4_view(images[rows], element)
    return moved


@functools.lru_cache(maxsize=8)
def _origins(
    height: int, width: int, device: torch.device, elements: tuple[int, ...]
) -> torch.Tensor:
    """Return (4 or 8, H * W) int64: which pixel each pixel of a moved image was."""
    pixels = torch.arange(height * width, device=device).reshape(height, width)
    return torch.stack([d4_view(pixels, element).flatten() for element in elements])


def _send(draws: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy what was drawn on the CPU; on a GPU without waiting for the work that it has left."""
    if device.type != "cuda":
        return draws.to(device)
    return draws.pin_memory().to(device, non_blocking=True)
