"""Random symmetries of a whole batch of images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch.nn import functional as nn

from lensbench.config import Recipe
from lensbench.training.views import D4, FLIPS, d4_view

NOWHERE = -1
"""In place of an element of D4, for an image that is moved in another way."""


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
    move = move_group_by_group if images.device.type == "cpu" else move_by_index
    elements = draw_elements(images.shape, recipe, generator)
    if not (recipe.rotation_degrees or recipe.shift or recipe.scale):
        return images if recipe.symmetry == "none" else move(images, elements)
    matrices = draw_affine(len(images), recipe, generator)
    interpolated = (matrices != torch.eye(2, 3)).flatten(1).any(dim=1)
    moved = move(images, elements.where(~interpolated, NOWHERE))
    rows = interpolated.nonzero().squeeze(1)
    if len(rows):
        # Both moves in one, so that the images that are interpolated are moved just once.
        both = _product(_matrices_of_d4()[elements[rows]], matrices[rows])
        rows = _send(rows, images.device)
        moved.index_copy_(0, rows, _interpolated(images[rows], both))
    return moved


def draw_elements(shape: Sequence[int], recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Draw (B,) int64 elements of `D4` for images of a shape (B, C, H, W)."""
    if recipe.symmetry == "none":
        return torch.zeros(shape[0], dtype=torch.int64)
    turned = recipe.symmetry == "d4" and shape[-1] == shape[-2]
    elements = torch.tensor(D4 if turned else FLIPS)
    return elements[torch.randint(len(elements), (shape[0],), generator=generator)]


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


def _interpolated(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Return images of which each is moved by its matrix."""
    grid = sampling_grid(matrices.to(images.dtype), images.shape[-2:], images.device)
    # Sampling fills with 0, which an image of another sky does not have.
    sky = images.amin((1, 2, 3), keepdim=True)
    moved = nn.grid_sample(images - sky, grid, mode="bilinear", align_corners=False)
    return moved.add_(sky)


@functools.cache
def _matrices_of_d4() -> torch.Tensor:
    """Return (8, 2, 2): from x and y in a `d4_view` to those in the image, both in [-1, 1]."""
    mirror, turn = torch.tensor([[-1.0, 0], [0, 1]]), torch.tensor([[0.0, -1], [1, 0]])
    power = torch.linalg.matrix_power
    return torch.stack([power(mirror, element // 4) @ power(turn, element % 4) for element in D4])


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply (B, 2, 2) by (B, 2, 3) matrices; autocast rounds what `@` does to bfloat16."""
    return (left[..., None] * right[:, None]).sum(2)


def move_by_index(images: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
    """Move the pixels of each image by an element of D4, all images at once.

    Args:
        images: (B, C, H, W).
        elements: (B,) int64 on the CPU: of `D4`, those of oblong images of `FLIPS`. An image that
            goes `NOWHERE` has any values.
    """
    origins = _origins(images.shape[-2], images.shape[-1], images.device)
    chosen = origins[_send(elements, images.device)][:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, chosen).view_as(images)


def move_group_by_group(images: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
    """Do the same with few bytes but many steps: half of the time on a CPU.

    The other way reads eight bytes of index for each pixel.
    """
    moved = torch.empty_like(images)
    for element in set(elements.tolist()) - {NOWHERE}:
        rows = (elements == element).nonzero().squeeze(1)
        moved[rows] = d4_view(images[rows], element)
    return moved


@functools.lru_cache(maxsize=8)
def _origins(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return (8, H * W) int64: which pixel each pixel of a moved image was."""
    pixels = torch.arange(height * width, device=device).reshape(height, width)
    return torch.stack([d4_view(pixels, element).flatten() for element in D4])


def _send(draws: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy what was drawn on the CPU; on a GPU without waiting for the work that it has left."""
    if device.type != "cuda":
        return draws.to(device)
    return draws.pin_memory().to(device, non_blocking=True)
